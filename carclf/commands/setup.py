"""`carclf doctor` and `carclf demo`: is everything there, and does it work?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("demo-output"),
    seed: Annotated[int, typer.Option(help="Another seed draws other scenes.")] = 0,
) -> None:
    """The whole chain on drawn street scenes, without data or network; ends with one HTML page."""
    from carclf.tools.demo.run import run_demo

    run_demo(output, seed=seed)


def doctor() -> None:
    """Check the set-up; prints what is missing and the command that mends it."""
    from carclf.tools.doctor import doctor as check

    raise typer.Exit(check())
