"""The second look at photos on their side, with a drawn car that a detector and a check know by where its roof is."""

from __future__ import annotations

import numpy as np
import pytest

from detection.cutout.cut import CutoutStyle
from detection.cutout.extract import extract
from detection.detectors.contract import Detector
from detection.detectors.finder import CheckError, VehicleFinder
from detection.vehicle import Look, Vehicle, turned_array, turned_back

RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 255, 0)


def draw(*, sure_on_its_side: bool = False) -> np.ndarray:
    """A car left of the middle: a red body below a blue roof. With a green line the detector is sure of it anyway."""
    view = np.full((120, 200, 3), 128, np.uint8)
    view[40:50, 40:120] = BLUE
    view[50:80, 40:120] = RED
    if sure_on_its_side:
        view[0, 0] = GREEN
    return view


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def stands(view: np.ndarray) -> str:
    """Where the roof is: top, bottom, side; empty where there is no car."""
    body, roof = (view == RED).all(axis=2), (view == BLUE).all(axis=2)
    if not body.any() or not roof.any():
        return ""
    (_, top, _, bottom), (_, y1, _, y2) = box_of(body), box_of(roof)
    if y2 <= top or y1 >= bottom:
        return "top" if y2 <= top else "bottom"
    return "side"


class Roofs(Detector):
    """Finds the drawn car. Is very sure of an upright one, less of one upside down, and sees none on its side."""

    name, fingerprint = "roofs", "roofs-0.8"
    own_threshold = score_threshold = 0.8

    def __init__(self):
        self.seen: list[tuple[int, ...]] = []

    def detect(self, images):
        self.seen += [image.shape[:2] for image in images]
        return [self.one(image) for image in images]

    def one(self, image: np.ndarray) -> list[Vehicle]:
        score = {"top": 0.99, "bottom": 0.9, "side": 0.0, "": 0.0}[stands(image)]
        if (image == GREEN).all(axis=2).any():
            score = max(score, 0.985)
        mask = (image == RED).all(axis=2) | (image == BLUE).all(axis=2)
        return [Vehicle(box_of(mask), mask, score)] if score else []


class RoofCheck:
    def __init__(self):
        self.asked = 0

    def look(self, views):
        self.asked += len(views)
        chance = {"top": 0.9, "bottom": 0.6, "side": 0.1, "": 0.0}
        return [Look(chance[stands(view)], "tent") for view in views]


def decide(view: np.ndarray, detector: Detector | None = None, check: RoofCheck | None = None, **settings):
    finder = VehicleFinder(detector or Roofs(), check or RoofCheck(), **settings)
    (finding,) = finder.decide([lambda: view], finder.find([view]))
    return finding


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_photo_gives_its_car_upright(degrees):
    photo = turned_array(draw(), 360 - degrees)
    finding = decide(photo)
    main = finding.choice.main
    assert main.turned == degrees and str(degrees) in main.turn_note and not finding.weak
    expected = (turned_array(draw(), 360 - degrees) != 128).any(axis=2)
    assert np.array_equal(main.mask, expected) and main.box == box_of(expected)  # in the photo as it is
    crop, cut = extract(photo, main, CutoutStyle(background="keep", padding=0, feather=0))
    assert crop.shape[0] < crop.shape[1] and stands(crop) == "top" and cut.turned == degrees
    assert decide(photo, turned=False).choice.main is None or degrees == 180


def test_where_the_car_is_sure_nothing_is_looked_at_again():
    detector, check = Roofs(), RoofCheck()
    finding = decide(draw(), detector, check)
    assert (finding.choice.main.turned, finding.choice.main.turn_note) == (0, "")
    assert detector.seen == [(120, 200)] and check.asked == 0


def test_a_sure_car_that_is_taller_than_wide_is_only_taken_where_it_does_not_lie_on_its_side():
    """A detector may be sure of a car on its side, too: it then gets no name from there."""
    photo = turned_array(draw(sure_on_its_side=True), 90)
    assert decide(photo, turned=False).choice.main.turned == 0
    assert decide(photo).choice.main.turned == 270


def test_photos_without_a_car_stay_without():
    detector = Roofs()
    empty = np.full((120, 200, 3), 128, np.uint8)
    finding = decide(empty, detector)
    assert finding.choice.main is None and finding.why_none == "no vehicle found"
    assert sorted(detector.seen) == [(120, 200), (120, 200), (200, 120), (200, 120)]

    class Doubter(RoofCheck):  # what the detector is sure of does not look like a car
        def look(self, views):
            return [Look(0.2, "tent") for _ in views]

    assert decide(turned_array(draw(), 90), check=Doubter()).choice.main is None


def test_what_was_found_turned_counts_again_without_a_detector():
    """As a file of detections has it: with the look of each vehicle, or without."""
    from dataclasses import replace

    from detection.detectors.finder import apply_rule

    photo = turned_array(draw(), 90)
    found = list(decide(photo).found)
    check = RoofCheck()
    (again,) = apply_rule([lambda: pytest.fail("looked at again")], [found], 0.8, check.look)
    assert again.choice.main is found[0] and check.asked == 0
    (again,) = apply_rule([lambda: photo], [[replace(found[0], look=None)]], 0.8, check.look)
    assert again.choice.main.turned == 270 and again.choice.main.look.car == 0.9


def test_failures_of_the_second_look_cost_their_photo_alone():
    class Fails(Roofs):
        def one(self, image):
            if image.shape[:2] == (200, 120):
                raise RuntimeError("no memory")
            return super().one(image)

    finder = VehicleFinder(Fails(), RoofCheck())
    views = [np.full((120, 200, 3), 128, np.uint8), draw()]
    failed, found = finder.decide([lambda: views[0], lambda: views[1]], finder.find(views))
    assert isinstance(failed, RuntimeError) and found.choice.main is not None

    class Blind(RoofCheck):
        def look(self, views):
            raise RuntimeError("no memory")

    assert isinstance(decide(turned_array(draw(sure_on_its_side=True), 90), check=Blind()), CheckError)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_boxes_and_masks_turn_together(degrees):
    mask = np.zeros((40, 80), bool)
    mask[5:15, 20:60] = True
    seen = turned_array(mask, degrees)
    vehicle = turned_back(Vehicle(box_of(seen), seen, 0.9), degrees)
    assert np.array_equal(vehicle.mask, mask) and vehicle.box == box_of(mask) and vehicle.turned == degrees
