"""Learning curves of several runs in one picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from carclf.report.charts import bands, series
from carclf.runs import read_epochs
from detection.errors import UsageError
from detection.files import replace_file

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
        raise UsageError(f"There are no curves of {', '.join(without)}: no epoch has ended, or epochs.csv is damaged.")
    unit, divisor = _unit(runs.values()) if by_time else ("epoch", 1.0)
    figure = Figure(figsize=(13, 4.6 + 0.2 * -(-len(runs) // 2)), layout="constrained")
    axes = dict(zip(WHATS, figure.subplots(1, 2), strict=True))
    for number, (name, epochs) in enumerate(runs.items()):
        look = {"color": matplotlib.colormaps["tab10"](number % 10), "linestyle": DASHES[number // 10 % len(DASHES)]}
        x = np.cumsum(series(epochs, "seconds")["seconds"]) / divisor if by_time else np.arange(1, len(epochs) + 1)
        starts = [first for _, first, _ in bands([str(row["stage"]) for row in epochs])]
        for what, axis in axes.items():
            lines = series(epochs, what)
            if "train" in lines:
                axis.plot(x, lines["train"], linewidth=0.9, alpha=0.35, **look)
            if "val" in lines:
                label = f"{name} (best {np.nanmax(lines['val']):.4f})" if what == "accuracy" else None
                axis.plot(x, lines["val"], linewidth=1.8, label=label, **look)
                axis.plot(x[starts], np.array(lines["val"])[starts], "o", color=look["color"], markersize=6)
    for what, axis in axes.items():
        axis.set(xlabel=unit, ylabel=what)
        if not by_time:
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        axis.grid(alpha=0.25)
    figure.suptitle("line: validation; faint: training; dot: a stage begins", fontsize=9, x=0.01, ha="left")
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    data = io.BytesIO()
    figure.savefig(data, format=path.suffix[1:].lower(), dpi=100)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data.getbuffer())
    except OSError as error:
        raise UsageError(f"'{path}' can't be written: {error.strerror or error}.") from error


def _unit(runs) -> tuple[str, float]:
    """What the longest run is measured in, and how many seconds that is."""
    if not all("seconds" in series(epochs, "seconds") for epochs in runs):
        raise UsageError("Not all of these runs noted their seconds: draw them by epochs.")
    longest = max(float(np.nansum(series(epochs, "seconds")["seconds"])) for epochs in runs)
    return next((unit, size) for unit, size in (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
                if longest >= 2 * size or size == 1)  # fmt: skip
