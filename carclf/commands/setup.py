"""`carclf doctor`, `carclf demo` and `carclf loop demo`: is everything there, and does it work?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.commands.options import TRAINING
from detection.common.errors import need


def demo(
    output: Annotated[Path, typer.Option(help="Folder for everything that the demo writes.")] = Path("demo-output"),
    seed: Annotated[int, typer.Option(help="Seed of the scenes: another seed draws others.")] = 0,
) -> None:
    """Run every step on drawn street scenes, without data or network, and write an HTML page that shows each one."""
    need(TRAINING, "The demo")
    from carclf.tools.demo.run import run_demo

    run_demo(output, seed=seed)


loop = typer.Typer(
    help="Look at labels, correct them, learn again.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)


@loop.callback()
def _group() -> None:
    pass


@loop.command("demo")
def loop_demo(
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the trainings, the audit and the page.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Labelled photos, as train takes them; their labels count as right. Default: drawn ones."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder that the file names in a csv are relative to.")] = None,
    faults: Annotated[float, typer.Option(min=0.01, max=0.5, help="Share of the labels that are moved.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the photos, the faults and the trainings.")] = 0,
) -> None:
    """Train on labels with planted faults, audit them, correct what it lists, train again; a page shows the gain."""
    need(TRAINING, "The demo")
    from carclf.tools.demo.loop.run import run_loop

    result = run_loop(output, data, images, faults, seed)
    typer.echo(str(result))
    typer.echo(str(result.page))


def doctor() -> None:
    """Check the installation, and print what is missing and the command that fixes it."""
    from carclf.tools.doctor import doctor as check

    raise typer.Exit(check())
