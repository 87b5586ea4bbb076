"""COCO average precision, against cases that can be worked out by hand."""

import numpy as np
import pytest

from detection.evaluation.coco_ap import AveragePrecision
from detection.masks.records import read_source
from detection.vehicle import Vehicle, mask_box
from tests.coco_photos import make_coco


def block(x, y, w=40, h=40):
    mask = np.zeros((100, 200), bool)
    mask[y : y + h, x : x + w] = True
    return mask


def vehicle(mask, score, kind="car"):
    return Vehicle(mask_box(mask), mask, score, kind)


A, B = block(10, 10), block(120, 10)
SHIFTED = block(15, 10)  # IoU with A: 35 / 45 = 0.778: right up to the threshold 0.75, six of ten


@pytest.mark.parametrize(
    ("truths", "found", "ap", "ap50", "ap75"),
    [
        ([("car", A)], [("car", A, 0.9)], 1.0, 1.0, 1.0),
        ([("car", A)], [], 0.0, 0.0, 0.0),
        ([("car", A)], [("car", SHIFTED, 0.9)], 0.6, 1.0, 1.0),
        ([("car", A)], [("car", B, 0.9)], 0.0, 0.0, 0.0),
        # A false one that scores less costs nothing, one that scores more halves the precision.
        ([("car", A)], [("car", A, 0.9), ("car", B, 0.2)], 1.0, 1.0, 1.0),
        ([("car", A)], [("car", A, 0.2), ("car", B, 0.9)], 0.5, 0.5, 0.5),
        # Half of two found: precision 1 up to recall 0.5, that is 51 of 101 points.
        ([("car", A), ("car", B)], [("car", A, 0.9)], 51 / 101, 51 / 101, 51 / 101),
        # One kind only: whatever the detector calls it.
        ([("car", A)], [("truck", A, 0.9)], 1.0, 1.0, 1.0),
        # Several kinds: each by itself, then the mean.
        ([("car", A), ("truck", B)], [("car", A, 0.9), ("car", B, 0.8)], 0.5, 0.5, 0.5),
        ([("car", A), ("truck", B)], [("car", A, 0.9), ("truck", B, 0.8), ("bus", A, 0.9)], 1.0, 1.0, 1.0),
    ],
)
def test_average_precision(truths, found, ap, ap50, ap75):
    average = AveragePrecision()
    average.add([mask for _, mask in truths], [kind for kind, _ in truths], [vehicle(m, s, k) for k, m, s in found])
    figures = average.figures()
    expected = {"ap": ap, "ap50": ap50, "ap75": ap75, "box_ap": ap, "box_ap50": ap50, "box_ap75": ap75}
    assert figures == pytest.approx(expected)


def test_a_photo_without_vehicles_counts_what_is_found_on_it():
    average = AveragePrecision()
    average.add([], [], [vehicle(A, 0.95)])
    average.add([A], ["car"], [vehicle(A, 0.9)])
    assert average.figures()["ap"] == pytest.approx(0.5)
    empty = AveragePrecision()
    empty.add([], [], [vehicle(A, 0.95)])
    assert empty.figures() == {}


def test_boxes_and_masks_are_told_apart(capsys):
    ring = A.copy()
    ring[20:40, 20:40] = False  # its box is right, a quarter of the mask is missing
    average = AveragePrecision()
    average.add([A], ["car"], [vehicle(ring, 0.9)])
    figures = average.figures()
    assert figures["box_ap"] == pytest.approx(1.0) and figures["ap"] == pytest.approx(0.6)
    assert capsys.readouterr().out == "", "pycocotools prints its table; stdout is for results"


def test_of_records(tmp_path):
    records = read_source(make_coco(tmp_path, cars=3, empties=1))
    perfect, blind = AveragePrecision(), AveragePrecision()
    for record in records:
        masks = record.decoded_masks()
        kinds = record.categories or ("car",) * len(masks)
        perfect.add(masks, kinds, [vehicle(mask, 0.9) for mask in masks])
        blind.add(masks, kinds, [])
    assert perfect.figures()["ap"] == pytest.approx(1.0)
    assert blind.figures()["ap"] == 0
