"""Classes below models below makes: probabilities summed upwards, and the best name of each level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from carclf.classifier.levels.names import CLASS, MAKE, MODEL, ClassName, Level

_LIKELY, _MOST = 0.25, 2  # which names below the answer are told: with this share of it, and how many at most


@dataclass(frozen=True)
class Best:
    """The best name of each level, each within the one above it, and how probable they are.

    node: their numbers, in the order of `Tree.labels`. probability: never less than that of a level below.
    """

    node: dict[Level, int]
    probability: dict[Level, float]


class Tree:
    """labels: the names of each level, `class` in the order of the classes."""

    def __init__(self, names: Sequence[ClassName], classes: Sequence[str]):
        self.names = tuple(names)
        self._models = list(dict.fromkeys(one.model for one in names))
        self._makes = list(dict.fromkeys(one.make for one in names))
        self.labels: dict[Level, tuple[str, ...]] = {
            CLASS: tuple(classes),
            MODEL: tuple(self._models),
            MAKE: tuple(self._makes),
        }
        self._model_of = np.array([self._models.index(one.model) for one in names])
        self._make_of = np.array([self._makes.index(one.make) for one in names])
        self._make_of_model = np.zeros(len(self._models), int)
        self._make_of_model[self._model_of] = self._make_of
        upper: tuple[Level, ...] = (MODEL, MAKE)
        self._members = {level: np.eye(len(self.labels[level]))[self.nodes(level)] for level in upper}

    def nodes(self, level: Level) -> np.ndarray:
        """The number of the name that each class lies below, int [C]."""
        return {CLASS: np.arange(len(self.names)), MODEL: self._model_of, MAKE: self._make_of}[level]

    def sums(self, probabilities: np.ndarray, level: Level) -> np.ndarray:
        """Float64 [..., names of the level]: of each name the sum of its classes. probabilities: float [..., C]."""
        plain = np.asarray(probabilities, np.float64)
        return plain if level == CLASS else plain @ self._members[level]

    def best(self, probabilities: np.ndarray) -> Best:
        """The best make, its best model and the best class of that. probabilities: float [C]."""
        by_model = self.sums(probabilities, MODEL)
        make = int(self.sums(probabilities, MAKE).argmax())
        model = _best_of(by_model, self._make_of_model == make)
        number = _best_of(np.asarray(probabilities, np.float64), self._model_of == model)
        node: dict[Level, int] = {CLASS: number, MODEL: model, MAKE: make}
        told: dict[Level, float] = {}
        least = 0.0
        for level, one in node.items():  # a sum in floating point may be less than its parts by a hair
            least = max(least, float(self.sums(probabilities, level)[one]))
            told[level] = least
        return Best(node, told)

    def years(self, probabilities: np.ndarray, number: int) -> float:
        """How probable the model and the years of a class are together, whatever its body. probabilities: float [C]."""
        one = self.names[number]
        alike = [(other.model, other.years) == (one.model, one.years) for other in self.names]
        return float(self.sums(probabilities, CLASS)[alike].sum())

    def likely(self, probabilities: np.ndarray, level: Level, node: int) -> tuple[str, ...]:
        """The names one level below a name that are most of it, best first; at most two, none below a class."""
        if level == CLASS:
            return ()
        below: Level = MODEL if level == MAKE else CLASS
        inside = (self._make_of_model if below == MODEL else self._model_of) == node
        sums = np.where(inside, self.sums(probabilities, below), 0.0)
        order = np.argsort(-sums, kind="stable")[:_MOST]
        return tuple(self.labels[below][one] for one in order if sums[one] >= _LIKELY * sums.sum() > 0)


def outline(names: Sequence[ClassName], classes: Sequence[str]) -> list[dict[str, Any]]:
    """The tree as plain data, sorted by name: makes with their models, and these with their classes."""
    makes: dict[str, dict[str, list[dict[str, str]]]] = {}
    for one, name in sorted(zip(names, classes, strict=True), key=lambda pair: pair[1].casefold()):
        parts = {CLASS: name} | {part: getattr(one, part) for part in ("body", "years", "trim")}
        makes.setdefault(one.make, {}).setdefault(one.model, []).append(parts)
    return [
        {MAKE: make, "models": [{MODEL: model, "classes": found} for model, found in sorted(models.items())]}
        for make, models in sorted(makes.items(), key=lambda pair: pair[0].casefold())
    ]


def _best_of(values: np.ndarray, inside: np.ndarray) -> int:
    return int(np.where(inside, values, -1.0).argmax())
