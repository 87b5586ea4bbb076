"""The bundled network on real photos and on what it must not take for plates."""

from __future__ import annotations

import json

import numpy as np
import pytest

from detection.common.networks.arrays import read_arrays
from detection.detectors.compact.files import bundled_path
from detection.images.read import load_image
from detection.masks.parts import part_of, read_parts
from detection.publishing.hiding import check
from detection.publishing.hiding.plates import GRAPH, WEIGHTS, PlateFinder
from detection.vehicle import TURNS, Vehicle, turned_array
from tests.folder_runs import ROOT


@pytest.fixture(scope="module")
def finder() -> PlateFinder:
    return PlateFinder(threads=1)


@pytest.fixture(scope="module")
def real(shared_data):
    """A photo that was trained on, and the box of its only plate."""
    parts = read_parts(ROOT / "data" / "splits" / "plates.csv")
    boxes = json.loads((shared_data / "plates" / "boxes.json").read_text())
    folder = shared_data / "plates" / "images"
    for name, found in sorted(boxes.items()):
        wide = [x2 - x1 for x1, _, x2, _ in found]
        if len(found) == 1 and 60 < wide[0] < 100 and part_of(folder / name, parts) == "fit":
            return load_image(folder / name), found[0]
    pytest.skip("no photo with one plate")


def whole(image: np.ndarray, turned: int = 0) -> Vehicle:
    height, width = image.shape[:2]
    return Vehicle((0, 0, width, height), np.ones((height, width), bool), 0.9, turned=turned)


def overlap(plate, box) -> float:
    across = min(plate.box[2], box[2]) - max(plate.box[0], box[0])
    down = min(plate.box[3], box[3]) - max(plate.box[1], box[1])
    both = max(0.0, across) * max(0.0, down)
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (plate.box, box)]
    return both / (sum(areas) - both)


def test_the_files_are_small_and_fit_together(finder):
    files = GRAPH, WEIGHTS, check.GRAPH, check.WEIGHTS
    assert sum(bundled_path(name).stat().st_size for name in files) < 3_000_000
    assert all(name.startswith("plates.") for name in read_arrays(bundled_path(WEIGHTS))[0])
    assert all(name.startswith("check.") for name in read_arrays(bundled_path(check.WEIGHTS))[0])
    assert finder.find(np.full((90, 160, 3), 128, np.uint8)) == []


def test_a_real_plate_is_found_with_and_without_its_car(finder, real):
    image, box = real
    for vehicles in ([], [whole(image)]):
        best = finder.find(image, vehicles)[0]
        assert best.score > 0.3 and overlap(best, box) > 0.5 and best.on_vehicle == bool(vehicles)


@pytest.mark.parametrize("turn", TURNS)
def test_photos_on_their_side(finder, real, turn):
    image, box = real
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box
    lying = turned_array(image, 360 - turn)
    where = {
        90: (y1, width - x2, y2, width - x1),
        180: (width - x2, height - y2, width - x1, height - y1),
        270: (height - y2, x1, height - y1, x2),
    }[turn]
    best = finder.find(lying, [whole(lying, turn)])[0]
    assert best.score > 0.3 and overlap(best, where) > 0.5


def test_boxes_of_vehicles_are_those_of_their_masks(finder, real):
    image, box = real
    small = Vehicle((0, 0, 40, 30), np.ones((30, 40), bool), 0.9)  # found in a smaller view of the photo
    best = finder.find(image, [small])[0]
    assert best.on_vehicle and overlap(best, box) > 0.5
