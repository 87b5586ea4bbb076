"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer

Model = Annotated[str, typer.Option(help="bundled, a run folder, or a .safetensors file.")]
Detector = Annotated[str | None, typer.Option(help="By default the one that the model was trained with.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Threads = Annotated[int | None, typer.Option(help="Of the models; by default one a core.")]
Tta = Annotated[int, typer.Option(help="Views of each cut-out that are averaged.")]
Threshold = Annotated[
    float | None, typer.Option(help="Least confidence of a label, 0 to 1; less is unknown. Default: the model's.")
]
MaxMegapixels = Annotated[float, typer.Option(help="Largest picture, in megapixels.")]
BatchSize = Annotated[int, typer.Option(help="Most photos that the models look at together.")]

# One option in both verbs; `predict` showed the other spelling once.
ALL_VEHICLES = "--all-vehicles"
EveryVehicle = Annotated[bool, typer.Option("--every-vehicle", hidden=True, help="The same as --all-vehicles.")]


def broker_option(help: str) -> Any:
    """The address of a RabbitMQ; better from the environment than from a command that others can see."""
    return typer.Option(envvar="CARCLF_BROKER", show_envvar=True, show_default=False, help=help)


Settings = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings that win over the file.")
]
