"""`carclf models`: which classifiers come with the installation."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def models(
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
    classes: Annotated[str | None, typer.Option(metavar="MODEL", help="List this model's classes instead.")] = None,
) -> None:
    """List the bundled classifiers, or the classes of any model."""
    from carclf.models import find_model, list_models
    from detection.errors import UsageError

    if format not in ("table", "json"):
        raise UsageError(f"Unknown format '{format}': choose table or json.")
    if classes is not None:
        from carclf.checkpoint import read_info

        names = list(read_info(find_model(classes)).classes)
        typer.echo(json.dumps(names, ensure_ascii=False) if format == "json" else "\n".join(names))
        return
    rows = list_models()
    if format == "json":
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        typer.echo(f"{row['name']}{' (default)' if row['default'] else ''}: {row['about']}")
        figures = ", ".join(f"{key} {value:.3f}" for key, value in row["metrics"].items() if isinstance(value, float))
        typer.echo(
            f"    {row['classes']} classes, {row['architecture']} at {row['image_size']} px, {row['megabytes']} MB, "
            f"background {row['background']}{f'; validation: {figures}' if figures else ''}"
        )
