"""What must hold for cut-outs of any photo, mask, box and style: hypothesis looks for the ones where it does not."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from detection.cutout.cut import CutoutStyle, crop_box, cut_out, soften
from detection.cutout.edge import finish_vehicle
from detection.detectors.outputs import paste_vehicle
from detection.vehicle import TIE_RATIO, Vehicle, choose_main, mask_box, rank_vehicles, resize_vehicle, vehicle_weight

# The same examples on every run, and no clock: a busy machine must not fail it.
settings.register_profile(
    "cutouts",
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
steady = settings(settings.get_profile("cutouts"))

BACKGROUNDS = ("white", "black", "gray", "mean", "blur", "keep", "transparent")
COLOURS = {"white": 255, "black": 0, "gray": 128}
sides = st.integers(1, 56)
seeds = st.integers(0, 2**32 - 1)
# 0, what people use, the ends of the range, and values in between.
feathers = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 2.0, 100.0]), st.floats(0, 12))
paddings = st.one_of(st.sampled_from([0.0, 0.05, 10.0]), st.floats(0, 1.5))
styles = st.builds(CutoutStyle, padding=paddings, background=st.sampled_from(BACKGROUNDS), feather=feathers)


def pasted_mask(soft, box, size):
    return paste_vehicle(soft, box, size)[0]


@st.composite
def masks(draw, size: tuple[int, int]) -> np.ndarray:
    """Rectangles, discs, lines one pixel wide, noise of any density, several pieces, holes; sometimes nothing."""
    height, width = size
    canvas = np.zeros(size, np.uint8)
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["box", "disc", "line", "pixel", "all", "noise", "hole"]))
        (x1, x2), (y1, y2) = ([draw(st.integers(-5, side + 5)) for _ in "ab"] for side in (width, height))
        if kind == "box":
            cv2.rectangle(canvas, (x1, y1), (x2, y2), 1, -1)
        elif kind == "disc":
            cv2.circle(canvas, (x1, y1), max(1, abs(x2 - x1)), 1, -1)
        elif kind == "line":
            cv2.line(canvas, (x1, y1), (x2, y2), 1, 1)
        elif kind == "pixel":
            canvas[min(max(y1, 0), height - 1), min(max(x1, 0), width - 1)] = 1
        elif kind == "all":
            canvas[:] = 1
        elif kind == "noise":
            canvas |= np.random.default_rng(draw(seeds)).random(size) < draw(st.floats(0, 1))
        else:
            cv2.rectangle(canvas, (x1, y1), (x2, y2), 0, -1)
    return canvas.astype(bool)


@st.composite
def scenes(draw, with_alpha: bool = True) -> tuple[np.ndarray, Vehicle]:
    """A photo, of noise or of few colours, and a vehicle in it, its soft mask known or not; the mask may be empty."""
    size = draw(sides), draw(sides)
    random = np.random.default_rng(draw(seeds))
    image = random.integers(0, 256, (*size, 3), np.uint8)
    if draw(st.booleans()):
        image = image[:1, :1] + np.zeros_like(image)
    mask = draw(masks(size))
    alpha = None
    if with_alpha and draw(st.booleans()):
        alpha = cv2.GaussianBlur(mask.astype(np.uint8) * 255, (0, 0), draw(st.floats(0.4, 3)))
        mask = alpha >= 128
    box = mask_box(mask) or (0, 0, 1, 1)
    return image, Vehicle(tuple(map(float, box)), mask, draw(st.floats(0, 1)), "car", alpha)


def copies(image: np.ndarray, vehicle: Vehicle) -> tuple[np.ndarray, ...]:
    alpha = np.zeros(0) if vehicle.alpha is None else vehicle.alpha
    return image.copy(), vehicle.mask.copy(), alpha.copy()


def assert_unchanged(image: np.ndarray, vehicle: Vehicle, before: tuple[np.ndarray, ...]) -> None:
    for array, kept in zip(copies(image, vehicle), before, strict=True):
        assert array.tobytes() == kept.tobytes() and array.dtype == kept.dtype


def deep(region: np.ndarray, feather: float) -> np.ndarray:
    """The part of a bool region that no softening of its edge can reach; the frame's border is no edge."""
    reach = math.ceil(4 * feather) + 2
    # Padded by itself, as the region goes on beyond the frame; `cv2.erode` with a large kernel is slow, this is not.
    padded = np.pad(region, reach, mode="edge").astype(np.uint8)
    return cv2.blur(padded.astype(np.float32), (2 * reach + 1,) * 2)[reach:-reach, reach:-reach] > 1 - 1e-6


@steady
@given(scenes(), styles)
def test_cut_out(scene, style):
    image, vehicle = scene
    assume(vehicle.mask.any())
    before = copies(image, vehicle)
    crop = cut_out(image, vehicle, style)
    assert_unchanged(image, vehicle, before)
    x1, y1, x2, y2 = crop_box(vehicle.mask, style.padding)
    channels = 4 if style.background == "transparent" else 3
    assert crop.shape == (y2 - y1, x2 - x1, channels) and crop.dtype == np.uint8
    assert not np.shares_memory(crop, image), "painting on the cut-out would paint on the photo"
    photo = image[y1:y2, x1:x2]
    if style.background == "keep":
        np.testing.assert_array_equal(crop, photo)
        return
    # What is surely vehicle is the photo itself; the soft mask, where there is one, says what that is.
    solid = vehicle.mask if vehicle.alpha is None else vehicle.alpha == 255
    inside = deep(solid, style.feather)[y1:y2, x1:x2] & vehicle.mask[y1:y2, x1:x2]
    np.testing.assert_array_equal(crop[inside][:, :3], photo[inside])
    # The alpha of the same cut tells where the background alone must be seen.
    seen = cut_out(image, vehicle, style.model_copy(update={"background": "transparent"}))
    alpha = seen[..., 3]
    assert (alpha[inside] == 255).all()
    hollow = ~vehicle.mask if vehicle.alpha is None else vehicle.alpha == 0
    assert (alpha[deep(hollow, style.feather)[y1:y2, x1:x2]] == 0).all()
    if style.feather == 0:
        assert set(np.unique(alpha)) <= {0, 255}
    if style.background in COLOURS:
        assert (crop[alpha == 0] == COLOURS[style.background]).all()
    elif style.background == "mean":
        assert len(np.unique(crop[alpha == 0], axis=0)) <= 1
    elif style.background == "blur":
        assert (crop[alpha == 0] >= photo.min((0, 1))).all() and (crop[alpha == 0] <= photo.max((0, 1))).all()
    if style.background != "transparent":
        np.testing.assert_array_equal(crop[alpha == 255], seen[alpha == 255][:, :3])


@steady
@given(scenes(), feathers)
def test_colours_along_the_edge_are_taken_from_the_photo(scene, feather):
    """On a photo of one colour there is no other colour to be had, whatever the edge."""
    image, vehicle = scene
    flat = image[:1, :1] + np.zeros_like(image)
    before = copies(flat, vehicle)
    alpha, colours = soften(flat, vehicle.mask, feather, vehicle.alpha)
    assert_unchanged(flat, vehicle, before)
    assert alpha.shape == vehicle.mask.shape and alpha.dtype == np.uint8
    assert colours.shape == flat.shape and colours.dtype == np.uint8
    # Blurs of 8 bits round: a colour and its weight, of which there are at least 8 of 255, by half a step each.
    assert np.abs(colours[alpha > 0].astype(int) - flat[0, 0]).max(initial=0) <= 3


@steady
@given(st.tuples(sides, sides).flatmap(masks), paddings)
def test_boxes(mask, padding):
    before = mask.copy()
    box = mask_box(mask)
    rows, columns = np.nonzero(mask)
    if box is None:
        assert not len(rows)
        with pytest.raises(ValueError, match="empty"):
            crop_box(mask, padding)
        with pytest.raises(ValueError, match="empty"):
            cut_out(np.zeros((*mask.shape, 3), np.uint8), Vehicle((0, 0, 1, 1), mask, 0.5), CutoutStyle())
        return
    assert box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    x1, y1, x2, y2 = crop_box(mask, padding)
    assert 0 <= x1 <= box[0] < box[2] <= x2 <= mask.shape[1] and 0 <= y1 <= box[1] < box[3] <= y2 <= mask.shape[0]
    assert crop_box(mask, 0) == box
    assert all(type(value) is int for value in (*box, x1, y1, x2, y2))
    np.testing.assert_array_equal(mask, before)


@steady
@given(scenes(), sides, sides, st.sampled_from(BACKGROUNDS))
def test_a_mask_of_another_size_is_a_value_error(scene, height, width, background):
    vehicle = scene[1]
    assume((height, width) != vehicle.mask.shape)
    other = np.zeros((height, width, 3), np.uint8)
    with pytest.raises(ValueError, match=r"\(height, width\)"):
        cut_out(other, vehicle, CutoutStyle(background=background))
    with pytest.raises(ValueError, match=r"\(height, width\)"):
        rank_vehicles([vehicle], (height, width))


@steady
@given(scenes())
def test_finish(scene):
    image, vehicle = scene
    vehicle = replace(vehicle, alpha=None)
    before = copies(image, vehicle)
    done = finish_vehicle(image, vehicle)
    assert_unchanged(image, vehicle, before)
    assert (done.score, done.kind) == (vehicle.score, vehicle.kind)
    assert done.mask.shape == vehicle.mask.shape and done.mask.dtype == bool
    assert done.mask.any() == vehicle.mask.any(), "a vehicle that was found is not lost, and none comes from nothing"
    if vehicle.mask.any():
        assert done.box == pytest.approx(mask_box(done.mask), abs=0.51)
    if done.alpha is not None:
        assert done.alpha.shape == vehicle.mask.shape and done.alpha.dtype == np.uint8
        assert done.alpha[done.mask].all(), "what counts as vehicle is seen"


@steady
@given(scenes(with_alpha=False), styles)
def test_a_finished_vehicle_can_be_cut_out(scene, style):
    image, vehicle = scene
    assume(vehicle.mask.any())
    done = finish_vehicle(image, vehicle)
    x1, y1, x2, y2 = crop_box(done.mask, style.padding)
    assert cut_out(image, done, style).shape[:2] == (y2 - y1, x2 - x1)


@steady
@given(scenes(with_alpha=False), sides, sides)
def test_resize(scene, height, width):
    _, vehicle = scene
    before = vehicle.mask.copy()
    resized = resize_vehicle(vehicle, (height, width))
    np.testing.assert_array_equal(vehicle.mask, before)
    assert resized.mask.shape == (height, width) and resized.mask.dtype == bool
    assert (resized.score, resized.kind) == (vehicle.score, vehicle.kind)
    across, down = width / vehicle.mask.shape[1], height / vehicle.mask.shape[0]
    assert resized.box == pytest.approx(np.array(vehicle.box) * (across, down, across, down))
    if not vehicle.mask.any() or vehicle.mask.all():
        assert resized.mask.all() == resized.mask.any() == vehicle.mask.all()
    if (height, width) == vehicle.mask.shape:
        np.testing.assert_array_equal(resized.mask, vehicle.mask)
    # Nothing may move by more than a pixel of the coarser grid.
    box = mask_box(resized.mask)
    if box is not None:
        x1, y1, x2, y2 = mask_box(vehicle.mask)
        slack_x, slack_y = max(1, across), max(1, down)
        assert x1 * across - slack_x <= box[0] and box[2] <= x2 * across + slack_x
        assert y1 * down - slack_y <= box[1] and box[3] <= y2 * down + slack_y


@st.composite
def crowds(draw) -> tuple[list[Vehicle], tuple[int, int]]:
    size = draw(sides), draw(sides)
    wild = st.floats(-1e6, 1e6)
    count = draw(st.integers(0, 5))
    found = [
        Vehicle(tuple(draw(wild) for _ in range(4)), draw(masks(size)), draw(st.floats(0, 1)))
        for _ in range(count)
    ]  # fmt: skip
    return found, size


@steady
@given(crowds())
def test_rank(crowd):
    vehicles, size = crowd
    weights = {id(vehicle): vehicle_weight(vehicle, size) for vehicle in vehicles}
    assert all(0 <= weight <= 1 for weight in weights.values())
    choice = rank_vehicles(vehicles, size)
    ranked = [*([] if choice.main is None else [choice.main]), *choice.runners_up]
    assert choice.main is choose_main(vehicles, size)
    assert list(choice.weights) == [weights[id(vehicle)] for vehicle in ranked]
    assert list(choice.weights) == sorted(choice.weights, reverse=True) and all(choice.weights)
    assert {id(vehicle) for vehicle in ranked} == {key for key, weight in weights.items() if weight > 0}
    assert choice.tie == (len(ranked) > 1 and choice.weights[1] >= TIE_RATIO * choice.weights[0])
    # The order in which a detector gives them says nothing.
    assert rank_vehicles(vehicles[::-1], size).weights == choice.weights


corners = st.one_of(st.floats(-30, 90), st.sampled_from([0.0, 10.0, 1e5, -1e5]))


@steady
@given(st.tuples(sides, sides), st.tuples(corners, corners, corners, corners), st.integers(1, 28), seeds)
def test_paste_mask(size, values, cells, seed):
    x1, x2 = sorted(values[:2])
    y1, y2 = sorted(values[2:])
    box = np.array([x1, y1, x2, y2])
    soft = np.random.default_rng(seed).random((cells, cells), np.float32)
    before = soft.copy()
    mask = pasted_mask(soft, box, size)
    np.testing.assert_array_equal(soft, before)
    assert mask.shape == size and mask.dtype == bool
    whole = pasted_mask(None, box, size)
    assert not (mask & ~whole).any(), "a mask reaches out of its box"
    rows, columns = np.indices(size)
    assert (whole[(columns >= x1) & (columns + 1 <= x2) & (rows >= y1) & (rows + 1 <= y2)]).all()
    assert not whole[(columns + 1 <= x1) | (columns >= x2) | (rows + 1 <= y1) | (rows >= y2)].any()
    np.testing.assert_array_equal(pasted_mask(np.ones_like(soft), box, size), whole)
    assert not pasted_mask(np.zeros_like(soft), box, size).any()
