"""The demo's HTML page and the pieces that pages share: self-contained, well formed, and true to the numbers given."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np
import pytest

from carclf.recognition.prediction import Prediction
from carclf.runs.report.pages import Figure, picture, write_page
from carclf.tools.demo.html import Answer, Page, Pair, render
from tests.carclf.checked_html import check_page

PHOTO = np.full((40, 60, 3), (200, 30, 30), np.uint8)
EPOCHS = [
    {"stage": stage, "train_accuracy": 0.2 * n, "val_accuracy": 0.1 * n, "train_loss": 2.0 - n / 4, "val_loss": 2.1}
    for n, stage in enumerate(["head", "head", "three_quarters", "all"], 1)
]
OK = Prediction("a.jpg", "ok", "van", 0.75, (("van", 0.75), ("<suv>", 0.25)), (5, 5, 50, 30))
PAGE = Page(
    title="A & B",
    lead="What happened <here>.",
    figures=[Figure("75.0%", "accuracy", "3 of 4")],
    pairs=[Pair(PHOTO, PHOTO, "cut"), Pair(PHOTO, None, "missed")],
    epochs=EPOCHS,
    classes=("van", "<suv>"),
    confusion=np.array([[3, 0, 1], [0, 2, 0]]),
    answers=[Answer(PHOTO, "van", OK), Answer(PHOTO, "<suv>", OK), Answer(PHOTO, "no car", Prediction("b", "no_car"))],
    remarks=["One was missed."],
    places=[("Run", "out/run")],
    commands=[("Go on", "carclf predict PHOTOS")],
)


def test_the_page_is_well_formed_and_fetches_nothing():
    text = render(PAGE)
    pictures = check_page(text)
    assert len(pictures) == 6 and all(one.startswith("data:image/jpeg") for one in pictures)
    assert "<script" not in text


def test_text_is_escaped():
    text = render(PAGE)
    assert "A &amp; B" in text and "&lt;suv&gt;" in text and "<suv>" not in text


def test_everything_given_is_shown():
    text = render(PAGE)
    for part in ("75.0%", "One was missed.", "out/run", "carclf predict PHOTOS", "no car found", "three quarters"):
        assert part in text
    assert len(re.findall(r'<td class="hit"', text)) == 2 and len(re.findall(r'<td class="miss"', text)) == 1
    assert text.count("&#10003;") == 2 and text.count("&#10007;") == 1


def test_an_empty_page_leaves_its_parts_out():
    text = render(Page("Empty", "Nothing."))
    assert "<h2>" not in text and "<svg" not in text


def test_write_page_leaves_no_temp_file(tmp_path):
    path = write_page(render(PAGE), tmp_path / "sub" / "index.html")
    assert [file.name for file in path.parent.iterdir()] == ["index.html"]
    assert path.read_text(encoding="utf-8") == render(PAGE)


@pytest.mark.parametrize(
    ("shape", "size"), [((40, 60, 3), (40, 60)), ((880, 400, 3), (220, 100)), ((440, 2, 4), (220, 1))]
)
def test_pictures_are_inlined_and_small(shape, size):
    head, _, data = picture(np.full(shape, 90, np.uint8)).partition(",")
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)
    assert head == ("data:image/png;base64" if shape[2] == 4 else "data:image/jpeg;base64")
    assert decoded.shape[:2] == size


def test_pictures_keep_red_red():
    data = picture(PHOTO).partition(",")[2]
    blue, _, red = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR).mean(axis=(0, 1))
    assert red > 150 > 80 > blue
