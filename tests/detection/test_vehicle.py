"""Which vehicle is the main one: tables of cases."""

from __future__ import annotations

import numpy as np
import pytest

from detection.vehicle import (
    Vehicle,
    centrality,
    choose_main,
    mask_box,
    rank_vehicles,
    resize_vehicle,
    soft_box,
    vehicle_weight,
)

SIZE = (100, 200)


def vehicle(box, score=0.9, size=SIZE, kind="car") -> Vehicle:
    """A vehicle whose mask fills its box (clipped to the frame)."""
    mask = np.zeros(size, bool)
    x1, y1, x2, y2 = (max(0, int(value)) for value in box)
    mask[y1:y2, x1:x2] = True
    return Vehicle(tuple(float(value) for value in box), mask, score, kind)


CENTRE, LEFT, CORNER = (80, 40, 120, 60), (0, 40, 40, 60), (0, 0, 40, 20)


@pytest.mark.parametrize(
    "vehicles, best, tie",
    [
        pytest.param([], None, False, id="none"),
        pytest.param([vehicle(CENTRE)], 0, False, id="one"),
        pytest.param([vehicle(CENTRE, 0.9), vehicle((10, 10, 90, 90), 0.6)], 1, False, id="area beats score"),
        pytest.param([vehicle(CENTRE, 0.3), vehicle((60, 40, 100, 60), 0.9)], 1, False, id="score decides equal areas"),
        pytest.param([vehicle(CORNER), vehicle(CENTRE)], 1, False, id="centre decides equal areas"),
        pytest.param([vehicle((80, 40, 118, 60)), vehicle(CENTRE)], 1, True, id="nearly equal"),
        pytest.param([vehicle(CENTRE), vehicle(CENTRE)], 0, True, id="equal: the first stays first"),
        pytest.param([vehicle((-30, -20, 40, 20)), vehicle((150, 0, 160, 10))], 0, False, id="out of frame"),
        pytest.param([vehicle((50, 50, 50, 50)), vehicle((0, 0, 5, 5))], 1, False, id="an empty mask is nothing"),
        pytest.param([vehicle((50, 50, 50, 50))], None, False, id="only an empty mask"),
        pytest.param([vehicle(CENTRE, 0.0)], None, False, id="no score"),
    ],
)
def test_rank(vehicles, best, tie):
    choice = rank_vehicles(vehicles, SIZE)
    expected = None if best is None else vehicles[best]
    assert choice.main is expected
    assert choose_main(vehicles, SIZE) is expected
    assert choice.tie is tie
    assert list(choice.weights) == sorted(choice.weights, reverse=True)
    assert len(choice.weights) == len(choice.runners_up) + (expected is not None)
    assert choice.nearly_equal == (0 if expected is None else 1 + tie)


def test_tie_begins_at_four_fifths():
    wide, narrow, narrower = vehicle((50, 40, 150, 60)), vehicle((60, 40, 140, 60)), vehicle((61, 40, 139, 60))
    assert rank_vehicles([wide, narrow], SIZE).tie
    assert not rank_vehicles([wide, narrower], SIZE).tie


def test_runners_up_are_ordered_and_counted():
    small, large, middle = vehicle((90, 45, 110, 55)), vehicle((60, 20, 140, 80)), vehicle((62, 20, 138, 80))
    choice = rank_vehicles([small, large, middle], SIZE)
    assert choice.main is large and choice.runners_up == (middle, small)
    assert choice.nearly_equal == 2


@pytest.mark.parametrize(
    "box, expected",
    [
        ((80, 40, 120, 60), 1.0),
        ((0, 0, 0, 0), 0.5),
        ((200, 100, 200, 100), 0.5),
        ((-500, -500, -400, -400), 0.5),
        ((50, 25, 50, 25), 0.75),
    ],
)
def test_centrality(box, expected):
    assert centrality(box, SIZE) == pytest.approx(expected)


def test_weight_is_area_times_score_times_centrality():
    assert vehicle_weight(vehicle(CENTRE, 0.5), SIZE) == pytest.approx(800 / 20_000 * 0.5)


def test_a_mask_of_another_size_is_an_error():
    with pytest.raises(ValueError, match="mask is"):
        rank_vehicles([vehicle((0, 0, 5, 5), size=(50, 50))], SIZE)


@pytest.mark.parametrize(
    "points, expected",
    [([], None), ([(0, 0)], (0, 0, 1, 1)), ([(3, 9)], (9, 3, 10, 4)), ([(1, 7), (3, 2)], (2, 1, 8, 4))],
)
def test_mask_box(points, expected):
    mask = np.zeros((4, 10), bool)
    for point in points:
        mask[point] = True
    assert mask_box(mask) == expected


@pytest.mark.parametrize("size, factor", [((100, 200), 1), ((300, 600), 3), ((50, 100), 0.5)])
def test_resize(size, factor):
    resized = resize_vehicle(vehicle((20, 10, 60, 40), kind="bus"), size)
    assert resized.mask.shape == size and resized.mask.dtype == bool
    assert resized.box == pytest.approx(tuple(factor * value for value in (20, 10, 60, 40)))
    assert mask_box(resized.mask) == pytest.approx(resized.box, abs=1)
    assert (resized.score, resized.kind) == (0.9, "bus")


@pytest.mark.parametrize(
    "row, expected",
    [
        ([0, 0, 1, 1, 0, 0], (2.0, 4.0)),
        ([1, 1, 1, 1, 1, 1], (0.0, 6.0)),
        ([0, 0.25, 1, 1, 0.4, 0], (2.5 - 0.5 / 0.75, 3.5 + 0.5 / 0.6)),
        ([0.5, 0.4, 0, 0, 0, 0], (0.0, 0.5)),
        ([0.4, 0.4, 0.4, 0, 0, 0], None),
    ],
)
def test_soft_box(row, expected):
    soft = np.zeros((3, 6))
    soft[1] = row
    box = soft_box(soft, 0.5)
    assert (box is None) == (expected is None)
    if expected:
        assert (box[0], box[2]) == pytest.approx(expected)
    assert soft_box(np.zeros((0, 4)), 0.5) is None


def test_a_small_change_of_the_mask_moves_its_box_by_little():
    soft = np.zeros((4, 8))
    soft[1:3, 2:6] = 1
    boxes = []
    for edge in np.linspace(0.45, 0.55, 11):
        soft[1:3, 6] = edge
        boxes.append(soft_box(soft, 0.5)[2])
    assert np.abs(np.diff(boxes)).max() < 0.11
