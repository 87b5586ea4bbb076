"""The rule by which a vehicle counts, with a detector and a check that say what they are told to."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from detection.common.errors import UsageError
from detection.detectors.contract import Detector, SureOnes, as_detector
from detection.detectors.finder import (
    CheckError,
    VehicleFinder,
    check_kinds,
    split_kinds,
    wanted_kinds,
    with_rule,
)
from detection.vehicle import Look, Vehicle

VIEW = np.zeros((100, 200, 3), np.uint8)
# `Told` finds the same in any photo, so it can't be asked about turned ones: see test_turned.py.
upright = partial(VehicleFinder, turned=False)


def vehicle(left: int, width: int, score: float, kind: str = "car", look: Look | None = None) -> Vehicle:
    """A vehicle of 50 rows; the brightness of the view at its left tells `Check` what it looks like."""
    mask = np.zeros((100, 200), bool)
    mask[25:75, left : left + width] = True
    return Vehicle((left, 25, left + width, 75), mask, score, kind, look=look)


class Told(Detector):
    """Finds in every photo what it was given, from its threshold on."""

    fingerprint = "told-0.8"
    own_threshold = 0.8
    score_threshold = 0.8
    kinds = ("car", "bus")

    def __init__(self, *vehicles: Vehicle, name: str = "told"):
        self.vehicles, self.name, self.asked = list(vehicles), name, []

    def with_threshold(self, score_threshold: float) -> Told:
        other = Told(*self.vehicles, name=self.name)
        other.score_threshold, other.fingerprint = score_threshold, f"told-{score_threshold:g}"
        return other

    def detect(self, images):
        found = sorted((one for one in self.vehicles if one.score >= self.score_threshold), key=lambda one: -one.score)
        return [found for _ in images]


class Check:
    """Takes a vehicle for a car by the brightness of the view in its box; counts what it was asked."""

    def __init__(self):
        self.batches: list[int] = []

    def look(self, views):
        self.batches.append(len(views))
        return [Look(float(view.mean()) / 255, "tent") for view in views]


def decide(finder: VehicleFinder, view: np.ndarray = VIEW, **settings):
    (finding,) = finder.decide([lambda: view], finder.find([view]), **settings)
    return finding


def lit(*places: tuple[int, int, float]) -> np.ndarray:
    """A view with columns (left, width) of a brightness 0 to 1."""
    view = VIEW.copy()
    for left, width, brightness in places:
        view[:, left : left + width] = round(255 * brightness)
    return view


def test_the_heaviest_that_looks_like_a_car_is_the_main_one():
    large, small = vehicle(0, 90, 0.9), vehicle(120, 40, 0.9)
    view = lit((0, 100, 0.0), (115, 60, 0.9))
    finding = decide(upright(Told(large, small), Check()), view)
    assert finding.choice.main.box == small.box and finding.choice.runners_up == () and not finding.weak
    assert finding.why_none == "" and len(finding.found) == 2
    assert decide(VehicleFinder(Told(large, small)), view).choice.main is large  # without a check


def test_what_is_unsure_counts_only_where_nothing_else_does_and_must_look_like_a_car():
    sure, unsure = vehicle(0, 20, 0.85), vehicle(60, 130, 0.6)
    finder = upright(Told(sure, unsure), Check())
    assert decide(finder, lit((0, 60, 0.5))).choice.main.box == sure.box
    finding = decide(finder, lit((55, 145, 0.9)))
    assert finding.choice.main.box == unsure.box and finding.weak
    nothing = decide(finder, lit((55, 145, 0.2)))
    assert nothing.choice.main is None and nothing.why_none.endswith("something else (tent), not like a car")
    assert decide(VehicleFinder(Told(unsure), check=False)).why_none == "no vehicle found"


class TellsTheSureOnesFirst(Told):
    """Gives vehicles below the score that is asked for only when they are asked for, too."""

    asked_for_more = 0

    def with_threshold(self, score_threshold: float) -> Told:
        self.score_threshold = score_threshold
        return self

    def detect_sure(self, images, sure):
        ((*found,), *_) = self.detect(images)
        first = [one for one in found if one.score >= sure]

        def rest():
            self.asked_for_more += 1
            return found[len(first) :]

        return [SureOnes(first, rest) if first else found for _ in images]


@pytest.mark.parametrize("seed", range(40))
def test_what_is_not_outlined_at_once_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    places = rng.permutation(5)[: rng.integers(1, 6)]
    vehicles = [
        vehicle(
            40 * place, int(rng.integers(10, 40)), rng.uniform(0.5, 1), str(rng.choice(["car", "bus"], p=[0.8, 0.2]))
        )
        for place in places
    ]
    view = lit(*((40 * place, 40, rng.choice([0.0, 0.3, 0.9])) for place in places))
    only = ((), ("car",))[seed % 2]
    lazy = TellsTheSureOnesFirst(*vehicles)
    whole, needed = (upright(detector, Check()) for detector in (Told(*vehicles), lazy))
    one = decide(whole, view, only=only)
    (other,) = needed.decide([lambda: view], needed.find([view], whole=False), only)
    assert [it.box for it in (other.choice.main, *other.choice.runners_up) if it] == [
        it.box for it in (one.choice.main, *one.choice.runners_up) if it
    ]
    assert (other.choice.weights, other.weak, other.why_none) == (one.choice.weights, one.weak, one.why_none)
    sure = any(it.score >= 0.8 for it in vehicles)
    assert lazy.asked_for_more == (sure and (one.choice.main is None or one.weak))


def test_failing_to_outline_the_rest_costs_its_photo_alone():
    class Failing(TellsTheSureOnesFirst):
        def detect_sure(self, images, sure):
            return [SureOnes(self.detect([image])[0][:1], lambda: 1 / 0) for image in images]

    finder = upright(Failing(vehicle(0, 40, 0.9), vehicle(60, 40, 0.6)), Check())
    dark, bright = lit((0, 50, 0.0)), lit((0, 50, 0.9))
    failed, found = finder.decide([lambda: dark, lambda: bright], finder.find([dark, bright], whole=False))
    assert isinstance(failed, ZeroDivisionError) and found.choice.main.score == 0.9


def test_the_check_is_asked_no_more_than_needed_and_about_photos_together():
    check = Check()
    finder = upright(Told(vehicle(0, 90, 0.9), vehicle(100, 40, 0.9)), check)
    view = lit((0, 200, 0.9))
    found = finder.find([view, view, view])
    assert all(one.choice.main is not None for one in finder.decide([lambda: view] * 3, found))
    assert check.batches == [3]
    every = finder.decide([lambda: view], found[:1], every=True)[0]
    assert check.batches[1:] == [1, 1] and len(every.choice.runners_up) == 1
    (again,) = finder.decide([lambda: pytest.fail("looked at again")], [list(every.found)], every=True)
    assert again.choice.main.box == every.choice.main.box


def test_kinds_that_are_not_wanted_are_passed_over():
    car, bus = vehicle(0, 40, 0.9), vehicle(60, 130, 0.9, "bus")
    finding = decide(VehicleFinder(Told(car, bus)), only=("car",))
    assert finding.choice.main is car and finding.choice.runners_up == ()
    check_kinds(("car",), "told", ("car", "bus"))
    check_kinds(("tank",), "told", ())
    with pytest.raises(UsageError, match="'told' knows no 'tank': its kinds are bus, car"):
        check_kinds(("tank",), "told", ("car", "bus"))


def test_cars_count_by_default_where_the_detector_knows_other_kinds():
    assert wanted_kinds(None, "told", ("car", "truck", "bus")) == ("car",)
    assert (
        wanted_kinds(None, "told", ("car",))
        == wanted_kinds(None, "told", ("van",))
        == wanted_kinds(None, "x", ())
        == ()
    )
    assert wanted_kinds(("all",), "told", ("car", "bus")) == () and wanted_kinds(("bus",), "x", ()) == ("bus",)
    assert split_kinds(" truck,car,car") == ("car", "truck") and split_kinds(None) is None
    with pytest.raises(UsageError, match="'told' knows no 'tank'"):
        wanted_kinds(("tank",), "told", ("car",))
    finding = decide(VehicleFinder(Told(vehicle(0, 40, 0.9, "bus"))), only=("car",))
    assert finding.choice.main is None and finding.why_none == "what was found is of another kind: bus"


def test_the_check_of_cars_is_not_asked_about_trucks_and_buses():
    bus, truck = vehicle(0, 90, 0.9, "bus"), vehicle(100, 40, 0.6, "truck")
    check = Check()
    finding = decide(upright(Told(bus, truck), check), VIEW, every=True)
    assert finding.choice.main is bus and finding.choice.runners_up == () and check.batches == []
    assert decide(upright(Told(truck), check), lit((0, 200, 1.0))).choice.main is None, "it may be anything"


def test_a_threshold_that_was_chosen_is_kept_to():
    unsure = vehicle(0, 90, 0.6)
    assert decide(upright(Told(unsure), Check(), score_threshold=0.5), lit((0, 100, 0.9))).choice.main is not None
    chosen = upright(Told(unsure).with_threshold(0.7), Check())
    assert chosen.sure == 0.7 and decide(chosen, lit((0, 100, 0.9))).choice.main is None


def test_fingerprints_tell_the_rule():
    finder = VehicleFinder(Told(), Check())
    assert (finder.fingerprint, finder.plain_fingerprint) == ("told-0.8+check1+turned1", "told-0.8")
    assert [one.fingerprint for one in finder.earlier()] == ["told-0.8+check1", "told-0.8"]
    assert [one.fingerprint for one in upright(Told(), Check()).earlier()] == ["told-0.8"]
    assert with_rule("told-0.8+check1+turned1", False, False) == "told-0.8"
    assert with_rule("told-0.8", True) == "told-0.8+check1"
    assert finder.older_fingerprints == ("told-0.3",)
    plain = finder.plain()
    assert (plain.fingerprint, plain.check, plain.detector.score_threshold) == ("told-0.8", None, 0.8)
    assert VehicleFinder(Told()).fingerprint == "told-0.8" and VehicleFinder(Told()).earlier() == []


def test_failures_cost_their_photo_alone():
    class Failing(Check):
        def look(self, views):
            if any(view.max() == 0 for view in views):
                raise RuntimeError("no memory")
            return super().look(views)

    finder = upright(Told(vehicle(0, 90, 0.9)), Failing())
    views = [VIEW, lit((0, 200, 0.9))]
    failed, found = finder.decide([lambda: VIEW, lambda: views[1]], finder.find(views))
    assert isinstance(failed, CheckError) and "no memory" in str(failed)
    assert found.choice.main is not None

    def gone() -> np.ndarray:
        raise OSError("the photo is gone")

    failed, found = finder.decide([gone, lambda: views[1]], finder.find(views))
    assert isinstance(failed, CheckError) and "the photo is gone" in str(failed)
    assert found.choice.main is not None
    (wrong,) = finder.find([np.zeros((50, 50, 3), np.uint8)])
    assert isinstance(wrong, ValueError) and "the photo is (50, 50)" in str(wrong)
    (passed_on,) = finder.decide([lambda: VIEW], [wrong])
    assert passed_on is wrong


def test_an_object_that_only_detects_is_a_detector():
    class Bare:
        def detect(self, images):
            return [[] for _ in images]

    detector = as_detector(Bare())
    assert (detector.name, detector.kinds, detector.input_shape(5, 5), detector.car_check()) == (
        "Bare",
        (),
        (0, 0),
        None,
    )
    assert as_detector(detector) is detector and detector.with_threshold(0.1) is detector
