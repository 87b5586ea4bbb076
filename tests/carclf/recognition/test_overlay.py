"""Overlays: what is painted where, in which size, and that labels stay in the picture and apart."""

from __future__ import annotations

import numpy as np
import pytest

from carclf.recognition.pictures.overlay import COLOURS, Overlay, _fit
from carclf.recognition.prediction import Prediction
from detection.images.lettering import text_length
from detection.vehicle import Vehicle

NAME = "Chevrolet Silverado 1500 Hybrid Crew Cab 2012"


def vehicle(box, size):
    mask = np.zeros(size, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return Vehicle(tuple(map(float, box)), mask, 0.9)


def overlay(size, *boxes, status="ok", label=NAME, value=128):
    drawn = Overlay(np.full((*size, 3), value, np.uint8))
    for rank, box in enumerate(boxes, 1):
        top = ((label, 0.83), ("Other 2010", 0.1), ("Third", 0.02))
        rank = rank if len(boxes) > 1 else None
        reason = "the classifier failed: RuntimeError" if status == "error" else ""
        drawn.add(Prediction("f", status, label, 0.83, top, tuple(map(float, box)), reason, rank), vehicle(box, size))
    return drawn.finish()


def where(image, colour, tolerance=30):
    return np.abs(image.astype(int) - colour).max(axis=2) < tolerance


def test_the_mask_is_tinted_outlined_and_boxed_and_the_rest_is_as_it_was():
    image = overlay((600, 800), (300, 300, 500, 450))
    assert image.shape == (600, 800, 3) and image.dtype == np.uint8
    green = np.array(COLOURS["ok"])
    inside = image[350:400, 350:450].reshape(-1, 3).astype(int)
    np.testing.assert_allclose(inside, np.rint(128 + 0.22 * (green - 128)) + np.zeros_like(inside), atol=1)
    assert where(image[295:305, 350:450], green).any() and where(image[445:455, 350:450], green).any()
    assert (image[480:] == 128).all() and (image[:200] == 128).all()
    assert (image[220:300, 300:500].max(axis=2) > 240).any(), "the name stands above the car"


@pytest.mark.parametrize(
    ("size", "expected"),
    [((60, 90), (427, 640)), ((640, 500), (640, 500)), ((3000, 4000), (1200, 1600)), ((640, 20), (640, 20)),
     ((1, 700), (1, 700))],
)  # fmt: skip
def test_small_photos_grow_and_huge_ones_shrink(size, expected):
    height, width = size
    box = (0, 0, max(1, width // 2), max(1, height // 2))
    assert overlay(size, box).shape == (*expected, 3)


@pytest.mark.parametrize("box", [(0, 0, 640, 480), (600, 0, 640, 30), (0, 450, 60, 480), (600, 440, 640, 480)])
@pytest.mark.parametrize("status", ["ok", "unknown", "error"])
def test_a_label_is_whole_wherever_the_car_is(box, status):
    label = overlay((480, 640), box, status=status)
    assert label.shape == (480, 640, 3)
    colour = where(label, COLOURS[status])
    rows, columns = np.flatnonzero(colour.sum(axis=1) > 100), np.flatnonzero(colour.sum(axis=0) > 14)
    assert len(rows) >= 20 and len(columns) >= 150, "all of it lies in the picture"


def test_statuses_differ_in_colour_and_words():
    for status in ("unknown", "no_car", "error"):
        image = overlay((480, 640), (100, 200, 400, 400), status=status)
        assert where(image, COLOURS[status], 12).any() and not where(image, COLOURS["ok"], 12).any()
    drawn = Overlay(np.zeros((480, 640, 3), np.uint8))
    drawn.add(Prediction("f", "no_car", reason="no vehicle found in the photo"), None)
    image = drawn.finish()
    assert where(image, COLOURS["no_car"], 30)[:60, :200].any() and (image[100:] == 0).all()


def test_labels_of_neighbours_do_not_cover_each_other():
    drawn = Overlay(np.full((480, 640, 3), 128, np.uint8))
    for rank in range(1, 7):
        box = (100 + 20 * rank, 200, 160 + 20 * rank, 260)
        drawn.add(Prediction("f", "ok", NAME, 0.8, ((NAME, 0.8),), tuple(map(float, box)), "", rank), None)
    sizes, taken = [(380, 24)] * 6, []
    for size in sizes:
        left, top = drawn._place(size, (120.0, 200.0, 180.0, 260.0), taken)
        assert 0 <= left <= 640 - size[0] and 0 <= top <= 480 - size[1]
        assert all(top + size[1] <= other[1] or top >= other[3] for other in taken)
        taken.append((left, top, left + size[0], top + size[1]))
    drawn.finish()


def test_a_line_that_is_too_wide_keeps_its_figure():
    text, size, bold = _fit(NAME, "  83%", 20, True, 120)
    assert text.endswith("…  83%") and text_length(text, size, bold) <= 120 and size == 11
    assert _fit("Лада Нива", "  83%", 20, True, 400) == ("Лада Нива  83%", 20, True), "the font knows Cyrillic"


def test_the_photo_itself_is_not_painted_on():
    photo = np.full((640, 640, 3), 128, np.uint8)
    drawn = Overlay(photo)
    drawn.add(Prediction("f", "ok", "x", 0.8, (("x", 0.8),), (10, 10, 90, 90)), vehicle((10, 10, 90, 90), (640, 640)))
    drawn.finish()
    assert (photo == 128).all()
