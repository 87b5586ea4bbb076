"""Slices by hand: which photos are in which, and that changed cut-outs come from one look of the detector."""

from functools import partial

import cv2
import numpy as np
import pandas as pd
import pytest

from carclf.evaluation.chain import evaluate_chain
from carclf.evaluation.slices import Renderings, recompressed
from carclf.recognition.prediction import Prediction, Recognition
from carclf.recognition.recognizer import CarRecognizer
from carclf.runs.report.page import write_run_report
from detection.images.write import save_image
from tests.carclf.recognition.test_recognizer import BLUE, GREY, RED, ColourClassifier
from tests.fakes import FakeDetector, draw_car


class CountingDetector(FakeDetector):
    looked = 0

    def detect(self, images):
        type(self).looked += len(images)
        return super().detect(images)


@pytest.fixture
def table(tmp_path):
    """Two red cars and a blue one called red, at twice the usual size; one photo has no car."""
    pictures = {"side1": draw_car(RED), "side2": draw_car(BLUE), "corner1": draw_car(RED), "corner2": GREY}
    for name, picture in pictures.items():
        save_image(tmp_path / f"{name}.png", cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST))
    files = [str(tmp_path / f"{name}.png") for name in pictures]
    return pd.DataFrame({"file": files, "label": "red", "view": ["side", "side", "corner", "corner"]})


def test_each_slice_has_its_photos(table, tmp_path):
    CountingDetector.looked = 0
    recognizer = CarRecognizer(ColourClassifier(), CountingDetector())
    metrics = evaluate_chain(recognizer, table, tmp_path / "out", slices=True)
    assert CountingDetector.looked == len(table)
    rows = pd.read_csv(tmp_path / "out" / "slices.csv", keep_default_na=False).set_index(["slice", "value"])
    found = {key: (row["photos"], row["accuracy"]) for key, row in rows.iterrows()}
    assert found["all", ""] == (4, 0.5) and metrics["accuracy"] == 0.5
    assert found["view", "side"] == (2, 0.5) and found["view", "corner"] == (2, 0.5)
    # The boxes are 64x32 of 128x96 px, and none touches a border.
    assert found["car", "small, under 25% of the photo"] == (3, pytest.approx(2 / 3, abs=1e-6))
    assert found["border", "whole"][0] == 3 and ("border", "cut off") not in found
    assert found["light", "other"][0] == 4 and found["other vehicles", "none"][0] == 3
    # At most 140 px are left of a cut-out: larger slices are empty.
    assert {value for name, value in found if name == "crop size"} == {"112 px"}
    assert [found["JPEG quality", quality][0] for quality in ("30", "60", "90")] == [3, 3, 3]
    assert float(rows.loc[("JPEG quality", "30"), "as_is"]) == pytest.approx(2 / 3, abs=1e-6)
    assert rows.loc[("all", ""), "lost"] == 0.25 and rows.loc[("view", "side"), "lost"] == 0
    assert (rows["accuracy_low"] <= rows["accuracy"]).all() and (rows["accuracy"] <= rows["accuracy_high"]).all()
    assert "Slice by slice" in write_run_report(tmp_path / "out").read_text()
    evaluate_chain(recognizer, table, tmp_path / "plain")
    assert not (tmp_path / "plain" / "slices.csv").exists()


def test_a_border_is_touched_where_the_box_is_within_a_hundredth(tmp_path):
    table = pd.DataFrame({"file": ["a.jpg", "b.jpg"], "label": ["a", "a"]})

    def row(box):
        return Recognition(Prediction("", "ok", box=box), np.array([0.6, 0.4]), 0.1, (100, 200), 1)

    from carclf.evaluation.slices import slice_table

    rows = [row((2, 20, 150, 95)), row((2.1, 20, 100, 98))]
    made = slice_table(table, rows, Renderings(partial(np.zeros, 1)), ["a", "b"], 0.5).set_index(["slice", "value"])
    assert made.loc[("border", "cut off"), "photos"] == 1 and made.loc[("border", "whole"), "photos"] == 1
    assert made.loc[("light", "dark"), "photos"] == 2 and made.loc[("other vehicles", "near"), "photos"] == 2
    assert made.loc[("car", "large, over 50% of the photo"), "photos"] == 1


def test_each_change_reaches_the_classifier_and_no_picture_stays():
    sizes = []

    def predict(crops):
        sizes.append([crop.shape[:2] for crop in crops])
        return np.tile([0.5, 0.5], (len(crops), 1))

    crops = [np.zeros((200, 400, 3), np.uint8), np.zeros((100, 150, 3), np.uint8)]
    rows = [Recognition(Prediction("", "ok"), np.ones(2), cutout=crop, photo=crop) for crop in crops]
    renderings = Renderings(predict)
    assert all(row.photo is None and row.cutout is None for row in renderings.through(rows))
    assert sizes == [[(56, 112), (75, 112)], [(80, 160)], [(112, 224)], [(160, 320)]] + [[(200, 400), (100, 150)]] * 3
    assert sorted(renderings.answers["crop size", "112 px"]) == [0, 1]
    assert sorted(renderings.answers["crop size", "320 px"]) == [0]


def test_compression_keeps_the_picture_and_loses_by_quality():
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    picture[..., 0] = 200  # colours stay in their order
    lost = [np.abs(recompressed(picture, quality).astype(int) - picture).mean() for quality in (30, 60, 90)]
    assert lost[0] > lost[1] > lost[2] and recompressed(picture, 90).shape == picture.shape
    assert recompressed(np.full((16, 16, 3), (200, 20, 30), np.uint8), 95)[8, 8, 0] > 180
