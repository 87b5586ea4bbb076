"""Drawn cars in the studio: size, place, shadow, paint."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carclf.datasets.drawn.scenes import CAR_SHAPES, draw_scene
from detection.images.read import load_image
from detection.publishing.studio.backdrop import backdrop
from detection.publishing.studio.compose import compose, set_in_studio
from detection.publishing.studio.rooms import ROOMS
from detection.publishing.studio.style import StudioStyle, studio_style
from detection.vehicle import Vehicle, mask_box, turned_array, turned_back

STYLE = studio_style("480x360", backdrop="#f0f0f0", even=False)


def drawn(shape: str = "sedan", seed: int = 0, size: tuple[int, int] = (360, 480)) -> tuple[np.ndarray, Vehicle]:
    scene = draw_scene(shape, np.random.default_rng(seed), size)
    return scene.image, Vehicle(scene.box, scene.mask, 1.0)


def car_in(picture: np.ndarray, ground: tuple[int, int, int] = (240, 240, 240)) -> np.ndarray:
    """What is surely no plain backdrop with a grey shadow on it: bool HxW."""
    difference = picture.astype(int) - np.array(ground)
    return np.ptp(difference, axis=2) > 24


@pytest.mark.parametrize("shape", list(CAR_SHAPES)[:3])
@pytest.mark.parametrize("room", ROOMS)
def test_a_picture_has_its_size_and_the_room_is_untouched_in_its_corners(shape, room):
    image, vehicle = drawn(shape)
    style = studio_style("480x360", backdrop=room)
    made = compose(image, vehicle, style)
    assert made.image.shape == (made.frame.size[1], made.frame.size[0], 3) and made.image.dtype == np.uint8
    room_itself = backdrop(room, made.frame.size, made.frame.floor)
    if not made.frame.cut:
        for corner in (np.s_[:30, :30], np.s_[:30, -30:]):
            assert np.array_equal(made.image[corner], room_itself[corner])
    assert not np.array_equal(made.image, room_itself)


def test_the_photo_is_not_changed_and_twice_is_the_same():
    image, vehicle = drawn()
    before = image.copy()
    first, second = (set_in_studio(image, vehicle, STYLE) for _ in range(2))
    assert np.array_equal(image, before) and np.array_equal(first, second)
    assert set_in_studio(image, vehicle).shape[2] == 3  # without a style


@pytest.mark.parametrize("seed", range(4))
def test_wheels_stand_on_the_same_line_whatever_the_photo(seed):
    image, vehicle = drawn("hatchback", seed)
    large = np.pad(image, ((40, 300), (200, 80), (0, 0)), mode="edge")
    mask = np.pad(vehicle.mask, ((40, 300), (200, 80)))
    x1, y1, x2, y2 = vehicle.box
    moved = Vehicle((x1 + 200, y1 + 40, x2 + 200, y2 + 40), mask, 1.0)
    for one, seen in ((image, vehicle), (large, moved)):
        made = compose(one, seen, STYLE)
        if made.frame.cut:
            continue
        assert made.frame.wheels == pytest.approx(0.8 * made.frame.size[1])
        box = mask_box(made.vehicle.mask)
        assert box is not None
        width = (box[2] - box[0]) * made.frame.scale / made.frame.size[0]
        height = (box[3] - box[1]) * made.frame.scale / made.frame.size[1]
        # By its view, or as high as it may be.
        assert any(abs(width - length) < 0.02 for length in (0.84, 0.76, 0.5)) or abs(height - 0.58) < 0.02


def test_the_floor_is_darker_below_the_car_and_not_beside_it():
    image, vehicle = drawn("sedan", 1)
    made = compose(image, vehicle, STYLE)
    row = round(made.frame.wheels) + 2
    line = made.image[row].astype(int).mean(axis=1)
    assert line.min() < 150 and line[:20].min() > 225 and line[-20:].min() > 225
    assert made.image[-4:].min() > 225


def test_the_shadow_falls_away_from_the_light():
    image, vehicle = drawn("sedan", 1)
    sides = {}
    for light in ("left", "right", "top"):
        made = compose(image, vehicle, STYLE.model_copy(update={"light": light})).image.astype(float).mean(axis=2)
        row = made[round(0.8 * made.shape[0]) - 4 : round(0.8 * made.shape[0]) + 4]
        sides[light] = row[:, : row.shape[1] // 8].mean() - row[:, -row.shape[1] // 8 :].mean()
    assert sides["left"] > sides["top"] > sides["right"]


def test_the_floor_mirrors_the_car_where_it_is_asked_to():
    image, vehicle = drawn("suv", 2)
    plain, mirror = (compose(image, vehicle, STYLE.model_copy(update={"reflection": r})) for r in (0.0, 0.5))
    changed = np.abs(plain.image.astype(int) - mirror.image).max(axis=2) > 4
    rows = np.flatnonzero(changed.any(axis=1))
    assert rows.size and rows[0] > plain.frame.floor - 40
    assert rows[-1] < plain.frame.size[1]


def test_a_small_car_makes_a_smaller_picture_and_says_so():
    image, vehicle = drawn(size=(120, 160))
    made = compose(image, vehicle, studio_style("1600x1200"))
    assert made.frame.scale == 2.0 and made.frame.size[0] < 800
    assert made.frame.size[0] / made.frame.size[1] == pytest.approx(4 / 3, abs=0.01)
    assert any("enlarged" in note for note in made.notes)
    free = compose(image, vehicle, studio_style("320x240", max_upscale=4))
    assert free.frame.size == (320, 240) and not any("enlarged" in note for note in free.notes)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_car_that_the_photo_cuts_off_stays_at_that_border(side):
    image, vehicle = drawn("sedan", 1)
    x1, _, x2, _ = (round(value) for value in vehicle.box)
    middle = (x1 + x2) // 2
    part = np.s_[:, middle:] if side == "left" else np.s_[:, :middle]
    half = Vehicle(vehicle.box, np.ascontiguousarray(vehicle.mask[part]), 1.0)
    made = compose(np.ascontiguousarray(image[part]), half, STYLE)
    assert made.frame.cut == (side,) and any(f"at the {side}" in note for note in made.notes)
    column = made.image[:, 2 if side == "left" else -3].astype(int)
    assert (np.abs(column - 240).max(axis=1) > 30).sum() > 10  # the car is there
    other = (
        made.image[: made.image.shape[0] // 2, -8:] if side == "left" else made.image[: made.image.shape[0] // 2, :8]
    )
    assert np.abs(other.astype(int) - 240).max() <= 3


def test_a_car_on_its_side_stands_upright():
    image, vehicle = drawn("sedan", 1)
    lying = turned_array(image, 270)
    turned = turned_back(vehicle, 90)
    assert turned.turned == 90 and turned.mask.shape == lying.shape[:2]
    upright, back = compose(image, vehicle, STYLE), compose(lying, turned, STYLE)
    assert back.frame.view == upright.frame.view
    difference = np.abs(upright.image.astype(int) - back.image)
    assert (difference.max(axis=2) > 40).mean() < 0.02


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_mask_gives_a_picture(data):
    height, width = data.draw(st.integers(8, 90)), data.draw(st.integers(8, 90))
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    mask = np.zeros((height, width), bool)
    for _ in range(data.draw(st.integers(1, 3))):
        top, left = rng.integers(0, height), rng.integers(0, width)
        mask[top : top + rng.integers(1, height + 1), left : left + rng.integers(1, width + 1)] = True
    style = StudioStyle(
        backdrop="dusk",
        width=240,
        height=200,
        glass=True,
        reflection=0.4,
        light=data.draw(st.sampled_from(["left", "top"])),
    )
    made = compose(image, Vehicle((0, 0, width, height), mask, 0.9), style)
    width_out, height_out = made.frame.size
    assert made.image.shape == (height_out, width_out, 3) and width_out <= 240 and height_out <= 200
    assert len(made.cells()) == 5


def test_an_empty_mask_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        compose(np.zeros((20, 20, 3), np.uint8), Vehicle((0, 0, 1, 1), np.zeros((20, 20), bool), 0.5), STYLE)


def test_real_photos_stand_on_their_line_with_the_paint_that_they_have():
    data = Path(os.environ.get("CARCLF_SHARED_DATA", Path(__file__).parents[5] / "shared" / "data")) / "dealer20"
    if not data.is_dir():
        pytest.skip("the real photos are not here (CARCLF_SHARED_DATA)")
    tried = 0
    for path in sorted((data / "images").rglob("*.jpg"))[::97]:
        alpha = (data / "alpha" / path.relative_to(data / "images")).with_suffix(".png")
        if not alpha.is_file():
            continue
        image = load_image(path)
        mask = load_image(alpha)[..., 0] >= 128
        made = compose(image, Vehicle((0, 0, 1, 1), mask, 1.0), studio_style("400x300"))
        bottom = made.frame.size[1] if "bottom" in made.frame.cut else 0.8 * made.frame.size[1]
        assert made.frame.wheels == pytest.approx(bottom)
        tried += 1
    assert tried >= 3
