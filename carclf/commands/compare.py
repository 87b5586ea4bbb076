"""`carclf compare-backgrounds`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare_backgrounds(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Raw photos: a folder per class, a csv, a zip.")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings that win over the recipe.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder that the csv's file names are in.")] = None,
    config: Annotated[Path, typer.Option(help="The recipe that is trained for each style and seed.")] = Path(
        "configs/train/short.yaml"
    ),
    styles: Annotated[str, typer.Option(help="Of raw, box, white, gray, mean, blur, black; the first is what the "
                                             "others are compared with.")] = "raw,box,white,gray,mean,blur",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each style.")] = 3,
    output: Annotated[Path, typer.Option(help="Folder for the results; the same again goes on.")] = Path(
        "runs/backgrounds"
    ),
) -> None:  # fmt: skip
    """Train the same recipe on raw photos, box crops and cut-outs; prints which background is best, and how surely."""
    from carclf.config import TrainConfig, read_config

    given = [f"data={data}", *([f"images={images}"] if images else [])]
    resolved = read_config(TrainConfig, config, [*given, *(settings or ())])
    from rich.console import Console

    from carclf.backgrounds.comparison import compare_backgrounds as compare
    from carclf.backgrounds.output import terminal_table
    from carclf.console import quiet_stdout, say

    with quiet_stdout():
        results = compare(resolved, output, [style.strip() for style in styles.split(",") if style.strip()], seeds)
    Console().print(terminal_table(results))
    say(f"written to {output}")
