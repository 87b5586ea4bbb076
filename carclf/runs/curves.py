"""Learning curves of several runs in one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from carclf.evaluation.plots import TRAIN, VAL, new_figure, save_figure
from carclf.runs.tables import read_epochs
from detection.common.errors import UsageError

SUFFIXES = (".png", ".svg", ".pdf")
DASHES = ("-", "--", ":", "-.")
WHATS = ("accuracy", "loss")


def read_curves(run: Path) -> list[dict]:
    """The rows of its epochs.csv; none where that can't be read."""
    try:
        epochs = read_epochs(run)
    except (OSError, ValueError):
        return []
    return epochs if epochs and "stage" in epochs[0] else []


def save_comparison(runs: Mapping[str, Sequence[Mapping]], path: Path, by_time: bool = False) -> None:
    """Accuracy and loss of every run, of validation as a line with its stages' starts marked, of training faintly.

    runs: name -> rows of epochs.csv. by_time: over the seconds that the epochs took, not their number.
    Raises `UsageError` when one of them has no epoch, or the file can't be written.
    """
    without = [name for name, epochs in runs.items() if not epochs]
    if without:
        raise UsageError(f"There are no curves for {', '.join(without)}: no epoch has ended, or epochs.csv is damaged.")
    unit, divisor = _unit(runs.values()) if by_time else ("epoch", 1.0)
    figure = new_figure(figsize=(13, 4.6 + 0.2 * -(-len(runs) // 2)), layout="constrained")
    from matplotlib import colormaps

    axes = dict(zip(WHATS, figure.subplots(1, 2), strict=True))
    legend = {}
    for number, (name, epochs) in enumerate(runs.items()):
        look = {"color": colormaps["tab10"](number % 10), "linestyle": DASHES[number // 10 % len(DASHES)]}
        x = np.cumsum(series(epochs, "seconds")["seconds"]) / divisor if by_time else np.arange(1, len(epochs) + 1)
        starts = [first for _, first, _ in bands([str(row["stage"]) for row in epochs])]
        for what, axis in axes.items():
            lines = series(epochs, what)
            if "train" in lines:
                axis.plot(x, lines["train"], linewidth=0.9, alpha=0.35, **look)
            if "val" in lines:
                (line,) = axis.plot(x, lines["val"], linewidth=1.8, **look)
                if what == "accuracy":
                    legend[f"{name} (best {np.nanmax(lines['val']):.4f})"] = line
                axis.plot(x[starts], np.array(lines["val"])[starts], "o", color=look["color"], markersize=6)
    for what, axis in axes.items():
        axis.set(xlabel=unit, ylabel=what)
        if not by_time:
            _count(axis)
        axis.grid(alpha=0.25)
    figure.suptitle("line: validation; faint: training; dot: a stage begins", fontsize=9, x=0.01, ha="left")
    # Given outright: of lines with names, those that begin with "_" would be left out.
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=2, fontsize=9)
    try:
        save_figure(figure, path)
    except OSError as error:
        raise UsageError(f"'{path}' can't be written: {error.strerror or error}.") from error


def _unit(runs) -> tuple[str, float]:
    """What the longest run is measured in, and how many seconds that is."""
    if not all("seconds" in series(epochs, "seconds") for epochs in runs):
        raise UsageError("Not all of these runs recorded their times: draw them by epoch.")
    longest = max(float(np.nansum(series(epochs, "seconds")["seconds"])) for epochs in runs)
    return next((unit, size) for unit, size in (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
                if longest >= 2 * size or size == 1)  # fmt: skip


_LINES = {"train": TRAIN, "val": VAL}


_BAND = 95  # characters of stage names that fit above one of two charts side by side


def save_curves(epochs: Sequence[Mapping], path: Path) -> None:
    """Accuracy, loss, learning rate and seconds over all epochs, stages one after the other with borders between them.

    epochs: rows of epochs.csv; what they lack is left out.
    """
    stages = [str(row["stage"]) for row in epochs]
    charts = [
        (what, lines) for what in ("accuracy", "loss", "learning_rate", "seconds") if (lines := series(epochs, what))
    ]
    if not charts:
        return
    rows = -(-len(charts) // 2)
    labels = label_bands(stages, _BAND)
    figure = new_figure(figsize=(13, 3.6 * rows + 0.4), layout="constrained")
    x = np.arange(1, len(epochs) + 1)
    for number, (what, lines) in enumerate(charts, 1):
        axis = figure.add_subplot(rows, 2, number)
        for part, values in lines.items():
            axis.plot(x, values, "o-", color=_LINES.get(part, VAL), markersize=4 if len(epochs) <= 30 else 2.5,
                      linewidth=1.6, label=part)  # fmt: skip
        _mark_stages(axis, stages, labels)
        axis.set(xlabel="epoch", ylabel=what.replace("_", " "), xlim=(0.5, len(epochs) + 0.5))
        _count(axis)
        if what == "learning_rate" and np.nanmin([*lines.values()]) > 0:
            axis.set_yscale("log")
        elif what == "seconds":
            axis.set_ylim(bottom=0)
        axis.grid(alpha=0.25)
        if len(lines) > 1:
            axis.legend(loc="lower right" if what == "accuracy" else "upper right")
    numbered = [f"{label} {name}" for (name, _, _), label in zip(bands(stages), labels, strict=True) if label != name]
    if numbered:
        figure.suptitle("stages: " + ", ".join(numbered), fontsize=9, x=0.01, ha="left")
    save_figure(figure, path)


def _count(axis) -> None:
    """Whole epochs below the axis."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def _mark_stages(axis, stages: Sequence[str], labels: Sequence[str]) -> None:
    for (_, first, last), label in zip(bands(stages), labels, strict=True):
        if first:
            axis.axvline(first + 0.5, color="#8b95a5", linewidth=1, linestyle="--")
        axis.text((first + last) / 2 + 1, 1.01, label, transform=axis.get_xaxis_transform(), fontsize=8, ha="center",
                  va="bottom")  # fmt: skip


def series(epochs: Sequence[Mapping], what: str) -> dict[str, list[float]]:
    """The lines of epochs.csv for `accuracy`, `loss` (each of train and val), or a column: name -> a value per epoch.

    An epoch without it is nan; a line without any value is left out.
    """
    names = {"val": f"val_{what}", "train": f"train_{what}"} if what in ("accuracy", "loss") else {what: what}
    lines = {part: [as_number(epoch.get(column)) for epoch in epochs] for part, column in names.items()}
    return {part: line for part, line in lines.items() if any(map(math.isfinite, line))}


def bands(stages: Sequence[str]) -> list[tuple[str, int, int]]:
    """(name, first epoch, last epoch) of each run of equal names.

    >>> bands(["head", "head", "all"])
    [('head', 0, 1), ('all', 2, 2)]
    """
    found: list[tuple[str, int, int]] = []
    for epoch, name in enumerate(stages):
        if found and found[-1][0] == name:
            found[-1] = (name, found[-1][1], epoch)
        else:
            found.append((name, epoch, epoch))
    return found


def label_bands(stages: Sequence[str], letters: float) -> list[str]:
    """What to write above each band of a chart that is `letters` wide: the names, or numbers if one does not fit.

    >>> label_bands(["head", "head", "three_quarters", "all"], 60), label_bands(["head", "three_quarters"], 20)
    (['head', 'three_quarters', 'all'], ['1', '2'])
    """
    parts = bands(stages)
    room = letters / max(1, len(stages))
    middles = [(first + last + 1) / 2 * room for _, first, last in parts]
    starts = [middle - len(name) / 2 for middle, (name, _, _) in zip(middles, parts, strict=True)]
    ends = [middle + len(name) / 2 for middle, (name, _, _) in zip(middles, parts, strict=True)]
    gap = 1.5
    fits = all(start - end >= gap for end, start in zip([-gap, *ends], [*starts, letters + gap], strict=True))
    return [part[0] if fits else str(number) for number, part in enumerate(parts, 1)]


def as_number(value: object) -> float:
    """The value of a cell; nan where it is empty or no number."""
    try:
        return float(value)  # type: ignore[arg-type]  # whatever is no number is caught
    except (TypeError, ValueError):
        return math.nan
