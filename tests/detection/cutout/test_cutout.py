"""Cutting out: tables of cases on small arrays."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from detection.cutout.cut import CutoutStyle, crop_box, cut_out, soften
from detection.vehicle import Vehicle

SIZE = (60, 100)
CAR, WALL = (200, 40, 30), (20, 60, 90)


def photo(box=(30, 20, 70, 40), size=SIZE):
    """A red car on a dark blue wall, and its vehicle."""
    x1, y1, x2, y2 = box
    image, mask = np.full((*size, 3), WALL, np.uint8), np.zeros(size, bool)
    image[y1:y2, x1:x2], mask[y1:y2, x1:x2] = CAR, True
    return image, Vehicle(tuple(map(float, box)), mask, 0.9)


@pytest.mark.parametrize(
    "box, padding, expected",
    [
        ((30, 20, 70, 40), 0.0, (30, 20, 70, 40)),
        ((30, 20, 70, 40), 0.1, (26, 16, 74, 44)),
        ((0, 0, 40, 20), 0.1, (0, 0, 44, 24)),
        ((60, 40, 100, 60), 0.1, (56, 36, 100, 60)),
        ((0, 0, 100, 60), 0.5, (0, 0, 100, 60)),
        ((50, 30, 51, 31), 0.05, (50, 30, 51, 31)),
        ((50, 30, 51, 31), 3.0, (47, 27, 54, 34)),
    ],
)
def test_crop_box(box, padding, expected):
    image, vehicle = photo(box)
    assert crop_box(vehicle.mask, padding) == expected
    x1, y1, x2, y2 = expected
    crop = cut_out(image, vehicle, CutoutStyle(padding=padding))
    assert crop.shape == (y2 - y1, x2 - x1, 3) and crop.dtype == np.uint8 and crop.flags.c_contiguous


@pytest.mark.parametrize(
    "background, expected",
    [("white", (255,) * 3), ("black", (0,) * 3), ("gray", (128,) * 3), ("mean", WALL), ("keep", WALL)],
)
@pytest.mark.parametrize("feather", [0.0, 1.0])
def test_backgrounds_of_one_colour(background, expected, feather):
    image, vehicle = photo()
    before = image.copy()
    crop = cut_out(image, vehicle, CutoutStyle(background=background, feather=feather, padding=0.25))
    assert tuple(crop[0, 0]) == expected and tuple(crop[-1, -1]) == expected
    assert tuple(crop[20, 30]) == CAR
    assert np.array_equal(image, before), "the photo itself was painted on"


def test_blur_is_smooth_and_keeps_the_car():
    image, vehicle = photo()
    image[::2][~vehicle.mask[::2]] = 250
    crop = cut_out(image, vehicle, CutoutStyle(background="blur", feather=0, padding=0.25))
    assert np.abs(np.diff(crop[:, 0].astype(int), axis=0)).max() < 12
    assert tuple(crop[20, 30]) == CAR


@pytest.mark.parametrize("feather", [0.0, 2.0])
def test_transparent(feather):
    image, vehicle = photo()
    crop = cut_out(image, vehicle, CutoutStyle(background="transparent", feather=feather, padding=0.25))
    assert crop.shape == (40, 60, 4)
    assert crop[0, 0, 3] == 0 and crop[20, 30, 3] == 255
    assert np.abs(crop[crop[..., 3] > 40][:, :3].astype(int) - CAR).max() <= 5, "the wall's colour is in the edge"


@pytest.mark.parametrize("feather", [0.5, 1.0, 2.0, 5.0])
def test_no_dark_fringe_on_white(feather):
    """A light car before a black wall: no pixel of the cut-out is darker than the car."""
    image, vehicle = photo((0, 10, 80, 50))
    image[vehicle.mask], image[~vehicle.mask] = (230, 225, 220), 0
    image[9, :80] = image[50, :80] = (110, 110, 110)  # the photo's own soft edge, just outside the mask
    image[10, :80] = image[49, :80] = (170, 170, 170)  # and just inside
    crop = cut_out(image, vehicle, CutoutStyle(feather=feather, padding=0.2))
    assert crop.min() >= 218


def test_a_car_that_leaves_the_frame_is_not_faded_there():
    image, vehicle = photo((0, 0, 60, 60))
    crop = cut_out(image, vehicle, CutoutStyle(feather=3.0))
    assert (crop[:, :40] == CAR).all()


@pytest.mark.parametrize("feather", [0.0, 1.0, 4.0])
def test_soft_edge(feather):
    image, vehicle = photo((50, 0, 100, 60))
    row = soften(image, vehicle.mask, feather)[0][30].astype(int)
    assert (np.diff(row) >= 0).all() and row[0] == 0 and row[-1] == 255
    between = ((row > 25) & (row < 230)).sum()
    assert between == 0 if feather == 0 else feather <= between <= 4 * feather
    assert abs(int(row[49]) + int(row[50]) - 255) <= 4, "the edge has moved"


def test_one_pixel_and_a_thin_line():
    for box in ((50, 30, 51, 31), (10, 30, 90, 31), (50, 0, 51, 60)):
        image, vehicle = photo(box)
        crop = cut_out(image, vehicle, CutoutStyle(feather=1.0, padding=1.0))
        assert crop.min() < 250, "nothing is left of the car"


def test_the_whole_photo_is_the_car():
    image, vehicle = photo((0, 0, 100, 60))
    for background in ("white", "mean", "blur"):
        assert np.array_equal(cut_out(image, vehicle, CutoutStyle(background=background)), image)


def test_wrong_masks():
    image, vehicle = photo()
    with pytest.raises(ValueError, match="mask is"):
        cut_out(image[:-1], vehicle, CutoutStyle())
    with pytest.raises(ValueError, match="empty"):
        cut_out(image, Vehicle(vehicle.box, np.zeros(SIZE, bool), 0.9), CutoutStyle())


@pytest.mark.parametrize(
    "values", [{"background": "pink"}, {"padding": -0.1}, {"feather": -1}, {"no_car": "delete"}, {"colour": "white"}]
)
def test_wrong_styles(values):
    with pytest.raises(ValidationError):
        CutoutStyle(**values)
