"""Vehicles put into other photos for training: where they land, and whose pixels are whose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from detection.masks.records import read_source
from detection.training.scenes.pasting import Patch, place_cutout
from detection.training.scenes.scene import SceneMaker, SceneSettings
from detection.vehicle import mask_box
from tests.coco_photos import make_coco

RED, BLUE, GRAY = (200, 30, 30), (30, 30, 200), (120, 120, 120)


def car(size=(60, 120), box=(20, 20, 100, 50), colour=RED):
    image, mask = np.full((*size, 3), BLUE, np.uint8), np.zeros(size, bool)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2], mask[y1:y2, x1:x2] = colour, True
    return image, mask


@pytest.mark.parametrize("length, centre", [(80, (100, 60)), (40, (50, 30)), (160, (100, 60))])
def test_it_lands_where_and_as_large_as_asked(length, centre):
    photo = np.full((120, 200, 3), GRAY, np.uint8)
    patch = place_cutout(*car(), length, centre, photo, np.random.default_rng(0))
    x1, y1, x2, y2 = mask_box(patch.mask)
    assert abs((x1 + x2) / 2 - centre[0]) <= 2 and abs((y1 + y2) / 2 - centre[1]) <= 2
    assert 0.85 * length <= x2 - x1 <= 1.15 * length
    assert patch.onto(photo).dtype == np.uint8


def test_it_stands_on_a_line():
    photo = np.full((120, 200, 3), GRAY, np.uint8)
    patch = place_cutout(*car(), 80, (100, None), photo, np.random.default_rng(0), bottom=90)
    assert abs(mask_box(patch.mask)[3] - 90) <= 2


def test_none_of_the_old_background_comes_along():
    photo = np.full((120, 200, 3), GRAY, np.uint8)
    for seed in range(8):
        patch = place_cutout(*car(), 80, (100, 60), photo, np.random.default_rng(seed))
        pasted = patch.onto(photo).astype(int)
        assert (pasted[..., 2] - pasted[..., 0]).max() <= 12, "a blue rim"


def test_behind_leaves_what_is_in_front():
    photo, (x1, y1, x2, y2) = np.full((120, 200, 3), GRAY, np.uint8), (90, 40, 120, 80)
    front = np.zeros((120, 200), bool)
    front[y1:y2, x1:x2] = True
    patch = place_cutout(*car(), 120, (100, 60), photo, np.random.default_rng(0)).behind(front)
    assert not patch.mask[front].any() and patch.mask.any()
    assert (patch.onto(photo)[front] == GRAY).all()


def test_an_empty_patch_changes_nothing():
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    patch = Patch(np.zeros((20, 30, 3), np.float32), np.zeros((20, 30, 1), np.float32))
    assert np.array_equal(patch.onto(photo), photo) and not patch.mask.any()


def test_a_neighbour_is_labelled_and_owns_its_pixels(tmp_path):
    settings = SceneSettings(negatives=0, paste=0, neighbour=1)
    maker = SceneMaker(read_source(make_coco(tmp_path, cars=6, empties=0)), settings)
    pairs = 0
    for seed in range(30):
        scene = maker.make((96, 128), np.random.default_rng(seed))
        assert len(scene.categories) == len(scene.masks)
        assert scene.masks.sum(axis=0).max(initial=0) <= 1, "a pixel belongs to two vehicles"
        pairs += len(scene.masks) == 2
    assert pairs >= 5


def test_without_neighbours_there_is_one_vehicle(tmp_path):
    settings = SceneSettings(negatives=0, paste=0, neighbour=0)
    maker = SceneMaker(read_source(make_coco(tmp_path, cars=6, empties=0)), settings)
    assert all(len(maker.make((96, 128), np.random.default_rng(seed)).masks) <= 1 for seed in range(20))


def test_a_vehicle_that_its_photo_cuts_off_is_not_pasted(tmp_path):
    records = read_source(make_coco(tmp_path, cars=6, empties=2))
    assert len(SceneMaker(records, SceneSettings()).cutouts) == 6
    cut_off = [replace(record, masks=tuple(_shifted(mask) for mask in record.masks)) for record in records]
    assert SceneMaker(cut_off, SceneSettings()).cutouts == []


def _shifted(rle):
    mask = coco_mask.decode(rle)
    left = np.flatnonzero(mask.any(axis=0))[0]
    return coco_mask.encode(np.asfortranarray(np.roll(mask, -left, axis=1)))
