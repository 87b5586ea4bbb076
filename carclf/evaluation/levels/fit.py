"""Chooses how sure an answer must be at each level, by photos that the model was not trained on. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from carclf.classifier.levels.names import CLASS, LEVELS, MAKE, MODEL
from carclf.classifier.levels.sure import SureRow, SureTable
from carclf.classifier.levels.tree import Tree

# The shares of right answers that a table has rows for, as far as its photos promise them.
SHARES = tuple(round(0.5 + 0.005 * step, 3) for step in range(100))
_STEPS = 500
# How far, in deviations, the curves may leave a confidence that is taken at its word: with few wrong answers among the
# photos their own curves are mostly chance.
_SHIFT, _SLOPE = 1.0, 0.5
_LEAST_SLOPE = 0.05
# The share of these photos that may be less sure than any threshold. Where nearly all answers are right, the share of
# right ones asks for no threshold at all, and cars of all other models would be named.
_LOST = 0.01


@dataclass(frozen=True)
class Told:
    """The best name of each level for N photos, the levels in the order of `LEVELS`.

    confidence: float [N, 3]; right: bool [N, 3].
    """

    confidence: np.ndarray
    right: np.ndarray

    def of(self, photos: np.ndarray) -> Told:
        return Told(self.confidence[photos], self.right[photos])


def told_at_levels(tree: Tree, probabilities: np.ndarray, truth: np.ndarray) -> Told:
    """What would be told at each level. probabilities: float [N, C], calibrated; truth: int [N]."""
    confidence, right = np.zeros((len(truth), 3)), np.zeros((len(truth), 3), bool)
    for number, (row, one) in enumerate(zip(probabilities, truth, strict=True)):
        best = tree.best(row)
        for place, level in enumerate(LEVELS):
            confidence[number, place] = best.probability[level]
            right[number, place] = best.node[level] == tree.nodes(level)[one]
    return Told(confidence, right)


def fit_table(told: Told) -> SureTable:
    """The thresholds for every share of right answers that these photos promise.

    A curve for each level says how often answers of a confidence are right. A photo is answered at the deepest level
    whose curve gives at least some number, the same at all levels, so that no level is more of a risk than another; and
    that number is the lowest at which the answered photos are right as often as is wanted. How often they are is taken
    from the curves, which is steadier than counting the few wrong ones, and as if one photo more had been answered that
    is right by half (Jeffreys's prior): few photos promise less. No threshold is lower than all but one in a hundred of
    the photos need.
    """
    curves = [_curve(told.confidence[:, place], told.right[:, place]) for place in range(3)]
    chances = np.stack([_chance(told.confidence[:, place], *curves[place]) for place in range(3)], axis=1)
    floor = np.floor(np.quantile(told.confidence, _LOST, axis=0, method="lower") * 1e4) / 1e4
    rows: dict[tuple[float, float, float], float] = {}
    least = np.unique(np.quantile(chances, np.linspace(0, 1, _STEPS)))
    wanted = list(SHARES)
    for chance in [0.0, *least.tolist()]:
        thresholds = [max(_confidence_at(chance, *curves[place]), float(floor[place])) for place in range(3)]
        promised = _promised(chances, answer_level(told.confidence, thresholds))
        while wanted and promised >= wanted[0]:
            rows[(thresholds[0], thresholds[1], thresholds[2])] = wanted.pop(0)
    if not rows:  # hardly any answer is right: what is left is the lowest share of all, with everything unknown
        rows[(1.0, 1.0, 1.0)] = SHARES[0]
    table, least_of_all = [], (0.0, 0.0, 0.0)
    for found, share in rows.items():  # a threshold of a few digits may fall by one of them
        least_of_all = (max(least_of_all[0], found[0]), max(least_of_all[1], found[1]), max(least_of_all[2], found[2]))
        table.append(SureRow(right=share, class_=least_of_all[0], model=least_of_all[1], make=least_of_all[2]))
    return SureTable(photos=len(told.confidence), rows=tuple(table))


def answer_level(confidence: np.ndarray, thresholds: list[float]) -> np.ndarray:
    """The place in `LEVELS` of the level at which each photo is answered, int [N]; 3 where it is unknown."""
    sure = confidence >= np.asarray(thresholds)
    return np.where(sure.any(axis=1), sure.argmax(axis=1), len(LEVELS))


def in_order(table: SureTable, sure: float | None = None) -> list[float]:
    """The thresholds of a table in the order of `LEVELS`. Raises `UsageError` as `SureTable.thresholds` does."""
    thresholds = table.thresholds(sure)
    return [thresholds[CLASS], thresholds[MODEL], thresholds[MAKE]]


def _promised(chances: np.ndarray, level: np.ndarray) -> float:
    """The share of the answered photos that is expected to be right, with one more that is right by half."""
    answered = np.flatnonzero(level < len(LEVELS))
    return (float(chances[answered, level[answered]].sum()) + 0.5) / (len(answered) + 1)


def _curve(confidence: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Shift and slope of the chance to be right, by the log odds of the confidence: Platt's scaling, held to (0, 1)."""
    odds = _odds(confidence)
    shift, slope = 0.0, 1.0
    for _ in range(50):  # Newton's method on a function with one valley
        chance = _sigmoid(shift + slope * odds)
        off, weight = chance - right, np.maximum(chance * (1 - chance), 1e-9)
        slant = np.array([off.sum() + shift / _SHIFT**2, (off * odds).sum() + (slope - 1) / _SLOPE**2])
        bend = np.array([[weight.sum(), (weight * odds).sum()], [(weight * odds).sum(), (weight * odds**2).sum()]])
        bend += np.diag([1 / _SHIFT**2, 1 / _SLOPE**2])
        step = np.linalg.solve(bend, slant)
        step /= max(1.0, float(np.abs(step).max()))
        shift, slope = shift - float(step[0]), slope - float(step[1])
        if np.abs(step).max() < 1e-9:
            break
    return shift, max(slope, _LEAST_SLOPE)


def _chance(confidence: np.ndarray, shift: float, slope: float) -> np.ndarray:
    return _sigmoid(shift + slope * _odds(confidence))


def _confidence_at(chance: float, shift: float, slope: float) -> float:
    """The confidence whose chance to be right is this, rounded down to four digits as thresholds are."""
    if chance <= 0:
        return 0.0
    found = float(_sigmoid(np.array((_odds(np.array(chance)) - shift) / slope)))
    return float(np.floor(found * 1e4) / 1e4)


def _odds(share: np.ndarray) -> np.ndarray:
    inside = np.clip(share, 1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside))


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))
