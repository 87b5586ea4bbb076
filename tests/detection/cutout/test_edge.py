"""The edge fitted to the picture: on drawn cars whose true outline is known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from detection.cutout import edge
from detection.cutout.edge import finish_vehicle, without_strays
from detection.evaluation.boundary import boundary_f_score
from detection.evaluation.evaluate import iou
from detection.vehicle import Vehicle, mask_box


def scene(size=(300, 480), seed=0):
    """A textured photo (RGB uint8) with a car-like shape, its true mask, and that mask as 28 cells would give it."""
    rng = np.random.default_rng(seed)
    height, width = size
    truth = np.zeros(size, np.uint8)
    cv2.ellipse(truth, (width // 2, height // 2), (width // 3, height // 5), 0, 0, 360, 1, -1)
    cv2.rectangle(truth, (width // 3, height // 5), (2 * width // 3, height // 2), 1, -1)
    cv2.circle(truth, (width // 3, int(0.68 * height)), height // 9, 1, -1)
    car, wall = np.array([170, 40, 35]), np.array([60, 90, 120])
    photo = np.where(truth[..., None] > 0, car, wall) + rng.normal(0, 6, (*size, 3))
    photo = cv2.GaussianBlur(np.clip(photo, 0, 255).astype(np.uint8), (0, 0), 0.7)
    x1, y1, x2, y2 = mask_box(truth > 0)
    cells = cv2.resize(truth[y1:y2, x1:x2] * 255, (28, 28), interpolation=cv2.INTER_AREA)
    coarse = np.zeros(size, bool)
    coarse[y1:y2, x1:x2] = cv2.resize(cells, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR) > 127
    return photo, truth > 0, coarse


def vehicle(mask, score=0.9):
    return Vehicle(tuple(map(float, mask_box(mask))), mask, score, "truck")


EDGES = ("guided", "trained")


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("size", [(300, 480), (480, 300), (900, 1440)])
def test_the_edge_comes_nearer_to_the_truth(size, edge):
    photo, truth, coarse = scene(size)
    fitted = finish_vehicle(photo, vehicle(coarse), edge)
    assert iou(truth, fitted.mask) > iou(truth, coarse) + 0.002
    assert boundary_f_score(truth, fitted.mask) > boundary_f_score(truth, coarse) + 0.02
    assert (fitted.score, fitted.kind) == (0.9, "truck")
    assert fitted.box == pytest.approx(mask_box(fitted.mask), abs=0.5)


@pytest.mark.parametrize("edge", EDGES)
def test_alpha_is_soft_at_the_edge_only(edge):
    photo, truth, coarse = scene()
    alpha = finish_vehicle(photo, vehicle(coarse), edge).alpha
    assert alpha.dtype == np.uint8 and alpha.shape == truth.shape
    far = cv2.distanceTransform((~truth).astype(np.uint8), cv2.DIST_L2, 5)
    deep = cv2.distanceTransform(truth.astype(np.uint8), cv2.DIST_L2, 5)
    assert (alpha[far > 16] == 0).all() and (alpha[deep > 16] == 255).all()
    soft = (alpha > 12) & (alpha < 243)
    assert 0 < soft.sum() < 8 * (cv2.morphologyEx(truth.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3)))).sum()


@pytest.mark.parametrize("edge", EDGES)
def test_nothing_is_changed_in_place_and_the_answer_is_the_same_twice(edge):
    photo, _, coarse = scene()
    before, mask = photo.copy(), coarse.copy()
    one, two = finish_vehicle(photo, vehicle(coarse), edge), finish_vehicle(photo, vehicle(coarse), edge)
    assert np.array_equal(photo, before) and np.array_equal(coarse, mask)
    assert np.array_equal(one.alpha, two.alpha)


def test_on_a_flat_photo_the_mask_stays():
    _, _, coarse = scene()
    fitted = finish_vehicle(np.full((*coarse.shape, 3), 90, np.uint8), vehicle(coarse))
    assert iou(coarse, fitted.mask) > 0.98


def test_the_trained_edge_is_another_one():
    photo, _, coarse = scene()
    guided, trained = (finish_vehicle(photo, vehicle(coarse), edge).alpha for edge in EDGES)
    assert not np.array_equal(guided, trained) and iou(guided > 127, trained > 127) > 0.97


@pytest.mark.parametrize("scale", [1, 3])
def test_a_car_that_the_frame_cuts_off_does_not_fade_there(scale):
    photo, truth, coarse = (array[60:240, 200:] for array in scene())
    photo = cv2.resize(photo, None, fx=scale, fy=scale)
    mask, car = (cv2.resize(array.astype(np.uint8), photo.shape[1::-1]) > 0 for array in (coarse, truth))
    alpha = finish_vehicle(photo, vehicle(mask), "trained").alpha
    inside = cv2.erode(car.astype(np.uint8), np.ones((9 * scale, 1), np.uint8))[:, :2] > 0
    assert inside.sum() > 100 and alpha[:, :2][inside].min() > 200


def test_threads_share_the_network():
    photo, _, coarse = scene()
    alone = finish_vehicle(photo, vehicle(coarse), "trained").alpha
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: finish_vehicle(photo, vehicle(coarse), "trained").alpha, range(8)))
    assert all(np.array_equal(alone, one) for one in together)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("box", [(5, 5, 6, 6), (0, 0, 480, 300), (0, 100, 480, 101), (470, 290, 480, 300)])
def test_odd_masks(box, edge):
    photo, _, _ = scene()
    mask = np.zeros(photo.shape[:2], bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    fitted = finish_vehicle(photo, vehicle(mask), edge)
    assert fitted.mask.any() and fitted.mask.shape == mask.shape


def test_strays_go_and_halves_stay():
    mask = np.zeros((100, 200), bool)
    mask[20:80, 20:90] = mask[20:80, 100:180] = True  # a car behind a pole
    mask[2:5, 190:194] = True  # a stray
    cleared = without_strays(mask)
    assert not cleared[:10].any() and np.array_equal(cleared[10:], mask[10:])
    assert without_strays(np.zeros((4, 4), bool)).shape == (4, 4)


def test_wrong_size():
    photo, _, coarse = scene()
    with pytest.raises(ValueError, match="mask is"):
        finish_vehicle(photo[:-1], vehicle(coarse))


@pytest.mark.parametrize("size", [(300, 480), (900, 1440), (60, 80), (9, 11)])
def test_what_is_solved_along_the_edge_alone_is_as_if_all_were(monkeypatch, size):
    photo, _, coarse = scene(size)
    coarse[: size[0] // 2, : size[1] // 4] = True  # to the frame
    here = finish_vehicle(photo, vehicle(coarse))
    real = edge._linear_model
    monkeypatch.setattr(edge, "_linear_model", lambda *given: real(*given[:3], np.ones_like(given[3])))
    everywhere = finish_vehicle(photo, vehicle(coarse))
    assert here.box == everywhere.box
    np.testing.assert_array_equal(here.alpha, everywhere.alpha)
