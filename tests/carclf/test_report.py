"""The HTML page and its charts: self-contained, well formed, and true to the numbers given."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from carclf.charts import line_chart
from carclf.pipeline import Prediction
from carclf.report import Answer, Figure, Page, Pair, picture, render, write_page

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


class Tags(HTMLParser):
    """Notes tags that are opened and not closed."""

    VOID = ("meta", "img", "link", "br")

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_fetches_nothing():
    text = render(PAGE)
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert set(re.findall(r'src="([^",]{0,30})', text)) == {"data:image/jpeg;base64"}
    assert not re.search(r"https?://|url\(|@import|<script|<link", text)


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
    path = write_page(PAGE, tmp_path / "sub" / "index.html")
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


def test_line_chart_has_a_point_an_epoch_and_a_band_a_stage():
    svg = ElementTree.fromstring(line_chart({"validation": [0.1, 0.5, float("nan")]}, ["a", "a", "b"], "T", True))
    assert len(svg.findall("circle")) == 2 and len(svg.findall("rect")) == 2
    assert [text.text for text in svg.findall("text") if text.get("class") == "stage"] == ["a", "b"]
    first, second = (float(circle.get("cy")) for circle in svg.findall("circle"))
    assert first > second  # more is higher


@pytest.mark.parametrize("values", [[], [float("nan")]])
def test_a_chart_of_nothing_is_empty(values):
    assert line_chart({"validation": values}, ["a"] * len(values), "T") == ""


@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0], [-2.0, 1e-3], [1e6, 3.0]])
def test_ticks_enclose_the_values(values):
    svg = ElementTree.fromstring(line_chart({"loss": values}, ["a"] * len(values), "T"))
    ticks = [float(text.text) for text in svg.findall("text") if text.get("class") == "tick"]
    assert min(ticks) <= min(values) and max(ticks) >= max(values) and 2 <= len(ticks) <= 9
