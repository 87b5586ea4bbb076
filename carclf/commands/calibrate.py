"""`carclf calibrate`: how sure a model may be, measured and written into its file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def calibrate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A run folder or a .safetensors file.")],
    data: Annotated[Path, typer.Option(help="Labelled photos that it was not trained on: folder per class, or a csv.")],
    images: Annotated[Path | None, typer.Option(help="Folder that the csv's file names are in.")] = None,
    others: Annotated[
        list[Path] | None, typer.Option(help="Folder of photos that show none of the classes; several times.")
    ] = None,
    lost: Annotated[
        float, typer.Option(min=0, max=0.5, help="The share of known cars that may become unknown.")
    ] = 0.03,
    split: Annotated[str, typer.Option(help="auto (test, where the data have one), train, val, test or all.")] = "auto",
    detector: Annotated[str | None, typer.Option(help="By default the one that the model was trained with.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure only; the file stays as it is.")] = False,
) -> None:
    """Fit temperature and threshold to photos that the model has not seen, and write them into its file.

    Training does so by itself with its validation crops; this does it through the whole chain, and tells what becomes
    of photos that show something else.
    """
    from carclf.calibration import calibrate_chain
    from carclf.console import quiet_stdout, track
    from carclf.models import BUNDLED, find_model
    from carclf.sources import choose_split, read_table
    from detection.errors import UsageError

    path = find_model(model)
    if model in (*BUNDLED, "bundled") and not dry_run:
        raise UsageError(
            f"'{model}' comes with carclf and stays as it is: copy its file, or measure it with --dry-run."
        )
    table = choose_split(read_table(data, images), split)
    with quiet_stdout():
        trust = calibrate_chain(
            path,
            table,
            others or [],
            lost=lost,
            detector=detector,
            device=device,
            write=not dry_run,
            track=lambda rows, total: track(rows, total=total, what="recognizing"),
        )
    typer.echo(f"temperature {trust.temperature:.3f}, threshold {trust.threshold:.4f}")
    for name, value in trust.figures.items():
        typer.echo(f"known cars, {name}: {value:.4g}")
    for name, figures in trust.others.items():
        typer.echo(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in figures.items()))
    typer.echo(f"measured only: {path}" if dry_run else f"written into {path}")
