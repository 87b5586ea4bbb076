"""How often answers at levels are given, and how often they are right; with the right make given, too. Pure numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from carclf.classifier.levels.names import LEVELS, MAKE, MODEL
from carclf.classifier.levels.sure import SureTable
from carclf.classifier.levels.tree import Tree
from carclf.evaluation.levels.fit import Told, answer_level, fit_table, in_order

DEEPEST = "deepest"  # of the curve: the answer at the deepest level that is sure
_POINTS = 200  # of a curve


def answered_right(told: Told, thresholds: list[float], total: int) -> tuple[float, float]:
    """The share of `total` photos that is answered, and the share of these that is right; 0 for none."""
    level = answer_level(told.confidence, thresholds)
    answered = np.flatnonzero(level < len(LEVELS))
    right = told.right[answered, level[answered]]
    return len(answered) / max(1, total), float(right.mean()) if len(answered) else 0.0


def level_figures(told: Told, table: SureTable, half: np.ndarray, total: int) -> dict[str, float]:
    """levels_answered and levels_right at the usual share, and with _held_out where each half of the photos reports on
    what the other one has chosen. total: photos, with an answer or without; half: bool [N]."""
    answered, right = answered_right(told, in_order(table), total)
    figures = {"levels_answered": answered, "levels_right": right}
    if half.all() or not half.any():
        return figures
    level = np.full(len(half), len(LEVELS))
    for side in (half, ~half):
        level[side] = answer_level(told.confidence[side], in_order(fit_table(told.of(~side))))
    named = np.flatnonzero(level < len(LEVELS))
    hits = told.right[named, level[named]]
    return figures | {
        "levels_answered_held_out": len(named) / max(1, total),
        "levels_right_held_out": float(hits.mean()) if len(named) else 0.0,
    }


def level_report(told: Told, thresholds: list[float], total: int) -> dict:
    """For metrics.json: answered, right, and of each level its threshold; accuracy, the share of all photos whose best
    name of that level is right; answered, the share of all photos that are answered at it; right, of these.

    total: photos, with an answer or without; what has none counts as wrong.
    """
    answered, right = answered_right(told, thresholds, total)
    level = answer_level(told.confidence, thresholds)
    report: dict = {"answered": round(answered, 6), "right": round(right, 6)}
    for place, name in enumerate(LEVELS):
        here = level == place
        report[name] = {
            "threshold": thresholds[place],
            "accuracy": round(float(told.right[:, place].sum()) / max(1, total), 6),
            "answered": round(float(here.sum()) / max(1, total), 6),
            "right": round(float(told.right[here, place].mean()), 6) if here.any() else None,
        }
    return report


def accuracy_given(tree: Tree, probabilities: np.ndarray, truth: np.ndarray, total: int) -> dict[str, float]:
    """accuracy_given_make and accuracy_given_model: the share of all photos whose class is right when their make, or
    their model, is known. probabilities: float [N, C], of the photos with an answer; truth: int [N]."""
    given = {}
    for level in (MAKE, MODEL):
        node = tree.nodes(level)
        inside = node[None, :] == node[truth][:, None]
        best = np.where(inside, probabilities, -1.0).argmax(axis=1) if len(truth) else truth
        given[f"accuracy_given_{level}"] = round(float((best == truth).sum()) / max(1, total), 6)
    return given


def level_curve(told: Told, table: SureTable | None, total: int) -> pd.DataFrame:
    """How many photos are answered, and how many of these are wrong, from the surest answer to the least sure one.

    Columns: level (`class`, `model` and `make` alone, and `deepest` by the rows of the table), sure (the asked share
    of right answers, of `deepest` only), threshold (the least confidence; empty for `deepest`), answered (of all
    photos), right (of these), risk (1 - right).
    """
    rows: list[dict] = []
    for place, name in enumerate(LEVELS):
        order = np.argsort(-told.confidence[:, place], kind="stable")
        right = told.right[order, place].cumsum()
        for last in np.unique(np.linspace(0, len(order) - 1, _POINTS).astype(int)) if len(order) else ():
            share = float(right[last]) / (last + 1)
            rows.append(
                {"level": name, "sure": "", "threshold": round(float(told.confidence[order[last], place]), 6)}
                | {"answered": round((last + 1) / max(1, total), 6), "right": round(share, 6)}
            )
    for row in () if table is None else table.rows:
        answered, share = answered_right(told, [row.class_, row.model, row.make], total)
        if answered:
            rows.append(
                {"level": DEEPEST, "sure": row.right, "threshold": ""}
                | {"answered": round(answered, 6), "right": round(share, 6)}
            )
    columns = ["level", "sure", "threshold", "answered", "right"]
    curve = pd.DataFrame(rows, columns=columns)
    return curve.assign(risk=(1 - curve["right"].astype(float)).round(6))
