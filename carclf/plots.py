"""Pictures of results, drawn without pyplot: no window, no state shared between threads."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from detection.files import replace_file

TRAIN, VAL = "#8a8f98", "#1f6feb"


def save_curves(epochs: Sequence[Mapping], path: Path) -> None:
    """Accuracy and loss over all epochs, stages one after the other with borders between them.

    epochs: rows of epochs.csv.
    """
    if not epochs:
        return
    figure = Figure(figsize=(11, 4), layout="constrained")
    x = np.arange(1, len(epochs) + 1)
    for axis, what in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for part, colour in (("train", TRAIN), ("val", VAL)):
            axis.plot(x, [row[f"{part}_{what}"] for row in epochs], "o-", color=colour, markersize=4, label=part)
        _mark_stages(axis, [str(row["stage"]) for row in epochs])
        axis.set(xlabel="epoch", ylabel=what, xlim=(0.5, len(epochs) + 0.5))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.25)
        axis.legend(loc="lower right" if what == "accuracy" else "lower left")
    _save(figure, path)


def _mark_stages(axis, stages: Sequence[str]) -> None:
    start = 0
    for end in range(1, len(stages) + 1):
        if end == len(stages) or stages[end] != stages[start]:
            if start:
                axis.axvline(start + 0.5, color="#c9ced6", linewidth=1, linestyle="--")
            axis.text((start + end + 1) / 2, 1.01, stages[start], transform=axis.get_xaxis_transform(), fontsize=8,
                      ha="center", va="bottom")  # fmt: skip
            start = end


def save_confusion(counts: np.ndarray, rows: Sequence[str], columns: Sequence[str], path: Path) -> None:
    """A confusion matrix: rows are true classes, columns predicted ones; readable for 2 to about 200 classes.

    counts: int [len(rows), len(columns)]. Colours are shares of a row, so that rare classes are seen too.
    """
    n = max(len(rows), len(columns))
    cell = 0.6 if n <= 15 else 0.36 if n <= 50 else 0.16
    font = 9 if n <= 15 else 7 if n <= 50 else 6
    labels = 0.0085 * font * max(len(name) for name in [*rows, *columns]) + 0.6  # inches, left and below
    side = max(3.0, cell * n)
    # The room for the labels is reckoned here: measuring 400 of them takes matplotlib's layouts ten seconds.
    whole = side + labels + 0.2
    figure = Figure(figsize=(whole, whole))
    axis = figure.add_axes((labels / whole, labels / whole, side / whole, side / whole))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axis.set_xticks(range(len(columns)), columns, rotation=90, fontsize=font)
    axis.set_yticks(range(len(rows)), rows, fontsize=font)
    axis.set(xlabel="predicted", ylabel="true")
    if n <= 50:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, counts[row, column], ha="center", va="center", color=colour, fontsize=font)
    else:
        lines = {"color": "#eef0f3", "linewidth": 0.3}
        axis.vlines(np.arange(len(columns)) - 0.5, -0.5, len(rows) - 0.5, **lines)
        axis.hlines(np.arange(len(rows)) - 0.5, -0.5, len(columns) - 0.5, **lines)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=100)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, data.getbuffer())
