"""The rule by which something that was found counts as a vehicle, and which vehicle is the main one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from detection.common.stream import try_batch
from detection.detectors.check.car_check import BEYOND_CARS, car_view, is_car, needs_look
from detection.vehicle import Look, MainChoice, Vehicle, rank_vehicles, turned_array

View = Callable[[], np.ndarray]  # RGB uint8 HxWx3, the photo as `detector_view` gives it
Looker = Callable[[Sequence[np.ndarray]], list[Look]]  # `CarChecker.look`


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


def apply_rule(
    views: Sequence[View],
    found: Sequence[list[Vehicle] | Exception],
    sure: float,
    look: Looker | None,
    only: Sequence[str] = (),
    every: bool = False,
) -> list[Finding | Exception]:
    """The rule of `VehicleFinder`, and its other arguments. sure: the least score of a vehicle that needs no second
    chance. look: the check; vehicles that have a `look` already are not looked at again. Those of a turned photo
    (`Vehicle.turned`) are all looked at, upright, and none of them gets a second chance."""
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
        unsure = [index for index in wanted if vehicles[index].score < sure and not vehicles[index].turned]
        unsure = [index for index in unsure if checked and vehicles[index].kind not in BEYOND_CARS]
        unsure = [index for index in unsure if not _scored(vehicles[index])]
        self._unsure = unsure if every else unsure[:1]

    def next(self) -> int | None:
        """The vehicle that the check is to look at next; None when all is known."""
        if self._failed is not None:
            return None
        for index in self._sure:
            vehicle = self._vehicles[index]
            asked = vehicle.look is None and vehicle.kind not in BEYOND_CARS
            if asked and needs_look(vehicle.score, vehicle.turned != 0):
                return index
            if self._counts(index) and not self._every:
                return None
        if not self._every and any(self._counts(index) for index in self._sure):
            return None
        return next((index for index in self._unsure if self._vehicles[index].look is None), None)

    def crop(self, index: int) -> np.ndarray | None:
        """What the check is shown of a vehicle; None where that fails, which is then this photo's finding."""
        try:
            return crop_of(self._view(), self._vehicles[index])
        except Exception as error:
            self.hear(index, error)
            return None

    def hear(self, index: int, answer: Look | Exception) -> None:
        if isinstance(answer, Exception):
            self._failed = CheckError.of(answer)
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
        if vehicle.kind in BEYOND_CARS or (_scored(vehicle) and not vehicle.turned):
            return not weak
        return is_car(vehicle.look, vehicle.score, weak, vehicle.turned != 0)


def _scored(vehicle: Vehicle) -> bool:
    """Whether its score says already what the check makes of it (`RescoredDetector`)."""
    return vehicle.look is not None and vehicle.look.evidence is not None


def crop_of(view: np.ndarray, vehicle: Vehicle, turn: int = 0) -> np.ndarray:
    """What the check is shown of a vehicle, upright, and turned clockwise by `turn` degrees from there.

    view: RGB uint8 HxWx3, the photo as it is, of any size.
    """
    across, down = view.shape[1] / vehicle.mask.shape[1], view.shape[0] / vehicle.mask.shape[0]
    x1, y1, x2, y2 = vehicle.box
    crop = car_view(view, (x1 * across, y1 * down, x2 * across, y2 * down))
    return turned_array(crop, (vehicle.turned + turn) % 360)


class CheckError(RuntimeError):
    """The check could not look at a vehicle."""

    @classmethod
    def of(cls, error: Exception) -> CheckError:
        return cls(f"the check of the car failed: {type(error).__name__}: {error}")
