"""Tests of the closer look: parts of a photo, for small vehicles."""

from collections.abc import Sequence

import numpy as np
import pytest

from detection.detectors.contract import Detector
from detection.detectors.finder import VehicleFinder
from detection.detectors.finder.closer import look_closer, parts
from detection.folder.options import CleanOptions
from detection.vehicle import Vehicle

HEIGHT, WIDTH = 200, 300
SMALL, LARGE = 255, 128  # the colours of vehicles


class NearSighted(Detector):
    """Sees squares of one colour if they are a tenth of the picture's width or more, as far as the picture shows them;
    the larger the surer."""

    name = fingerprint = "near-sighted"

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Vehicle]]:
        return [[one for colour in (LARGE, SMALL) if (one := self._square(image, colour))] for image in images]

    def _square(self, image: np.ndarray, colour: int) -> Vehicle | None:
        mask = image[..., 0] == colour
        if not mask.any():
            return None
        ys, xs = np.nonzero(mask)
        box = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        share = (box[2] - box[0]) / image.shape[1]
        return Vehicle(tuple(map(float, box)), mask, min(0.99, 0.8 + share / 10)) if share >= 0.1 else None


def street(*squares: tuple[int, int, int, int]) -> np.ndarray:
    """A dark photo with squares: x, y, side, colour."""
    photo = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for x, y, side, colour in squares:
        photo[y : y + side, x : x + side] = colour
    return photo


def found(photo: np.ndarray, closer: bool = True) -> list[Vehicle]:
    (vehicles,) = VehicleFinder(NearSighted(), closer=closer).find([photo])
    assert not isinstance(vehicles, Exception)
    return vehicles


@pytest.mark.parametrize("x", [0, 30, 130, 150, 275])
@pytest.mark.parametrize("y", [0, 70, 90, 175])
def test_a_small_vehicle_is_found_once_wherever_it_is(x, y):
    photo = street((x, y, 25, SMALL))
    assert not found(photo, closer=False)
    (vehicle,) = found(photo)
    assert vehicle.box == (x, y, x + 25, y + 25)
    assert vehicle.mask.shape == (HEIGHT, WIDTH)
    assert np.array_equal(vehicle.mask, photo[..., 0] == SMALL)


def test_a_large_vehicle_is_not_taken_for_its_parts():
    photo = street((60, 20, 150, LARGE))
    assert [one.box for one in found(photo)] == [(60, 20, 210, 170)]


def test_small_ones_come_beside_large_ones_best_score_first():
    photo = street((10, 10, 150, LARGE), (250, 150, 25, SMALL))
    assert [one.box for one in found(photo)] == [(10, 10, 160, 160), (250, 150, 275, 175)]


def test_what_fails_in_a_part_fails_for_this_photo_alone():
    class Failing(NearSighted):
        def detect(self, images):
            if any(image.shape[:2] == (120, 180) and image[0, 0, 0] == 7 for image in images):
                raise RuntimeError("no")
            return super().detect(images)

    bad = street((0, 0, 3, 7), (250, 150, 25, SMALL))
    first, second = VehicleFinder(Failing(), closer=True).find([bad, street((30, 30, 25, SMALL))])
    assert isinstance(first, RuntimeError)
    assert [one.box for one in second] == [(30, 30, 55, 55)]


def test_an_exception_stays_one():
    error = ValueError("x")
    assert look_closer([street()], [error], lambda pictures: [[]] * len(pictures)) == [error]


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 1000), (200, 300)])
def test_the_parts_cover_every_pixel(size):
    seen = np.zeros(size, int)
    for x1, y1, x2, y2 in parts(*size):
        seen[y1:y2, x1:x2] += 1
    assert seen.min() >= 1


def test_it_is_looked_closer_where_all_vehicles_are_wanted_or_it_is_asked_for():
    asked = [({}, False), ({"all_vehicles": True}, True), ({"small": True}, True)]
    asked += [({"all_vehicles": True, "small": False}, False)]
    for options, closer in asked:
        assert CleanOptions.of(**options).closer is closer


def test_results_with_and_without_are_told_apart_and_older_runs_are_known():
    closer = VehicleFinder(NearSighted(), closer=True)
    plain = VehicleFinder(NearSighted())
    assert closer.fingerprint == f"{plain.fingerprint}+closer1"
    assert [one.fingerprint for one in closer.earlier()] == [plain.fingerprint]
