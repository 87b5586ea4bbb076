"""The errors, their order, and their contact sheet."""

import cv2
import numpy as np

from carclf.evaluation.mistakes import example_photos, rank_errors, save_error_sheet
from detection.images.contact_page import page_size
from detection.images.read import load_image


def _row(file, label, predicted, confidence, **more):
    correct = label == predicted
    row = {"file": str(file), "label": label, "predicted": predicted, "confidence": confidence, "correct": correct}
    return row | {"label_probability": 0.1, "rank": 2, "status": "ok", "reason": ""} | more


ROWS = [
    _row("1.jpg", "a", "a", 0.7),
    _row("2.jpg", "a", "b", 0.6),
    _row("3.jpg", "b", "", "", status="no_car", reason="no vehicle"),
    _row("4.jpg", "b", "a", 0.95),
    _row("5.jpg", "a", "a", 0.9),
    _row("6.jpg", "a", "b", 0.6),
]


def test_the_most_confident_errors_come_first_and_no_answers_last():
    errors = rank_errors(ROWS)
    assert errors["file"].tolist() == ["4.jpg", "2.jpg", "6.jpg", "3.jpg"]
    assert errors["predicted"].tolist() == ["a", "b", "b", ""] and errors["reason"].iloc[-1] == "no vehicle"


def test_examples_are_the_surest_right_ones():
    assert example_photos(ROWS) == {"a": "5.jpg", "b": "3.jpg"}


def test_the_sheet_shows_photo_and_example(tmp_path):
    for name, colour in (("red", (0, 0, 255)), ("blue", (255, 0, 0))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((143, 190, 3), colour, np.uint8))
    rows = [_row(tmp_path / "red.png", "a", "b", 0.9), _row(tmp_path / "blue.png", "b", "b", 0.9)]
    save_error_sheet(rows, tmp_path / "errors.jpg")
    sheet = load_image(tmp_path / "errors.jpg").astype(int)
    assert sheet.shape[:2] == page_size(3, 1)
    red = (sheet[..., 0] > 200) & (sheet[..., 2] < 60)
    blue = (sheet[..., 2] > 200) & (sheet[..., 0] < 60)
    assert red.sum() > 20_000 and blue.sum() > 20_000
    assert np.nonzero(red)[1].max() < np.nonzero(blue)[1].min()  # the mistaken one is on the left


def test_photos_that_are_gone_do_not_stop_it_and_no_errors_leave_no_sheet(tmp_path):
    save_error_sheet(ROWS, tmp_path / "errors.jpg")
    assert load_image(tmp_path / "errors.jpg").shape[:2] == page_size(3, 2)
    save_error_sheet(ROWS[:1], tmp_path / "errors.jpg")
    assert not (tmp_path / "errors.jpg").exists()
