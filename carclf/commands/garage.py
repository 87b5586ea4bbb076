"""`carclf learn`, `embed`, `similar` and `cluster`: cars by their vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.commands.options import Device, Runtime, Threads
from detection.common.console import quiet_stdout, say, tracked
from detection.common.tally import counted, exit_code

Crops = Annotated[bool, typer.Option("--crops", help="The photos are cut out already: use no detector.")]


def learn(
    output: Annotated[Path, typer.Option(help="The garage: a small file, written anew or added to.")],
    photos: Annotated[
        str | None,
        typer.Argument(metavar="[PHOTOS]", help="Folder with a folder of photos per model, or a csv of file,class."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="Model that the garage stands on: a bundled one, a run folder, a .safetensors file or an export. "
            "Default: the garage's own, else the bundled one."
        ),
    ] = None,
    forget: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Forget this class; may be given several times.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the photos that a csv lists. Default: its own.")
    ] = None,
    crops: Crops = False,
    device: Device = "auto",
    runtime: Runtime = "auto",
    threads: Threads = None,
) -> None:
    """Learn new models from a few photos each (1 to 50), in seconds and without torch.

    OUTPUT stands wherever a model does: carclf predict --model OUTPUT. It answers with the base's classes and the new
    ones. Beside it, OUTPUT.csv says of each photo whether it was learnt. Exit code 3: some photos could not be read.
    """
    from carclf.tools.garage import learn as learning

    with quiet_stdout():
        done = learning.learn(
            photos, output, base, forget or (), images, crops, device, runtime, threads, tracked("learning")
        )
    for note in done.notes:
        say(note)
    for name, number in done.classes.items():
        typer.echo(f"{name}: {counted(number, 'photo')}")
    typer.echo(str(output))
    raise typer.Exit(exit_code(done.failed))
