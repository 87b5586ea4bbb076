"""A detector whose scores are corrected by what the car check makes of the vehicles that it is not certain of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from detection.detectors.check.car_check import car_view
from detection.detectors.check.evidence import Evidence
from detection.detectors.contract import CarChecker, Detector, SureOnes
from detection.vehicle import SHARED, TIE_RATIO, Look, Vehicle, box_weight, shared, vehicle_weight

# No score is raised beyond it: what the detector itself is sure of comes first, and a higher score would say that the
# vehicle stands upright (`detection.detectors.finder.turned`), which the check does not know.
RAISED = 0.9
# What looks this much like a car to the check keeps its score: the regression has seen fewer cars than ImageNet, and
# took a Hummer's front for a fire engine's.
PLAIN_CAR = 0.5

Seen = tuple[Vehicle, Look | None]  # None: the check was not asked


def rescored(detector: Any, evidence: Evidence | None) -> Detector:
    """The detector with scores that its check corrects by the evidence; as it is, where there is none.

    detector: a `Detector` whose `car_check` takes the evidence.
    """
    return detector if evidence is None else RescoredDetector(detector, partial(detector.car_check, evidence), evidence)


class RescoredDetector(Detector):
    """Finds what another detector finds, with scores by both it and the check.

    A detector of 4.9 million parameters that has seen a few hundred photos without cars takes a bullet train for one,
    and is unsure of cars in fog. The check has seen a million photos of other things. So it looks at all that the
    detector is neither certain of nor takes for nothing, and the score becomes that of both together. Vehicles that
    were looked at have their `look`.
    """

    def __init__(
        self, detector: Detector, check: Callable[[], CarChecker], evidence: Evidence, threshold: float | None = None
    ):
        """detector: with scores of its own. check: loads the check, which must tell `Look.evidence`. threshold: None
        takes the detector's."""
        self._load, self._evidence = check, evidence
        self._check: CarChecker | None = None
        self._loading = Lock()
        self._threshold = detector.score_threshold if threshold is None else threshold
        least = min(evidence.least, self._threshold)
        self._found = detector if detector.score_threshold == least else detector.with_threshold(least)
        self.name, self.device, self.precision = detector.name, detector.device, detector.precision
        self.side_by_side = detector.side_by_side
        plain = detector.fingerprint.removesuffix(f"-{detector.score_threshold:g}")
        self.fingerprint = f"{plain}+{evidence.name}-{self._threshold:g}"

    def __getattr__(self, name: str) -> Any:
        if name == "_found":  # while a copy is made
            raise AttributeError(name)
        return getattr(self._found, name)

    @property
    def without_check(self) -> Detector:
        """The detector with scores of its own, at the same threshold."""
        return self._found.with_threshold(self._threshold)

    @property
    def score_threshold(self) -> float:
        return self._threshold

    @property
    def own_threshold(self) -> float:
        return self._found.own_threshold

    @property
    def kinds(self) -> tuple[str, ...]:
        return self._found.kinds

    def input_shape(self, height: int, width: int) -> tuple[int, int]:
        return self._found.input_shape(height, width)

    def with_threshold(self, score_threshold: float) -> RescoredDetector:
        return RescoredDetector(self.without_check, self.car_check, self._evidence, score_threshold)

    def car_check(self) -> CarChecker:
        """The one that it asks itself, loaded when it is first needed."""
        with self._loading:  # several threads may ask for the first time
            if self._check is None:
                self._check = self._load()
            return self._check

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Vehicle]]:
        return [self._counting(seen) for seen in self._looked_at(images, self._found.detect(images))]

    def detect_sure(self, images: Sequence[np.ndarray], sure: float) -> list[list[Vehicle]]:
        """As `detect`; those that the detector itself is unsure of are missing at first where the least of the others
        is still clearly the heavier vehicle, however sure the check was."""
        found = self._found.detect_sure(images, max(sure, self.own_threshold))
        return [
            self._sure_ones(image, vehicles, seen, sure) if isinstance(vehicles, SureOnes) else self._counting(seen)
            for image, vehicles, seen in zip(images, found, self._looked_at(images, found), strict=True)
        ]

    def _sure_ones(self, image: np.ndarray, first: SureOnes, seen: Sequence[Seen], sure: float) -> list[Vehicle]:
        """first: those that the detector is sure of; seen: the same, with what the check makes of them."""
        kept = self._counting(seen)

        def all_of_them() -> list[Vehicle]:
            return self._counting([*seen, *self._looked_at([image], [first.rest()])[0]])

        size = image.shape[:2]
        counted = [vehicle_weight(one, size) for one in kept if one.score >= sure]
        most = max((RAISED * box_weight(box, size) for box in first.places), default=0.0)
        if not counted or most >= TIE_RATIO * min(counted):
            return all_of_them()
        return SureOnes(kept, lambda: [one for one in all_of_them() if all(one.box != its.box for its in kept)])

    def _looked_at(self, images: Sequence[np.ndarray], found: Sequence[list[Vehicle]]) -> list[list[Seen]]:
        asked = [
            (photo, place)
            for photo, vehicles in enumerate(found)
            for place, vehicle in enumerate(vehicles)
            if self._evidence.least <= vehicle.score < self._evidence.certain
        ]
        views = [car_view(images[photo], found[photo][place].box) for photo, place in asked]
        looks = dict(zip(asked, self.car_check().look(views) if views else (), strict=True))
        return [
            [(vehicle, looks.get((photo, place))) for place, vehicle in enumerate(vehicles)]
            for photo, vehicles in enumerate(found)
        ]

    def _counting(self, found: Sequence[Seen]) -> list[Vehicle]:
        """Those that reach the threshold by their new scores, best first. found: best first by the detector's own."""
        kept: list[Vehicle] = []
        for vehicle, look in found:
            one = vehicle
            if look is not None and look.evidence is not None:
                score = min(self._evidence.rescored(vehicle.score, look.evidence), max(vehicle.score, RAISED))
                score = max(score, vehicle.score) if look.car >= PLAIN_CAR else score
                one = replace(vehicle, score=score, look=look)
            # The check sees a car, too, in a box round two cars, or round a part of one that is found already.
            raised = vehicle.score < self.own_threshold <= one.score
            if one.score >= self._threshold and not (raised and any(shared(one, other) > SHARED for other in kept)):
                kept.append(one)
        return sorted(kept, key=lambda one: -one.score)
