"""The one way in which a vehicle is found: what the detector sees, whether it looks like a car, and what then counts.

Folder runs, training, prediction, evaluation and the service all ask a `VehicleFinder`, so that what a classifier is
trained on and what it is shown later can't drift apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from detection.common.errors import UsageError
from detection.common.stream import try_batch
from detection.detectors.car_check import BEYOND_CARS, WEAK_SCORE, car_view, is_car, needs_look
from detection.detectors.contract import COMPACT, CarChecker, Detector
from detection.vehicle import Look, MainChoice, Vehicle, rank_vehicles

# Part of the fingerprint: results of another rule are not mixed with those of this one.
RULE = "check1"
CAR, ALL = "car", "all"  # what counts by default, and the word for every kind
View = Callable[[], np.ndarray]  # RGB uint8 HxWx3, the photo as `detector_view` gives it


@dataclass(frozen=True, eq=False)
class Finding:
    """What counts in one photo. choice: the main vehicle and the others, none rejected by the check.

    found: all that the detector saw, those that the check was asked about with their `look`. weak: the detector was
    unsure of the main one. other: where nothing counts, what was found looks like this instead; empty when nothing was
    found at all. passed: where nothing counts, the kind of the best vehicle that is of no wanted kind.
    """

    choice: MainChoice
    found: tuple[Vehicle, ...] = ()
    weak: bool = False
    other: str = ""
    passed: str = ""

    @property
    def why_none(self) -> str:
        """Why there is no main vehicle, for a row; empty when there is one."""
        if self.choice.main is not None:
            return ""
        if self.other:
            return f"what was found looks like something else ({self.other}), not like a car"
        if self.passed:
            return f"what was found is of another kind: {self.passed}"
        return "no vehicle found"


class VehicleFinder:
    """A detector with its car check, and the rule that both serve.

    A vehicle counts when its score reaches the detector's own threshold and the check takes it for a car. The heaviest
    one that does is the main one. Only where none does, the best of those that the detector is unsure of counts, if the
    check is sure of it; where every vehicle is wanted, all of those do. Without a check, what reaches the threshold
    counts; so do trucks and buses, which the check knows nothing of.

    check: None takes the one that the detector asks for (`Detector.car_check`), False none, True that of ImageNet's
    classes. score_threshold: the least score of a vehicle in place of the detector's own; nothing below it is looked at
    then. A detector that was loaded with a threshold other than its own keeps to that.
    """

    def __init__(
        self, detector: Detector, check: CarChecker | bool | None = None, score_threshold: float | None = None
    ):
        self.check = _chosen_check(detector, check)
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
        return with_rule(self.plain_fingerprint, self.check is not None)

    @property
    def plain_fingerprint(self) -> str:
        """That of the detector at the threshold from which on it is sure, without a check."""
        ending = f"-{self.detector.score_threshold:g}"
        shown = self.detector.fingerprint
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

    def find(self, views: Sequence[np.ndarray]) -> list[list[Vehicle] | Exception]:
        """All that the detector sees in each photo, or the exception that it raised for it.

        views: what `detector_view` gives of the photos, RGB uint8 HxWx3.
        """
        results = try_batch(self.detector.detect, list(views))
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
        return apply_rule(views, found, self.sure, look, only, every)


def apply_rule(
    views: Sequence[View],
    found: Sequence[list[Vehicle] | Exception],
    sure: float,
    look: Callable[[Sequence[np.ndarray]], list[Look]] | None,
    only: Sequence[str] = (),
    every: bool = False,
) -> list[Finding | Exception]:
    """The rule of `VehicleFinder`, and its other arguments. sure: the least score of a vehicle that needs no second
    chance. look: the check; vehicles that have a `look` already are not looked at again."""
    results: list[_Case | Exception] = []
    for view, vehicles in zip(views, found, strict=True):
        try:
            if isinstance(vehicles, Exception):
                raise vehicles
            results.append(_Case(view, vehicles, sure, look is not None, only, every))
        except Exception as error:  # one odd photo costs one row, never the run
            results.append(error)
    cases = [case for case in results if isinstance(case, _Case)]
    while look is not None and (asked := [(case, index) for case in cases if (index := case.next()) is not None]):
        # The boxes of several photos go through the check together.
        shown = [(case, index, crop) for case, index in asked if (crop := case.crop(index)) is not None]
        answers = try_batch(look, [crop for _, _, crop in shown])
        for (case, index, _), answer in zip(shown, answers, strict=True):
            case.hear(index, answer)
    return [case.finding() if isinstance(case, _Case) else case for case in results]


class _Case:
    """One photo while its vehicles are looked at, in the order in which they would be the main one."""

    def __init__(
        self, view: View, vehicles: Sequence[Vehicle], sure: float, checked: bool, only: Sequence[str], every: bool
    ):
        self._view, self._checked, self._every = view, checked, every
        self._vehicles = list(vehicles)
        self._size: tuple[int, int] = vehicles[0].mask.shape[:2] if len(vehicles) else (1, 1)
        self._failed: Exception | None = None
        wanted = [index for index, one in enumerate(vehicles) if not only or one.kind in only]
        places = {id(vehicles[index]): index for index in wanted if vehicles[index].score >= sure}
        ranked = rank_vehicles([vehicles[index] for index in places.values()], self._size)
        self._sure = [places[id(one)] for one in (ranked.main, *ranked.runners_up) if one is not None]
        # Of unsure ones the best, not the largest; they come in the order of their scores.
        self._passed = next((one.kind for one in vehicles if only and one.kind not in only and one.score >= sure), "")
        unsure = [index for index in wanted if vehicles[index].score < sure] if checked else []
        unsure = [index for index in unsure if vehicles[index].kind not in BEYOND_CARS]
        self._unsure = unsure if every else unsure[:1]

    def next(self) -> int | None:
        """The vehicle that the check is to look at next; None when all is known."""
        if self._failed is not None:
            return None
        for index in self._sure:
            one = self._vehicles[index]
            if one.look is None and one.kind not in BEYOND_CARS and needs_look(one.score):
                return index
            if self._counts(index) and not self._every:
                return None
        if not self._every and any(self._counts(index) for index in self._sure):
            return None
        return next((index for index in self._unsure if self._vehicles[index].look is None), None)

    def crop(self, index: int) -> np.ndarray | None:
        """What the check is shown of a vehicle; None where that fails, which is then this photo's finding."""
        try:
            view, vehicle = self._view(), self._vehicles[index]
            across, down = view.shape[1] / vehicle.mask.shape[1], view.shape[0] / vehicle.mask.shape[0]
            x1, y1, x2, y2 = vehicle.box
            return car_view(view, (x1 * across, y1 * down, x2 * across, y2 * down))
        except Exception as error:
            self.hear(index, error)
            return None

    def hear(self, index: int, answer: Look | Exception) -> None:
        if isinstance(answer, Exception):
            self._failed = CheckError(f"the check of the car failed: {type(answer).__name__}: {answer}")
        else:
            self._vehicles[index] = replace(self._vehicles[index], look=answer)

    def finding(self) -> Finding | Exception:
        if self._failed is not None:
            return self._failed
        kept = self._sure
        if self._checked:
            kept = [index for index in self._sure if self._vehicles[index].look is None or self._counts(index)]
        unsure = []
        if self._every or not kept:
            unsure = [index for index in self._unsure if self._counts(index, weak=True)]
        looks = (self._vehicles[index].look for index in (*self._sure, *self._unsure))
        other = next((look.other for look in looks if look is not None), "")
        # The sure ones first, however large the others are: the first is the main one with or without the others.
        choice = rank_vehicles([self._vehicles[index] for index in kept or unsure], self._size)
        if kept and unsure:
            others = rank_vehicles([self._vehicles[index] for index in unsure], self._size)
            more = tuple(one for one in (others.main, *others.runners_up) if one is not None)
            choice = replace(choice, runners_up=(*choice.runners_up, *more), weights=(*choice.weights, *others.weights))
        if choice.main is not None:
            return Finding(choice, tuple(self._vehicles), bool(unsure) and not kept)
        return Finding(choice, tuple(self._vehicles), other=other, passed=self._passed)

    def _counts(self, index: int, weak: bool = False) -> bool:
        vehicle = self._vehicles[index]
        if vehicle.kind in BEYOND_CARS:
            return not weak
        return is_car(vehicle.look, vehicle.score, weak)


class CheckError(RuntimeError):
    """The check could not look at a vehicle."""


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
    from detection.detectors.car_check import CarCheck

    return detector.car_check() or CarCheck(detector.device)


class LateCheck(CarChecker):
    """ImageNet's check, loaded when it is first asked: of vehicles that were found before, most were looked at, too."""

    @cached_property
    def _check(self) -> CarChecker:
        from detection.detectors.car_check import CarCheck

        return CarCheck()

    def look(self, views: Sequence[np.ndarray]) -> list[Look]:
        return self._check.look(views)


def check_of(detector: str, check: CarChecker | bool | None = None) -> CarChecker | None:
    """The check of vehicles that a detector of this name has found before; None for none.

    check: as for `VehicleFinder`.
    """
    if check is None:
        check = detector == COMPACT
    return (LateCheck() if check else None) if isinstance(check, bool) else check


def with_rule(fingerprint: str, checked: bool) -> str:
    """A detector's fingerprint as that of what counts, with or without a check."""
    plain = fingerprint.removesuffix(f"+{RULE}")
    return f"{plain}+{RULE}" if checked else plain


def split_kinds(kinds: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """`car,truck` as typed on a command line, too; sorted, each once. Raises `UsageError` for an empty name."""
    if kinds is None:
        return None
    names = [kind.strip() for kind in (kinds.split(",") if isinstance(kinds, str) else kinds)]
    if not all(names):
        raise UsageError("A kind of vehicle is empty: write car,truck.")
    return tuple(sorted(set(names)))


def wanted_kinds(kinds: Sequence[str] | None, name: str, known: Sequence[str]) -> tuple[str, ...]:
    """The kinds of vehicle that count, () for all that the detector `name` knows; None stands for cars.

    A detector that knows no cars, or can't say what it knows, is taken with all its kinds. known: () if it can't say.
    Raises `UsageError` for a kind that it does not know.
    """
    if kinds is None:
        return (CAR,) if CAR in known and set(known) != {CAR} else ()
    if tuple(kinds) == (ALL,):
        return ()
    check_kinds(kinds, name, known)
    return tuple(kinds)


def check_kinds(only: Sequence[str], name: str, known: Sequence[str]) -> None:
    """Raises `UsageError` for a kind of vehicle that the detector `name` does not know. known: () if it can't say."""
    unknown = [kind for kind in only if known and kind not in known]
    if unknown:
        raise UsageError(
            f"The detector '{name}' knows no '{unknown[0]}': its kinds are {', '.join(sorted(set(known)))}."
        )
