"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer

# What `need` asks for: the parts of the install that trains.
TRAINING = ("torch", "torchvision", "timm", "pytorch_lightning", "torchmetrics", "albumentations")

Model = Annotated[
    str,
    typer.Option(help="A bundled model (listed by `carclf models`), a run folder, a .safetensors file or an export."),
]
Detector = Annotated[
    str | None, typer.Option(help="Detector to use. Default: the one that the model was trained with.")
]
Device = Annotated[str, typer.Option(help="Device that runs the models: auto, cpu, cuda or cuda:N.")]
Runtime = Annotated[
    str,
    typer.Option(
        help="What runs the models: onnx (ONNX Runtime), openvino, torch, or auto (for bundled models and exports on a "
        "CPU the faster of onnx and openvino, otherwise torch)."
    ),
]
Threads = Annotated[int | None, typer.Option(help="Threads that the models use. Default: one per core.")]
Tta = Annotated[int, typer.Option(help="Number of views per cut-out, whose answers are averaged.")]
Threshold = Annotated[
    float | None, typer.Option(help="Lowest confidence for a label, 0 to 1; below it: unknown. Default: the model's.")
]
Levels = Annotated[
    bool | None,
    typer.Option(
        "--levels/--no-levels",
        help="Whether the answer is the deepest level that is sure: class, model or make. Default: where the model "
        "knows its levels, and no --threshold is given.",
        show_default=False,
    ),
]
Sure = Annotated[
    float | None,
    typer.Option(help="Share of right answers to choose levels by, such as 0.95. Default: 0.98.", show_default=False),
]
Only = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="The only classes, models and makes that there can be: names with commas, or a file with one per line.",
    ),
]
Colour = Annotated[
    bool, typer.Option("--colour/--no-colour", help="Whether the colour of each car's paint is told, too.")
]
MaxMegapixels = Annotated[float, typer.Option(help="Largest photo accepted, in megapixels.")]
BatchSize = Annotated[int, typer.Option(help="Largest number of photos that the models process together.")]
Kinds = Annotated[
    str | None, typer.Option(help="Kinds of vehicle that count, such as car,truck, or all. Default: car.")
]

# One option in both verbs; `predict` showed the other spelling once.
ALL_VEHICLES = "--all-vehicles"
Small = Annotated[
    bool | None,
    typer.Option(
        "--small/--no-small",
        help="Whether parts of each photo are looked at, too, for small vehicles: five times the time. Default: "
        "with --all-vehicles.",
    ),
]
EveryVehicle = Annotated[bool, typer.Option("--every-vehicle", hidden=True, help="The same as --all-vehicles.")]


def broker_option(help: str) -> Any:
    """The address of a RabbitMQ; better from the environment than from a command that others can see."""
    return typer.Option(envvar="CARCLF_BROKER", show_envvar=True, show_default=False, help=help)
