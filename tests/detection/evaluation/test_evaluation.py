"""The figures of a detector on photos whose masks are known."""

import numpy as np
import pytest

from detection.evaluation.evaluate import evaluate_detector, iou
from detection.masks.records import read_source
from detection.vehicle import Vehicle
from tests.coco_photos import make_coco


class Scripted:
    """Answers with what `answer(image)` makes of it."""

    def __init__(self, answer):
        self.answer = answer

    def detect(self, images):
        return [self.answer(image) for image in images]


def blocks(image, grow=0, score=0.9):
    """The bright block of a made photo, its box `grow` pixels larger on each side."""
    mask = image.max(axis=2) > 150
    if not mask.any():
        return []
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x1, y1, x2, y2 = max(0, xs[0] - grow), max(0, ys[0] - grow), xs[-1] + 1 + grow, ys[-1] + 1 + grow
    full = np.zeros_like(mask)
    full[y1:y2, x1:x2] = True
    return [Vehicle((x1, y1, x2, y2), full, score)]


@pytest.fixture
def records(tmp_path):
    return read_source(make_coco(tmp_path, cars=6, empties=2))


@pytest.mark.parametrize(
    ("a", "b", "expected"), [([1, 1, 0], [1, 0, 0], 0.5), ([1, 0, 0], [1, 0, 0], 1.0), ([0, 0, 0], [0, 0, 0], 0.0)]
)
def test_iou(a, b, expected):
    assert iou(np.array([a], bool), np.array([b], bool)) == expected


def test_a_blind_detector_misses_everything(records):
    figures = evaluate_detector(Scripted(lambda image: []), records)
    assert figures["missed"] == 6 and figures["main_iou"] == 0 and figures["false_share"] == 0
    assert figures["ap"] == figures["box_ap"] == figures["boundary_f"] == 0


def test_a_perfect_detector_scores_one(records):
    figures = evaluate_detector(Scripted(blocks), records)
    assert figures["main_iou"] > 0.98 and figures["missed"] == 0 and figures["photos"] == 8
    assert figures["boundary_f"] > 0.99 and figures["ap"] > 0.95 and figures["ap50"] == figures["ap75"] == 1.0


def test_a_wide_edge_costs_precision_and_the_finish_is_measured(records):
    # 5 px on each side of 80x60: IoU 4800 / 6300.
    figures = evaluate_detector(Scripted(lambda image: blocks(image, grow=5)), records)
    assert figures["main_iou"] == pytest.approx(4800 / 6300, abs=0.02)
    assert figures["boundary_f"] < 0.2 and figures["ap50"] == 1.0 and figures["ap"] < 0.7

    def finish(image, vehicle):
        return blocks(image)[0]

    finished = evaluate_detector(Scripted(lambda image: blocks(image, grow=5)), records, finish)
    assert finished["main_iou"] > 0.98 and finished["boundary_f"] > 0.99
    assert finished["best_iou"] == figures["best_iou"] and finished["ap"] == figures["ap"], "AP is the detector's"


def test_photos_without_a_vehicle_alone_have_no_precision(records):
    empties = [record for record in records if not record.masks]
    whole = Vehicle((0, 0, 160, 120), np.ones((120, 160), bool), 0.9)
    figures = evaluate_detector(Scripted(lambda image: [whole]), empties)
    assert figures["false_share"] == 1 and "ap" not in figures and "main_iou" not in figures


def test_precision_counts_low_scores_that_the_other_figures_leave_out(records):
    """With a real model: the threshold is lowered for AP alone, and put back."""
    from detection.detectors.load import load_detector

    detector = load_detector("compact", device="cpu", score_threshold=0.9999, runtime="torch").without_check
    predictor = detector.model.roi_heads.box_predictor
    seen = []
    original = detector.model.inference

    def inference(*args, **named):
        seen.append(predictor.test_score_thresh)
        return original(*args, **named)

    detector.model.inference = inference
    figures = evaluate_detector(detector, records[:2])
    detector.detect([records[0].image()])
    assert set(seen) == {0.05, 0.9999} and seen[-1] == 0.9999
    assert figures["missed"] == 2
