"""From the probabilities of one car to its row: the deepest level that is sure, or the best class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from carclf.classifier.contract import Classifier
from carclf.classifier.levels.names import CLASS, LEVELS, MAKE, MODEL, Level
from carclf.classifier.levels.only import LEAST_LISTED, among, listed_classes, share_listed
from carclf.classifier.levels.tree import Tree
from carclf.recognition.prediction import OK, UNKNOWN, Prediction, decide
from detection.common.errors import UsageError
from detection.common.tally import counted


class Answers:
    """What is told of a car, by a classifier's probabilities.

    top: how many classes are told. threshold: the least confidence of a class; None takes the model's own. levels:
    whether the answer is the deepest level that is sure; None: where the model can, and no threshold is given. sure:
    the share of right answers that is asked for then; None: the usual one. only: the classes, models and makes that
    there can be, see `listed_classes`.
    Raises `UsageError` for a wrong number or name, and for levels where the model has none.
    """

    def __init__(
        self,
        classifier: Classifier,
        top: int = 5,
        threshold: float | None = None,
        levels: bool | None = None,
        sure: float | None = None,
        only: str | Sequence[str] | None = None,
    ):
        if top < 1:
            raise UsageError("top and batch_size must be 1 or more.")
        if threshold is not None and not 0 <= threshold <= 1:
            raise UsageError(f"The threshold is a confidence from 0 to 1, not {threshold}.")
        self.classes = tuple(classifier.classes)
        self.threshold = float(classifier.threshold if threshold is None else threshold)
        self.listed = listed_classes(only, self.classes, classifier.names)
        self.known = len(self.classes) if self.listed is None else int(self.listed.sum())
        self.top = min(top, self.known)
        self.tree: Tree | None = None
        self.least: dict[Level, float] = {}
        self.sure: float | None = None
        if _wants_levels(classifier, threshold, levels, sure):
            assert classifier.levels is not None
            self.sure = classifier.levels.usual if sure is None else sure
            self.least = classifier.levels.thresholds(self.sure)
            self.tree = Tree(classifier.names, self.classes)

    @property
    def levels(self) -> bool:
        """Whether the answers are at the deepest level that is sure."""
        return self.tree is not None

    @property
    def settings(self) -> dict[str, Any]:
        """What answers depend on, beside the model, the threshold and `top`."""
        settings: dict[str, Any] = {"levels": dict(self.least)} if self.levels else {}
        if self.listed is not None:
            settings["only"] = [self.classes[number] for number in np.flatnonzero(self.listed)]
        return settings

    def limited(self, probabilities: np.ndarray | None) -> np.ndarray | None:
        """Probabilities of the classes that there can be, float32 [C]; None for None."""
        return None if probabilities is None else among(probabilities, self.listed)

    def complete(self, plain: Prediction, probabilities: np.ndarray) -> Prediction:
        """A prediction that knows all but its name, with it. probabilities: float32 [C], of all classes."""
        share = share_listed(probabilities, self.listed)
        probabilities = among(probabilities, self.listed)
        best = np.argsort(-probabilities, kind="stable")[: self.top]
        top = tuple((self.classes[i], round(float(probabilities[i]), 6)) for i in best)
        told = replace(plain, confidence=top[0][1], top=top)
        named = self._by_class(told, probabilities) if self.tree is None else self._by_level(told, probabilities)
        if share >= LEAST_LISTED:
            return named
        why = _joined(f"not one of the {self.known} listed classes, which have {share:.1%} together", told.reason)
        nothing = replace(named, level=None, make=None, model=None, year=None, likely=())
        return replace(nothing, status=UNKNOWN, label=None, confidence=told.confidence, reason=why)

    def _by_class(self, told: Prediction, probabilities: np.ndarray) -> Prediction:
        status, best = decide(probabilities, self.threshold)
        if status == UNKNOWN:
            return _unknown(told, _unsure(counted(self.known, "class", "classes"), told.confidence, told.top[0][0]))
        return replace(told, status=status, label=self.classes[best])

    def _by_level(self, told: Prediction, probabilities: np.ndarray) -> Prediction:
        assert self.tree is not None
        best = self.tree.best(probabilities)
        names = {level: self.tree.labels[level][best.node[level]] for level in LEVELS}
        sure = {level: round(best.probability[level], 6) for level in LEVELS}
        years = self.tree.years(probabilities, best.node[CLASS])
        told = replace(told, make_confidence=sure[MAKE], model_confidence=sure[MODEL], year_confidence=round(years, 6))
        level = next((one for one in LEVELS if best.probability[one] >= self.least[one]), None)
        if level is None:
            makes = self.tree.nodes(MAKE) if self.listed is None else self.tree.nodes(MAKE)[self.listed]
            return _unknown(told, _unsure(counted(len(np.unique(makes)), "make"), sure[MAKE], names[MAKE]))
        return replace(
            told,
            status=OK,
            label=names[level],
            confidence=sure[level],
            level=level,
            make=names[MAKE],
            model=None if level == MAKE else names[MODEL],
            year=(self.tree.names[best.node[CLASS]].years or None) if level == CLASS else None,
            likely=self.tree.likely(probabilities, level, best.node[level]),
        )


def _wants_levels(classifier: Classifier, threshold: float | None, levels: bool | None, sure: float | None) -> bool:
    if threshold is not None and (levels or sure is not None):
        raise UsageError("A threshold is of classes, and levels have their own: give threshold or sure, not both.")
    if levels is False:
        if sure is not None:
            raise UsageError("The share of right answers, sure, is of answers at levels: leave it or no-levels out.")
        return False
    if classifier.names and classifier.levels is not None:
        return threshold is None
    if levels or sure is not None:
        what = "are not calibrated" if classifier.names else "are not known: it has no table of names"
        raise UsageError(
            f"The levels of this model {what}; `carclf calibrate` makes them, or leave levels and sure out."
        )
    return False


def _unsure(among: str, confidence: float | None, best: str) -> str:
    return f"not one of the {among}, or too unsure: {confidence or 0:.0%} for {best}"


def _unknown(told: Prediction, why: str) -> Prediction:
    return replace(told, status=UNKNOWN, reason=_joined(why, told.reason))


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
