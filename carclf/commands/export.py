"""`carclf export`: a model that predicts without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="bundled, a bundled name, a run folder, or a .safetensors file.")
    ] = "bundled",
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the export, in place of an older one there. By default one that `carclf serve` finds.",
            show_default=False,
        ),
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of photos to compare the answers on; by default drawn scenes.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Compare on so many photos, not on all.")] = None,
) -> None:
    """Write a model and its detector as ONNX files, and compare their answers with the model's.

    The folder stands wherever a model does: carclf predict --model OUTPUT. It needs a fraction of the memory and starts
    in a fraction of the time. Exit code 1, and nothing is written, when the answers are not the same.
    """
    from carclf.console import quiet_stdout, say
    from detection.errors import UsageError

    for package in ("onnx", "onnxscript", "onnxruntime"):
        _check_installed(package, UsageError)
    with quiet_stdout():
        from carclf.export.folder import export_model
        from carclf.exported import kept_export
        from carclf.models import find_model

        output = output or kept_export(find_model(model))
        done = export_model(model, output, photos, limit, say)
    for line in done.parity.lines():
        typer.echo(line)
    timing = done.timing
    typer.echo(
        f"seconds a photo, medians of {timing['photos']}: model {timing['model']:.3f}, export {timing['export']:.3f}; "
        f"the export is {timing['ratio']:.2f} times as fast"
    )
    if not done.written:
        say(done.reason)
        raise typer.Exit(1)
    typer.echo(f"{done.folder} ({done.megabytes:.1f} MB)")


def _check_installed(package: str, error: type[Exception]) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise error(f"An export needs '{package}': pip install 'carclf[export]'.")
