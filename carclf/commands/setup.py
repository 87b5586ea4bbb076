"""`carclf doctor` and `carclf demo`: is everything there, and does it work?"""

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


def doctor() -> None:
    """Check the installation, and print what is missing and the command that fixes it."""
    from carclf.tools.doctor import doctor as check

    raise typer.Exit(check())
