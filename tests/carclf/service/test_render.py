"""Outlines and small pictures."""

from __future__ import annotations

import base64
import io

import cv2
import numpy as np
import pytest
from PIL import Image

from carclf.recognition.prediction import Prediction, Recognition
from carclf.service.contract import Answer
from carclf.service.local.render import data_uri, outline, public_reason, to_answer


def filled(polygons, shape) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.round(np.array(polygon) - 0.5).astype(np.int32)], 1)
    return mask.astype(bool)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def test_an_outline_fills_to_the_mask():
    mask = np.zeros((300, 400), np.uint8)
    cv2.ellipse(mask, (200, 150), (150, 80), 10, 0, 360, 1, -1)
    cv2.circle(mask, (120, 230), 40, 1, -1)
    mask = mask.astype(bool)
    polygons = outline(mask)
    assert overlap(filled(polygons, mask.shape), mask) > 0.97
    assert sum(map(len, polygons)) < 60


def test_parts_come_with_the_largest_first_and_without_specks():
    mask = np.zeros((200, 300), bool)
    mask[20:60, 20:60] = True
    mask[100:180, 100:280] = True
    mask[5:7, 200:202] = True
    polygons = outline(mask)
    assert len(polygons) == 2
    assert polygons[0] == [(100, 100), (100, 180), (280, 180), (280, 100)]


@pytest.mark.parametrize("box", [(0, 0, 30, 40), (0, 0, 1, 1), (29, 39, 30, 40), (0, 10, 30, 20)])
def test_the_frame_is_no_limit(box):
    top, left, bottom, right = box
    mask = np.zeros((30, 40), bool)
    mask[top:bottom, left:right] = True
    for polygon in outline(mask):
        xs, ys = zip(*polygon, strict=True)
        assert (min(xs), min(ys), max(xs), max(ys)) == (left, top, right, bottom)


def test_an_empty_mask_has_no_outline():
    assert outline(np.zeros((10, 10), bool)) == []


def test_coordinates_are_scaled():
    mask = np.zeros((30, 40), bool)
    mask[10:20, 10:30] = True
    assert outline(mask, 10, 5) == [[(100, 50), (100, 100), (300, 100), (300, 50)]]


@pytest.mark.parametrize(("shape", "size"), [((960, 1920), (480, 240)), ((100, 50), (50, 100)), ((4000, 3), (1, 480))])
def test_pictures_are_small_enough_for_a_page(shape, size):
    kind, data = data_uri(np.zeros((*shape, 3), np.uint8)).split(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert kind == "data:image/jpeg;base64" and image.size == size


def test_a_colour_survives_the_queue():
    told = Prediction("a.jpg", "unknown", colour="red", colour_confidence=0.8)
    answer = Answer.model_validate_json(to_answer(Recognition(told), "b.jpg", (4, 3)).model_dump_json())
    assert (answer.colour, answer.colour_confidence) == ("red", 0.8)
    older = Answer.model_validate({"file": "a.jpg", "status": "ok"})  # of a worker that tells no colours
    assert older.colour is None and older.colour_confidence is None


def test_reasons_of_errors_are_for_the_log():
    assert public_reason("error", "the detector failed: OSError: /srv") == "the detector failed"
    assert public_reason("unknown", "not one: 5 %") == "not one: 5 %"


def test_an_answer_at_a_level_survives_the_queue():
    told = Prediction(
        "a.jpg", "ok", "Audi", 0.95, level="make", make="Audi", make_confidence=0.95, model_confidence=0.5,
        year_confidence=0.4, likely=("Audi S4", "Audi A4"),
    )  # fmt: skip
    answer = Answer.model_validate_json(to_answer(Recognition(told), "b.jpg", (4, 3)).model_dump_json())
    assert (answer.label, answer.level, answer.make, answer.model, answer.year) == ("Audi", "make", "Audi", None, None)
    assert (answer.make_confidence, answer.model_confidence, answer.year_confidence) == (0.95, 0.5, 0.4)
    assert answer.said == "Audi, probably an S4 or an A4"
    older = {"file": "a.jpg", "status": "ok", "label": "Audi A4 2010"}  # of a worker that knows no levels
    assert Answer.model_validate(older).level is None and Answer.model_validate(older).said is None
