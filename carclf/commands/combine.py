"""`carclf combine`: several trained classifiers in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def combine(
    models: Annotated[list[str], typer.Argument(metavar="MODELS...", help="Run folders or .safetensors files.")],
    output: Annotated[Path, typer.Option(help="Folder for best.safetensors and, with runs, its figures.")],
) -> None:
    """Average the answers of classifiers of one kind; prints how they do on photos that all of them held out."""
    from carclf.combine import combine as combine_models
    from carclf.console import quiet_stdout

    with quiet_stdout():
        metrics = combine_models(models, output)
    for member in metrics.get("members", ()):
        typer.echo(f"{member['model']}: accuracy {member['accuracy']:.4f}, top-5 {member['top5']:.4f}")
    if metrics:
        typer.echo(
            f"together: accuracy {metrics['accuracy']:.4f}, top-5 {metrics['top5']:.4f} on {metrics['n']} photos"
        )
    else:
        typer.echo("not measured: no photos are known that all of them held out")
    typer.echo(str(output))
