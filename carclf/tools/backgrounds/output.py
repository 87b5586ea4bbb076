"""What a comparison of backgrounds found: results as csv, Markdown, JSON, picture, and a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.table import Table

from carclf.evaluation.plots import TRAIN, VAL, save_figure
from carclf.tools.backgrounds.paired import Estimate, PairedAccuracies
from detection.common.console import never_in_the_way
from detection.common.files import write_json, write_table, write_text

NAMES = {
    "raw": "the photo as it is",
    "box": "box crop",
    "white": "cut out on white",
    "gray": "cut out on gray",
    "mean": "cut out on the background's mean",
    "blur": "cut out on the blurred photo",
    "black": "cut out on black",
}
HEADINGS = ("style", "accuracy", "95 % interval", "to {first}", "95 % interval", "seeds' range")


def write_results(output: Path, accuracies: PairedAccuracies, trainings: Sequence[Mapping], about: Mapping) -> dict:
    """Writes results.csv, .md, .json and .png and trainings.csv; returns what results.json holds.

    trainings: rows of style, seed, accuracy, seconds; the styles in their order, the first is what the others are
    compared with. about: more entries for results.json.
    """
    styles = list(dict.fromkeys(row["style"] for row in trainings))
    rows = [_row(style, styles[0], accuracies, trainings) for style in styles]
    results = dict(about) | {"styles": rows, "best": accuracies.best, "verdict": verdict(accuracies, styles[0])}
    write_table(output / "trainings.csv", trainings)
    write_table(output / "results.csv", rows)
    write_text(output / "results.md", markdown(results))
    write_json(output / "results.json", results)
    with never_in_the_way(f"{output / 'results.png'} was not drawn"):
        save_comparison(rows, output / "results.png")
    return results


def verdict(accuracies: PairedAccuracies, first: str) -> str:
    """Which style is best, and whether that is more than noise, in a few sentences. first: the reference."""
    best = accuracies.best
    others = accuracies.against_all(best)
    figure = accuracies.accuracy(best)
    said = [f"Best is {best} ({NAMES[best]}) with {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})."]
    if best != first:
        said.append(f"{_beats(others[first])} {first}: {_signed(others[first])}.")
    alike = [name for name, difference in others.items() if not difference.beyond_noise]
    beaten = [name for name in others if name not in alike and name != first]
    if beaten:
        said.append(f"It is better than {', '.join(beaten)} beyond noise.")
    if set(alike) - {first} or (best == first and alike):
        said.append(f"Not told apart from it: {', '.join(alike)}.")
    said.append(f"These intervals hold for {_all(len(others))} at once.")
    return " ".join(said)


def markdown(results: Mapping) -> str:
    """The table, what it was measured on, and the verdict."""
    rows = results["styles"]
    lines = [
        "| " + " | ".join(_headings(rows)) + " |",
        "| --- |" + " ---: |" * (len(HEADINGS) - 1),
        *("| " + " | ".join(_cells(row)) + " |" for row in rows),
        "",
        f"{results['recipe']} ({results['architecture']}), {results['classes']} classes, {results['photos_to_train']} "
        f"photos to train, {results['photos_to_validate']} to validate, {results['seeds']} seeds each; the same split "
        f"for all. Stage 1 found no car in {results['photos_without_a_car']} of them: those stay whole in each style. "
        "Intervals from photos and seeds drawn again; those of differences are paired.",
        "",
        results["verdict"],
    ]
    return "\n".join(lines) + "\n"


def terminal_table(results: Mapping) -> Table:
    table = Table(caption=results["verdict"], caption_justify="left")
    for number, heading in enumerate(_headings(results["styles"])):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in results["styles"]:
        table.add_row(*_cells(row), style="bold" if row["style"] == results["best"] else None)
    return table


def save_comparison(rows: Sequence[Mapping], path: Path) -> None:
    """Accuracies on the left, paired differences to the first style on the right, each with its interval."""
    figure = Figure(figsize=(9.5, 0.42 * len(rows) + 1.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(rows))[::-1]
    for axis, name, title in (
        (left, "accuracy", "accuracy"),
        (right, "difference", f"difference to {rows[0]['style']}, paired"),
    ):
        values, low, high = (np.array([row[f"{name}{end}"] for row in rows]) for end in ("", "_low", "_high"))
        axis.errorbar(values, places, xerr=(np.maximum(values - low, 0), np.maximum(high - values, 0)), fmt="o",
                      color=VAL, ecolor=VAL, elinewidth=1.8, capsize=3)  # fmt: skip
        axis.set(title=title, ylim=(-0.6, len(rows) - 0.4))
        axis.title.set_fontsize(10)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.grid(alpha=0.25)
    right.axvline(0, color=TRAIN, linewidth=1.2, linestyle="--")
    left.set_yticks(places, [NAMES[row["style"]] for row in rows])
    save_figure(figure, path)


def _row(style: str, first: str, accuracies: PairedAccuracies, trainings: Sequence[Mapping]) -> dict:
    own = pd.DataFrame([row for row in trainings if row["style"] == style])
    row: dict = {"style": style, "name": NAMES[style]}
    figures = {"accuracy": accuracies.accuracy(style), "difference": accuracies.difference(style, first)}
    for name, figure in figures.items():
        row |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    row = {name: value if isinstance(value, str) else round(value, 4) for name, value in row.items()}
    row |= {"least_of_seeds": round(own["accuracy"].min(), 4), "most_of_seeds": round(own["accuracy"].max(), 4)}
    return row | {"seconds_a_training": round(own["seconds"].mean(), 1)}


def _headings(rows: Sequence[Mapping]) -> list[str]:
    return [heading.format(first=rows[0]["style"]) for heading in HEADINGS]


def _cells(row: Mapping) -> list[str]:
    same = row["difference_low"] == row["difference_high"] == 0
    return [
        row["style"],
        f"{row['accuracy']:.3f}",
        f"{row['accuracy_low']:.3f}-{row['accuracy_high']:.3f}",
        "" if same else f"{row['difference']:+.3f}",
        "" if same else f"{row['difference_low']:+.3f} to {row['difference_high']:+.3f}",
        f"{row['least_of_seeds']:.3f}-{row['most_of_seeds']:.3f}",
    ]


def _beats(difference: Estimate) -> str:
    return "It beats" if difference.beyond_noise else "Noise alone could make it look better than"


def _signed(difference: Estimate) -> str:
    return f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


def _all(count: int) -> str:
    return "this comparison" if count == 1 else f"all {count} comparisons"
