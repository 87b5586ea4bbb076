"""The parts of a studio's picture: ground, framing, tone, glass."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.publishing.studio.framing import cut_sides, framed, view_of
from detection.publishing.studio.glass import find_glass, through_glass
from detection.publishing.studio.ground import ground_of
from detection.publishing.studio.shadow import shadow_of
from detection.publishing.studio.tone import MOST_COLOUR, MOST_HUE, MOST_LIGHT, Tone, even_tone, hue_moved, toned


def side_view(height: int = 200, width: int = 400) -> np.ndarray:
    """A body with two wheels below it."""
    mask = np.zeros((height, width), np.uint8)
    cv2.rectangle(mask, (40, 80), (360, 150), 1, -1)
    cv2.rectangle(mask, (110, 40), (290, 80), 1, -1)
    for x in (100, 300):
        cv2.circle(mask, (x, 145), 25, 1, -1)
    return mask.astype(bool)


def test_tyres_are_found_where_they_stand():
    ground = ground_of(side_view())
    assert ground is not None and (ground.left, ground.right) == (40, 361)
    middles = [(x1 + x2) / 2 for x1, x2, _ in ground.tyres]
    assert middles == pytest.approx([100, 300], abs=3)
    assert all(y == pytest.approx(171, abs=1) for _, _, y in ground.tyres)
    assert ground.line[60:260].min() == pytest.approx(171, abs=1)
    assert 155 < ground.line[0] < 171  # below the bumper, not at it


def test_a_wheel_farther_away_stands_higher():
    mask = side_view()
    slanted = cv2.warpAffine(mask.astype(np.uint8), np.array([[1, 0, 0], [-0.12, 1, 40]], float), (400, 240)) > 0
    ground = ground_of(slanted)
    assert ground is not None and len(ground.tyres) == 2
    assert ground.tyres[0][2] - ground.tyres[1][2] == pytest.approx(24, abs=4)


@pytest.mark.parametrize("light", ["left", "right", "top"])
def test_shadows_are_darkest_at_the_tyres(light):
    ground = ground_of(side_view())
    assert ground is not None
    taken = shadow_of(ground, (400, 200), light)
    assert taken.shape == (200, 400) and taken.dtype == np.float32 and 0 <= taken.min() <= taken.max() <= 0.95
    assert taken[170, 100] > 0.75 and taken[170, 300] > 0.75 and 0.3 < taken[165, 200] < taken[170, 100]
    assert taken[:40].max() == 0 and taken[-5:].max() < 0.1


def test_nothing_has_no_ground():
    assert ground_of(np.zeros((20, 20), bool)) is None


def test_views_and_cut_sides():
    assert [view_of(np.ones(size, bool)) for size in ((100, 300), (100, 180), (100, 120))] == ["side", "corner", "end"]
    assert cut_sides(np.ones((10, 20), bool)) == ("left", "right", "top", "bottom")
    assert cut_sides(side_view()) == ()
    assert cut_sides(side_view()[:, 200:]) == ("left",)
    assert cut_sides(side_view()[:, 40:361]) == ("left", "right")  # its flat ends lie on the borders
    assert cut_sides(side_view()[:120]) == ("bottom",)
    assert cut_sides(side_view()[:172]) == ()  # wheels may touch the border


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 900), st.integers(2, 900), st.sets(st.sampled_from(["left", "right", "top", "bottom"])),
    st.sampled_from([(1600, 1200), (1200, 1200), (1200, 628), (320, 640)]),
)  # fmt: skip
def test_frames(height, width, cut, size):
    """A car that is not cut lies within the picture, with room round it; none is enlarged more than it may be."""
    frame = framed(np.ones((height, width), bool), tuple(cut), size, 2.0)
    assert frame.scale <= 2.0 + 1e-9
    assert frame.size[0] <= size[0] and frame.size[1] <= size[1]
    left, right = frame.left, frame.left + width * frame.scale
    top, bottom = frame.top, frame.top + height * frame.scale
    assert bottom == pytest.approx(frame.wheels, abs=1e-6)
    if not cut:
        assert left >= 0.05 * frame.size[0] and right <= 0.95 * frame.size[0]
        assert (left + right) / 2 == pytest.approx(frame.size[0] / 2)
        assert top >= 0.03 * frame.size[1] and bottom == pytest.approx(0.8 * frame.size[1])
    if {"left", "right"} & cut == {"left"}:
        assert left == pytest.approx(0)
    if {"left", "right"} & cut == {"right"}:
        assert right == pytest.approx(frame.size[0])
    if "bottom" in cut:
        assert bottom == pytest.approx(frame.size[1])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 1.7), st.floats(0.5, 1.5), st.floats(0.5, 1.5))
def test_the_hue_of_the_paint_stays(seed, light, red, blue):
    rng = np.random.default_rng(seed)
    image = np.clip(rng.normal(120, 40, (60, 80, 1)) + rng.normal(0, 6, (60, 80, 3)), 0, 255)
    mask = np.zeros((60, 80), bool)
    mask[20:45, 15:65] = True
    image[mask] = rng.integers(0, 256, 3) + rng.normal(0, 5, (mask.sum(), 3))
    image = np.clip(image * np.array([red, 1, blue]) * light, 0, 255).astype(np.uint8)
    tone = even_tone(image, mask)
    assert hue_moved(image[mask], toned(image, tone)[mask]) <= MOST_HUE
    assert all(1 / MOST_COLOUR**1.5 <= value <= MOST_COLOUR**1.5 for value in tone.colour) and tone.light <= MOST_LIGHT


def test_two_photos_of_one_car_come_nearer_to_each_other():
    rng = np.random.default_rng(1)
    scene = rng.integers(60, 180, (90, 120, 3)).astype(np.float64)
    mask = np.zeros((90, 120), bool)
    mask[30:70, 25:95] = True
    scene[mask] = (150, 150, 152)
    warm, cold = (np.clip(scene * factors, 0, 255).astype(np.uint8) for factors in ((0.9, 0.8, 0.7), (0.6, 0.66, 0.72)))
    before = np.abs(warm[mask].astype(int) - cold[mask]).mean()
    after = np.abs(
        toned(warm, even_tone(warm, mask))[mask].astype(int) - toned(cold, even_tone(cold, mask))[mask]
    ).mean()
    assert after < 0.7 * before


def test_the_car_itself_is_not_evened_away():
    """A white car and a black one before the same wall are brightened alike."""
    wall = np.full((60, 80, 3), 90, np.uint8)
    mask = np.zeros((60, 80), bool)
    mask[20:45, 15:65] = True
    tones = []
    for paint in (20, 235):
        image = wall.copy()
        image[mask] = paint
        tones.append(even_tone(image, mask))
    assert tones[0] == tones[1] and tones[0].light > 1


def test_where_nothing_tells_the_tone_stays():
    image = np.full((40, 40, 3), 255, np.uint8)  # a white ground
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    assert even_tone(image, mask) == Tone() == even_tone(image, ~np.zeros((40, 40), bool))


def test_toning_keeps_black_white_and_order():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    after = toned(ramp, Tone(light=1.4))[0, :, 0].astype(int)
    assert after[0] == 0 and (np.diff(after) >= 0).all() and after[255] <= 255 and after[150] > 150
    assert np.array_equal(toned(ramp[:, :190], Tone()), ramp[:, :190])


def a_car_with_panes(paint=(190, 40, 40), pane=(40, 44, 48)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mask = side_view()
    image = np.full((*mask.shape, 3), 120, np.uint8)
    image[mask] = paint
    panes = np.zeros(mask.shape, bool)
    panes[50:78, 125:195] = panes[50:78, 203:275] = True
    image[panes] = pane
    return image, mask, panes


def test_panes_are_found_and_only_they_change():
    image, mask, panes = a_car_with_panes()
    glass = find_glass(image, mask)
    assert glass is not None
    sure = glass.alpha >= 128
    assert (sure & panes).sum() > 0.8 * panes.sum() and (sure & ~panes).sum() < 0.02 * panes.sum()
    after = through_glass(image, glass, np.array([250.0, 250.0, 250.0]))
    assert after[64, 160].mean() > image[64, 160].mean() + 15
    far = cv2.dilate(panes.astype(np.uint8), np.ones((9, 9))) == 0
    assert np.array_equal(after[far], image[far])


@pytest.mark.parametrize(
    ("paint", "pane"),
    [((30, 30, 32), (20, 20, 22)), ((190, 40, 40), (180, 190, 200)), ((190, 40, 40), (20, 90, 20))],
    ids=["dark paint", "bright pane", "coloured pane"],
)
def test_where_it_is_not_sure_nothing_is_glass(paint, pane):
    image, mask, _ = a_car_with_panes(paint, pane)
    assert find_glass(image, mask) is None


def test_dark_things_below_are_no_glass():
    image, mask, _ = a_car_with_panes(pane=(190, 40, 40))
    image[120:150, 150:250] = 20  # a dark sill
    assert find_glass(image, mask) is None
