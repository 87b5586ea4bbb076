"""Prints a detector's figures on the photos that a training config holds out.

python scripts/evaluate_detector.py configs/detector/compact_streets.yaml data=FOLDER [--detector compact]
    [--weights FILE] [--part choose|report] [--finder]
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Annotated

import typer

# Name of a figure, its title in the table, and how it is written.
COLUMNS = (
    ("photos", "photos", "{:.0f}"),
    ("main_iou", "main IoU", "{:.3f}"),
    ("main_iou_median", "median", "{:.3f}"),
    ("main_iou_least", "least", "{:.3f}"),
    ("missed", "missed", "{:.0f}"),
    ("boundary_f", "edge F", "{:.3f}"),
    ("ap", "mask AP", "{:.3f}"),
    ("ap50", "AP50", "{:.3f}"),
    ("ap75", "AP75", "{:.3f}"),
    ("box_ap", "box AP", "{:.3f}"),
    ("false_share", "false", "{:.1%}"),
    ("ms", "ms", "{:.0f}"),
)


def evaluate(
    config: str,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    detector: Annotated[str, typer.Option(help="As for carclf clean, or a training's output folder.")] = "compact",
    weights: str | None = None,
    score_threshold: float | None = None,
    device: str = "auto",
    part: Annotated[str, typer.Option(help="Of sources with a split: choose, or report (look at it once).")] = "choose",
    finder: Annotated[
        bool, typer.Option("--finder", help="What counts in the end, by the car check too, of every vehicle.")
    ] = False,
    small: Annotated[bool, typer.Option("--small", help="With --finder: parts of the photos, too.")] = False,
    finish: Annotated[bool, typer.Option("--finish", help="With the edge finished, as clean does.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All figures as JSON instead of a table.")] = False,
) -> None:
    from detection.common.errors import UsageError

    warnings.simplefilter("ignore", FutureWarning)  # libraries' advice to their own developers
    try:
        from detection.cutout.edge import finish_vehicle
        from detection.detectors.load import load_detector
        from detection.masks.parts import CHOOSE, REPORT
        from detection.training.train import evaluate_held_out

        loaded = load_detector(detector, device, weights, score_threshold)
        if part not in (CHOOSE, REPORT):
            raise UsageError(f"'{part}' is no part to measure on: write choose or report.")
        measured = _counting(loaded, small) if finder else loaded
        chosen = finish_vehicle if finish else None
        figures = evaluate_held_out(measured, config, overrides or [], finish=chosen, part=part)
    except UsageError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        _print_table(figures, f"{loaded.name}, {part}, score threshold {loaded.score_threshold:g}")
        _print_recall(figures)


def _counting(detector, small: bool):
    """A detector that finds what the finder counts: the main vehicle and all others."""
    from detection.detectors.contract import Detector
    from detection.detectors.finder import VehicleFinder

    finder = VehicleFinder(detector, closer=small)

    class Counting(Detector):
        name, fingerprint = detector.name, finder.fingerprint

        @property
        def score_threshold(self) -> float:
            return 0.0

        def detect(self, images):
            found = finder.decide([lambda one=one: one for one in images], finder.find(images), every=True)
            for one in found:
                if isinstance(one, Exception):
                    raise one
            choices = [one.choice for one in found]
            return [[one for one in (each.main, *each.runners_up) if one is not None] for each in choices]

    return Counting()


def _print_recall(figures: dict[str, dict]) -> None:
    """The part of the vehicles found, by kind and size: large is a tenth of the photo and more, middle 3 to 10 %."""
    for source, row in figures.items():
        found = {key.removeprefix("found_"): row[key] for key in row if key.startswith("found_")}
        shown = [f"{key} {value:.3f} of {row['n_' + key]:.0f}" for key, value in found.items()]
        if shown:
            print(f"{source}, vehicles found: {', '.join(shown)}")


def _print_table(figures: dict[str, dict], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    table.add_column("held out")
    shown = [column for column in COLUMNS if any(column[0] in row for row in figures.values())]
    for _, name, _ in shown:
        table.add_column(name, justify="right")
    for source, row in figures.items():
        table.add_row(source, *(style.format(row[key]) if key in row else "" for key, _, style in shown))
    console = Console()
    # In a file or a pipe there is no window to fold the table to.
    (console if console.is_terminal else Console(width=160)).print(table)


if __name__ == "__main__":
    typer.run(evaluate)
