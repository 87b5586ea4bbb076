"""The one way in which a vehicle is found: what the detector sees, whether it looks like a car, and what then counts.

Folder runs, training, prediction, evaluation and the service all ask a `VehicleFinder`, so that what a classifier is
trained on and what it is shown later can't drift apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property, partial
from threading import Lock

import numpy as np

from detection.common.stream import try_batch
from detection.detectors.check.car_check import WEAK_SCORE
from detection.detectors.contract import COMPACT, CarChecker, Detector, SureOnes
from detection.detectors.finder.closer import look_closer
from detection.detectors.finder.rule import Finding, Looker, View, apply_rule
from detection.detectors.finder.turned import look_turned
from detection.vehicle import Look, Vehicle

# Parts of the fingerprint: results of another rule are not mixed with those of this one.
RULE, TURNED, CLOSER = "+check1", "+turned1", "+closer1"

Detect = Callable[[list[np.ndarray]], list[list[Vehicle]]]


class VehicleFinder:
    """A detector with its car check, and the rule that both serve.

    A vehicle counts when its score reaches the detector's own threshold and the check takes it for a car. The heaviest
    one that does is the main one. Only where none does, the best of those that the detector is unsure of counts, if the
    check is sure of it; where every vehicle is wanted, all of those do. Without a check, what reaches the threshold
    counts; so do trucks and buses, which the check knows nothing of. With one, photos in which nothing sure stands
    upright are looked at turned, too.

    check: None takes the one that the detector asks for (`Detector.car_check`), False none, True that of ImageNet's
    classes. score_threshold: the least score of a vehicle in place of the detector's own; nothing below it is looked at
    then. A detector that was loaded with a threshold other than its own keeps to that. turned: false leaves out the
    look at turned photos. closer: parts of the photo are looked at, too, for small vehicles, which takes five times as
    long. side_by_side: see `Detector`.
    """

    def __init__(
        self,
        detector: Detector,
        check: CarChecker | bool | None = None,
        score_threshold: float | None = None,
        turned: bool = True,
        closer: bool = False,
    ):
        self.closer = closer
        if check is not None and check is not True:
            detector = detector.without_check
        # A check of one's own is asked by one thread.
        self.side_by_side = detector.side_by_side if check is None or isinstance(check, bool) else 1
        self.check = _chosen_check(detector, check)
        self.turned = turned and self.check is not None
        if score_threshold is None and detector.score_threshold != detector.own_threshold:
            score_threshold = detector.score_threshold
        self.sure = detector.own_threshold if score_threshold is None else score_threshold
        least = min(WEAK_SCORE, self.sure) if self.check is not None and score_threshold is None else self.sure
        self.detector = detector if detector.score_threshold == least else detector.with_threshold(least)

    @property
    def name(self) -> str:
        return self.detector.name

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of the vehicles that it knows; () where the detector does not say."""
        return self.detector.kinds

    @property
    def fingerprint(self) -> str:
        """Changes with the detector, its threshold and the rule."""
        return with_rule(self._shown(self.detector), self.check is not None, self.turned, self.closer)

    @property
    def plain_fingerprint(self) -> str:
        """That of the detector at the threshold from which on it is sure, without a check."""
        return self._shown(self.detector.without_check)

    def _shown(self, detector: Detector) -> str:
        ending = f"-{detector.score_threshold:g}"
        shown = detector.fingerprint
        return f"{shown.removesuffix(ending)}-{self.sure:g}" if shown.endswith(ending) else shown

    @property
    def older_fingerprints(self) -> tuple[str, ...]:
        """What version 0.4.0 noted in place of `fingerprint` in the journals of predictions."""
        if self.check is None:
            return ()
        return (f"{self.plain_fingerprint.removesuffix(f'-{self.sure:g}')}-0.3",)

    def plain(self) -> VehicleFinder:
        """The same detector without the check, as folders were cleaned before version 0.5.0."""
        return VehicleFinder(self.detector, check=False, score_threshold=self.sure)

    def earlier(self) -> list[VehicleFinder]:
        """The same detector by simpler rules, that of 0.4.0 last: without the closer look; without the look at turned
        photos; `plain`."""
        simpler = []
        if self.closer:
            simpler.append(copy(self))
            simpler[-1].closer = False
        if self.turned:
            simpler.append(copy(simpler[-1] if simpler else self))
            simpler[-1].turned = False
        return [*simpler, self.plain()] if self.check is not None else simpler

    def find(self, views: Sequence[np.ndarray], whole: bool = True) -> list[list[Vehicle] | Exception]:
        """All that the detector sees in each photo, or the exception that it raised for it.

        views: what `detector_view` gives of the photos, RGB uint8 HxWx3. whole: false for who needs no more than the
        main vehicle: what the detector is unsure of may then be missing, and `decide` finds it where it can matter.
        """
        if self.closer:
            return look_closer(views, self._see(views), self._see)
        return self._see(views) if whole else self._seen(views, partial(self.detector.detect_sure, sure=self.sure))

    def _see(self, views: Sequence[np.ndarray]) -> list[list[Vehicle] | Exception]:
        """What the detector sees in each picture."""
        return self._seen(views, self.detector.detect)

    @staticmethod
    def _seen(views: Sequence[np.ndarray], detect: Detect) -> list[list[Vehicle] | Exception]:
        results = try_batch(detect, list(views))
        return [_checked(found, view.shape[:2]) for found, view in zip(results, views, strict=True)]

    def decide(
        self,
        views: Sequence[View],
        found: Sequence[list[Vehicle] | Exception],
        only: Sequence[str] = (),
        every: bool = False,
    ) -> list[Finding | Exception]:
        """What counts in each photo; an exception stays one.

        views: give what was handed to `find`, if the check asks for it. only: kinds of vehicle, others are passed
        over. every: all vehicles are wanted, not only the main one, so all are checked.
        """
        look = None if self.check is None else self.check.look
        findings = apply_rule(views, found, self.sure, look, only, every)
        self._look_at_unsure(findings, views, found, look, only, every)
        if look is None or not self.turned:
            return findings
        # By the detector's own scores, as the check is asked about each of these anyway.
        see = partial(self._seen, detect=self.detector.without_check.detect)
        return look_turned(views, findings, see, look, self.sure, only, every)

    def _look_at_unsure(
        self,
        findings: list[Finding | Exception],
        views: Sequence[View],
        found: Sequence[list[Vehicle] | Exception],
        look: Looker | None,
        only: Sequence[str],
        every: bool,
    ) -> None:
        """Decides again where none of `SureOnes` counts."""
        places, asked, told = [], [], []
        for place, (finding, seen) in enumerate(zip(findings, found, strict=True)):
            if isinstance(seen, SureOnes) and isinstance(finding, Finding) and finding.choice.main is None:
                places.append(place)
                asked.append(seen)
                told.append(finding.found)  # with what the check said
        rest = try_batch(lambda several: [one.rest() for one in several], asked)
        whole = [more if isinstance(more, Exception) else [*sure, *more] for sure, more in zip(told, rest, strict=True)]
        again = apply_rule([views[place] for place in places], whole, self.sure, look, only, every)
        for place, finding in zip(places, again, strict=True):
            findings[place] = finding


def _checked(found: list[Vehicle] | Exception, size: tuple[int, ...]) -> list[Vehicle] | Exception:
    """What a detector gave for a photo of (height, width) `size`; an exception when a mask is of another size."""
    if not isinstance(found, Exception):
        wrong = next((vehicle for vehicle in found if vehicle.mask.shape != size), None)
        if wrong is not None:
            return ValueError(f"The mask is {wrong.mask.shape}, but the photo is {size} (height, width).")
    return found


def _chosen_check(detector: Detector, check: CarChecker | bool | None) -> CarChecker | None:
    if check is None:
        return detector.car_check()
    if check is False:
        return None
    if check is not True:
        return check
    from detection.detectors.load import load_car_check

    return detector.car_check() or load_car_check(detector.device)


class LateCheck(CarChecker):
    """ImageNet's check, loaded when it is first asked: of vehicles that were found before, most were looked at, too."""

    def __init__(self):
        self._loading = Lock()

    @cached_property
    def _check(self) -> CarChecker:
        from detection.detectors.load import load_car_check

        return load_car_check()

    def look(self, views: Sequence[np.ndarray]) -> list[Look]:
        with self._loading:  # several threads may ask for the first time
            check = self._check
        return check.look(views)


def check_of(detector: str, check: CarChecker | bool | None = None) -> CarChecker | None:
    """The check of vehicles that a detector of this name has found before; None for none.

    check: as for `VehicleFinder`.
    """
    if check is None:
        check = detector == COMPACT
    return (LateCheck() if check else None) if isinstance(check, bool) else check


def with_rule(fingerprint: str, checked: bool, turned: bool | None = None, closer: bool | None = None) -> str:
    """A detector's fingerprint as that of what counts, with or without a check. turned, closer: with or without the
    look at turned photos, and at parts of them; None leaves that as it is."""
    closer = fingerprint.endswith(CLOSER) if closer is None else closer
    rest = fingerprint.removesuffix(CLOSER)
    turned = rest.endswith(TURNED) if turned is None else turned
    plain = rest.removesuffix(TURNED).removesuffix(RULE)
    return plain + RULE * checked + TURNED * turned + CLOSER * closer
