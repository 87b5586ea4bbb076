"""The second look at photos on their side, with a drawn car that a detector and a check know by where its roof is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detection.cutout.cut import CutoutStyle
from detection.cutout.extract import extract
from detection.detectors.contract import Detector
from detection.detectors.finder import CheckError, VehicleFinder, apply_rule
from detection.vehicle import Look, Vehicle, turned_array, turned_back
from tests.roofs import RoofCheck, Roofs, box_of, draw_roof, stands


def decide(view: np.ndarray, detector: Detector | None = None, check: RoofCheck | None = None, **settings):
    finder = VehicleFinder(detector or Roofs(), check or RoofCheck(), **settings)
    (finding,) = finder.decide([lambda: view], finder.find([view]))
    return finding


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_photo_gives_its_car_upright(degrees):
    photo = turned_array(draw_roof(), 360 - degrees)
    finding = decide(photo)
    main = finding.choice.main
    assert main.turned == degrees and str(degrees) in main.turn_note and not finding.weak
    expected = (turned_array(draw_roof(), 360 - degrees) != 128).any(axis=2)
    assert np.array_equal(main.mask, expected) and main.box == box_of(expected)  # in the photo as it is
    crop, cut = extract(photo, main, CutoutStyle(background="keep", padding=0, feather=0))
    assert crop.shape[0] < crop.shape[1] and stands(crop) == "top" and cut.turned == degrees
    assert decide(photo, turned=False).choice.main is None or degrees == 180


def test_where_the_car_is_sure_nothing_is_looked_at_again():
    detector, check = Roofs(), RoofCheck()
    finding = decide(draw_roof(), detector, check)
    assert (finding.choice.main.turned, finding.choice.main.turn_note) == (0, "")
    assert detector.seen == [(120, 200)] and check.asked == 0


def test_a_sure_car_that_is_taller_than_wide_is_only_taken_where_it_does_not_lie_on_its_side():
    """A detector may be sure of a car on its side, too: it then gets no name from there."""
    photo = turned_array(draw_roof(sure_on_its_side=True), 90)
    assert decide(photo, turned=False).choice.main.turned == 0
    assert decide(photo).choice.main.turned == 270


def test_a_car_that_was_found_gives_way_only_to_one_that_the_detector_is_surer_of():
    class Unsure(Roofs):
        def one(self, image):
            return [replace(one, score=0.85 if one.score < 0.95 else self.upright) for one in super().one(image)]

    for score, turned in ((0.92, 0), (0.94, 180)):
        detector = Unsure()
        detector.upright = score
        assert decide(turned_array(draw_roof(), 180), detector).choice.main.turned == turned


def test_photos_without_a_car_stay_without():
    detector = Roofs()
    empty = np.full((120, 200, 3), 128, np.uint8)
    finding = decide(empty, detector)
    assert finding.choice.main is None and finding.why_none == "no vehicle found"
    assert sorted(detector.seen) == [(120, 200), (120, 200), (200, 120), (200, 120)]

    class Doubter(RoofCheck):  # what the detector is sure of does not look like a car
        def look(self, views):
            return [Look(0.08, "tent") for _ in views]

    assert decide(turned_array(draw_roof(), 90), check=Doubter()).choice.main is None


def test_what_was_found_turned_counts_again_without_a_detector():
    """As a file of detections has it: with the look of each vehicle, or without."""
    photo = turned_array(draw_roof(), 90)
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
    views = [np.full((120, 200, 3), 128, np.uint8), draw_roof()]
    failed, found = finder.decide([lambda: views[0], lambda: views[1]], finder.find(views))
    assert isinstance(failed, RuntimeError) and found.choice.main is not None

    class Blind(RoofCheck):
        def look(self, views):
            raise RuntimeError("no memory")

    assert isinstance(decide(turned_array(draw_roof(sure_on_its_side=True), 90), check=Blind()), CheckError)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_boxes_and_masks_turn_together(degrees):
    mask = np.zeros((40, 80), bool)
    mask[5:15, 20:60] = True
    seen = turned_array(mask, degrees)
    vehicle = turned_back(Vehicle(box_of(seen), seen, 0.9), degrees)
    assert np.array_equal(vehicle.mask, mask) and vehicle.box == box_of(mask) and vehicle.turned == degrees
