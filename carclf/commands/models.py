"""`carclf models`, `combine` and `export`: classifiers as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from detection.common.errors import UsageError, need


def models(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="List the classes of this model instead.", show_default=False),
    ] = None,
    tree: Annotated[
        bool, typer.Option("--tree", help="List them below their models and makes, with body, years and trim.")
    ] = False,
    format: Annotated[str, typer.Option(help="Output format: table or json.")] = "table",
    classes: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The same as naming MODEL as the argument.")
    ] = None,
) -> None:
    """List the bundled classifiers, or the classes of any model."""
    from carclf.classifier.catalogue import find_model, list_models

    if format not in ("table", "json"):
        raise UsageError(f"Unknown format '{format}': choose table or json.")
    if model is not None and classes is not None:
        raise UsageError(f"Name one model, '{model}' or '{classes}', not both.")
    named = model or classes
    if tree:
        _print_tree(named or "bundled", format)
        return
    if named is not None:
        names = list(find_model(named).info().classes)
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
            f"background {row['background']}{f'; held out: {figures}' if figures else ''}"
        )


def _print_tree(model: str, format: str) -> None:
    from carclf.classifier.catalogue import find_model
    from carclf.classifier.levels.tree import outline

    info = find_model(model).info()
    if not info.names:
        raise UsageError(
            f"'{model}' knows no makes and models of its classes: give it a table with `carclf calibrate --names`."
        )
    makes = outline(info.names, info.classes)
    if format == "json":
        typer.echo(json.dumps(makes, ensure_ascii=False))
        return
    for make in makes:
        typer.echo(make["make"])
        for one in make["models"]:
            typer.echo(f"  {one['model']}")
            for car in one["classes"]:
                parts = ", ".join(car[part] for part in ("body", "years", "trim") if car[part])
                typer.echo(f"    {car['class']}{f'  ({parts})' if parts else ''}")


def combine(
    models: Annotated[list[str], typer.Argument(metavar="MODELS...", help="Run folders or .safetensors files.")],
    output: Annotated[Path, typer.Option(help="Folder for best.safetensors and, if all models are runs, its figures.")],
) -> None:
    """Combine classifiers of the same classes, image size and cut-out style into one file.

    It answers with the geometric mean of their probabilities. Prints its accuracy on the photos that all of them held
    out."""
    need(("torch", "timm"), "Combining classifiers")
    from carclf.tools.export.combine import combine as combine_models
    from detection.common.console import quiet_stdout

    with quiet_stdout():
        metrics = combine_models(models, output)
    for member in metrics.get("members", ()):
        typer.echo(f"{member['model']}: accuracy {member['accuracy']:.4f}, top-5 {member['top5']:.4f}")
    if metrics:
        typer.echo(
            f"together: accuracy {metrics['accuracy']:.4f}, top-5 {metrics['top5']:.4f} on {metrics['n']} photos"
        )
    else:
        typer.echo("not measured: there are no known photos that all of them held out")
    typer.echo(str(output))


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="[MODEL]", help="A bundled model (listed by `carclf models`), a run folder or a .safetensors file."
        ),
    ] = "bundled",
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the export; an older one is replaced. Default: where `carclf serve` finds it.",
            show_default=False,
        ),
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of photos on which the answers are compared. Default: drawn scenes.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Compare on N of the photos instead of all.")] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="Precision of the networks: float32, or int8, which is smaller and faster and answers a little "
            "differently. int8 needs --output, and real photos in --photos."
        ),
    ] = "float32",
) -> None:
    """Write a model and its detector as ONNX files, and compare their answers with the model's.

    An export can be used wherever a model predicts: carclf predict --model OUTPUT. It needs no torch, a fraction of the
    memory, and a fraction of the time to start. Exit code 1: the answers differ, and nothing is written.
    """
    need(("torch", "torchvision", "timm", "onnx", "onnxscript", "detectron2"), "Writing an export", "export")
    from detection.common.console import quiet_stdout, say

    with quiet_stdout():
        from carclf.classifier.catalogue import find_model
        from carclf.classifier.onnx.folder import kept_export
        from carclf.tools.export.folder import export_model

        if output is None and precision != "float32":
            raise UsageError("An int8 export is used only where it is named: give its folder with --output.")
        output = output or kept_export(find_model(model).weights)
        done = export_model(model, output, photos, limit, say, precision)
    for line in done.parity.lines():
        typer.echo(line)
    timing = done.timing
    typer.echo(
        f"seconds per photo, median of {timing['photos']}: model {timing['model']:.3f}, export {timing['export']:.3f}; "
        f"the export is {timing['ratio']:.2f} times as fast"
    )
    if not done.written:
        say(done.reason)
        raise typer.Exit(1)
    typer.echo(f"{done.folder} ({done.megabytes:.1f} MB)")
