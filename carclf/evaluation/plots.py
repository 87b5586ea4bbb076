"""Pictures of results, drawn without pyplot: no window, no state shared between threads."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from detection.common.errors import need
from detection.common.files import replace_file
from detection.images.lettering import drawable, fonts_beside, text_length

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAIN, VAL = "#8a8f98", "#1f6feb"
_LONGEST = 100  # letters of a class's name that are drawn


def new_figure(**settings: Any) -> Figure:
    """A figure of Matplotlib, which the light install leaves out: raises `UsageError` there."""
    need("matplotlib", "A picture of results", extra="plots")
    from matplotlib.figure import Figure

    return Figure(**settings)


def save_confusion(counts: np.ndarray, rows: Sequence[str], columns: Sequence[str], path: Path) -> None:
    """A confusion matrix: rows are true classes, columns predicted ones; readable for 2 to about 200 classes.

    counts: int [len(rows), len(columns)]. Shades are shares of a row, so that rare classes are seen too: blue what is
    right, red what is not.
    """
    n = max(len(rows), len(columns))
    cell = 0.6 if n <= 15 else 0.36 if n <= 50 else 0.16
    font = 9 if n <= 15 else 7 if n <= 50 else 6
    rows, columns = ([_shortened(drawable(name)) for name in some] for some in (rows, columns))
    labels = font / 72 * max(text_length(name, 100) for name in [*rows, *columns]) / 100 + 0.6  # inches, left and below
    side = max(3.0, cell * n)
    # The room for the labels is reckoned here: measuring 400 of them takes matplotlib's layouts ten seconds.
    whole = side + labels + 0.2
    figure = new_figure(figsize=(whole, whole))
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    wrong = LinearSegmentedColormap.from_list("wrong", ["#ffffff", "#f4a582", "#b2182b"])
    axis = figure.add_axes((labels / whole, labels / whole, side / whole, side / whole))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right = np.eye(*counts.shape) > 0
    colours = np.where(right[..., None], colormaps["Blues"](shares), wrong(np.maximum(shares, 0.15)))
    colours[(counts == 0) & ~right] = 1
    axis.imshow(colours, interpolation="nearest", aspect="auto")
    axis.set(xticks=[], yticks=[])  # as texts they cost half: a tick is ten objects
    for number, name in enumerate(columns):
        axis.annotate(name, (number, 0), (0, -4), ("data", "axes fraction"), "offset points", rotation=90,
                      fontsize=font, ha="center", va="top")  # fmt: skip
    for number, name in enumerate(rows):
        axis.annotate(name, (0, number), (-4, 0), ("axes fraction", "data"), "offset points", fontsize=font,
                      ha="right", va="center")  # fmt: skip
    figure.text((labels + side / 2) / whole, 0.1 / whole, "predicted", ha="center", va="bottom")
    figure.text(0.1 / whole, (labels + side / 2) / whole, "true", ha="left", va="center", rotation=90)
    for every, colour in ((1, "#eef0f3"), (5, "#c3c9d2")) if n > 50 else ((1, "#eef0f3"),):
        axis.vlines(np.arange(0, len(columns), every) - 0.5, -0.5, len(rows) - 0.5, color=colour, linewidth=0.4)
        axis.hlines(np.arange(0, len(rows), every) - 0.5, -0.5, len(columns) - 0.5, color=colour, linewidth=0.4)
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axis.text(column, row, counts[row, column], ha="center", va="center", color=colour, fontsize=font)
    save_figure(figure, path)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def save_reliability(bins: pd.DataFrame, figures: Mapping[str, float], path: Path) -> None:
    """A reliability diagram: how often answers are right against how sure they are, and how many are how sure.

    bins, figures: of `carclf.evaluation.confidence.calibration`. Nothing is written where there are none.
    """
    if bins.empty:
        path.unlink(missing_ok=True)
        return
    figure = new_figure(figsize=(5.6, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    middle, width = (bins["low"] + bins["high"]) / 2, (bins["high"] - bins["low"]) * 0.94
    above.bar(middle, bins["accuracy"], width, color=VAL, alpha=0.75, label="accuracy of the group")
    reach = (bins["accuracy"] - bins["accuracy_low"], bins["accuracy_high"] - bins["accuracy"])
    above.errorbar(middle, bins["accuracy"], np.clip(reach, 0, 1), fmt="none", ecolor="#30363d", elinewidth=1,
                   capsize=2, label="95 % interval")  # fmt: skip
    above.plot((0, 1), (0, 1), "--", color=TRAIN, linewidth=1.2, label="as sure as right")
    above.plot(bins["confidence"], bins["accuracy"], "o", color="white", markeredgecolor="#30363d", markersize=4,
               label="at its mean confidence")  # fmt: skip
    above.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title=f"expected calibration error {figures['ece']:.3f}")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    below.bar(middle, bins["photos"], width, color=TRAIN)
    below.set(xlabel="confidence", ylabel="photos")
    for axis in (above, below):
        axis.grid(alpha=0.25)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure by temp file and rename, in the format of the path's suffix; png where it has none.

    Its texts are names of users: `$` and backslashes are drawn as they are, and letters by a font that has them.
    """
    from matplotlib.axis import Tick
    from matplotlib.text import Text

    ticks = {text for axis in figure.findobj(Tick) for text in axis.findobj(Text)}  # matplotlib's own: may be formulas
    for text in figure.findobj(Text):
        if text not in ticks:
            text.set_parse_math(False)
            text.set_usetex(False)
            text.set_text(drawable(text.get_text()))
            text.set_fontfamily(["DejaVu Sans", *map(_family, fonts_beside(text.get_text()))])
    data = io.BytesIO()
    figure.savefig(data, format=path.suffix[1:].lower() or "png", dpi=100)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, data.getbuffer())


@lru_cache(maxsize=64)
def _family(file: str) -> str:
    """What matplotlib calls the font of a file; its own list may be older than the file."""
    from matplotlib.font_manager import fontManager

    fontManager.addfont(file)
    return fontManager.ttflist[-1].name
