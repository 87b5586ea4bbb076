"""`carclf report`: the HTML page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or one that `carclf evaluate` wrote.")],
) -> None:
    """Write RUN/report.html, one self-contained page of what the run's files say; prints its path.

    A run that is under way, or was broken off, has one too.
    """
    from carclf.report.run_report import write_run_report

    typer.echo(str(write_run_report(run)))
