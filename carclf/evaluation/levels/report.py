"""What `carclf evaluate` says of levels: entries of metrics.json, levels.csv and levels.png."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from carclf.classifier.levels.names import LEVELS
from carclf.classifier.levels.tree import Tree
from carclf.evaluation.levels.figures import DEEPEST, accuracy_given, answered_right, level_curve, level_report
from carclf.evaluation.levels.fit import Told, told_at_levels
from carclf.evaluation.plots import TRAIN, VAL, new_figure, save_figure
from detection.common.console import never_in_the_way
from detection.common.files import write_table

if TYPE_CHECKING:
    import pandas as pd

    from carclf.recognition.recognizer import CarRecognizer


class LevelResults:
    """Photos of a model whose classes have names with parts.

    probabilities: float [N, C], rows of NaN without an answer; truth: int [N].
    """

    def __init__(self, recognizer: CarRecognizer, probabilities: np.ndarray, truth: np.ndarray):
        classifier, self._answers = recognizer.classifier, recognizer.answers
        found = np.isfinite(probabilities).all(axis=1)
        tree = Tree(classifier.names, recognizer.classes)
        self._table, self._total = classifier.levels, len(truth)
        self._told: Told = told_at_levels(tree, probabilities[found], truth[found])
        self._given = accuracy_given(tree, probabilities[found], truth[found], self._total)

    @property
    def metrics(self) -> dict:
        """accuracy_given_make and accuracy_given_model; levels, as in `level_report` with the asked share, or without
        thresholds the accuracy of each level alone."""
        least = self._answers.least
        if self._answers.levels:
            report = level_report(self._told, [least[level] for level in LEVELS], self._total)
            return self._given | {"levels": {"sure": self._answers.sure} | report}
        right = self._told.right.sum(axis=0) / max(1, self._total)
        accuracy = {level: {"accuracy": round(float(right[place]), 6)} for place, level in enumerate(LEVELS)}
        return self._given | {"levels": accuracy}

    def write(self, output: Path) -> None:
        """levels.csv, the columns of `level_curve`, and levels.png."""
        curve = level_curve(self._told, self._table, self._total)
        write_table(output / "levels.csv", curve)
        with never_in_the_way(f"{output / 'levels.png'} was not drawn"):
            now = None
            if self._answers.levels:
                now = answered_right(self._told, [self._answers.least[level] for level in LEVELS], self._total)
            save_level_curve(curve, now, output / "levels.png")


def save_level_curve(curve: pd.DataFrame, now: tuple[float, float] | None, path: Path) -> None:
    """Draws how many answers are wrong (risk) against how many photos are answered (coverage), level by level.

    curve: of `level_curve`. now: the shares answered and right at the thresholds in use, which get a mark.
    """
    if curve.empty:
        path.unlink(missing_ok=True)
        return
    figure = new_figure(figsize=(6.4, 4.6), layout="constrained")
    axis = figure.subplots()
    colours: Sequence[str] = ("#8a8f98", "#bf8700", "#1a7f37")
    for name, colour in zip(LEVELS, colours, strict=True):
        rows = curve[curve["level"] == name]
        axis.plot(rows["answered"], rows["risk"], color=colour, linewidth=1.3, label=f"always the {name}")
    rows = curve[curve["level"] == DEEPEST]
    if len(rows):
        axis.plot(rows["answered"], rows["risk"], "o-", color=VAL, markersize=3, label="the deepest level that is sure")
    if now is not None:
        axis.plot(now[0], 1 - now[1], "o", color="white", markeredgecolor=VAL, markersize=9, label="as asked")
    axis.set(xlabel="photos answered", ylabel="answers that are wrong", xlim=(_left(curve), 1.01))
    axis.set_ylim(0, max(0.02, float(curve["risk"].quantile(0.995)) * 1.15))
    axis.grid(alpha=0.25, color=TRAIN)
    axis.legend(loc="upper left", fontsize=8)
    save_figure(figure, path)


def _left(curve: pd.DataFrame) -> float:
    """Where the curves leave zero, and a little before: nothing is to be seen further to the left."""
    wrong = curve["answered"][curve["risk"] > 0]
    return 0.0 if wrong.empty else max(0.0, float(wrong.min()) - 0.1)


def level_lines(metrics: dict) -> list[str]:
    """The figures of levels for a terminal; none where there are none."""
    levels = metrics.get("levels") or {}
    lines = []
    if "sure" in levels:
        lines.append(
            f"levels for {levels['sure']:g} right answers: answered {levels['answered']:.4f}, right of these "
            f"{levels['right']:.4f}"
        )
    for name in LEVELS:
        if found := levels.get(name):
            more = ""
            if "answered" in found:
                right = "" if found["right"] is None else f", right of these {found['right']:.4f}"
                more = f"; answered at this level {found['answered']:.4f}{right}"
            lines.append(f"{name}: accuracy {found['accuracy']:.4f}{more}")
    return lines
