import json

import numpy as np
import pandas as pd
import pytest

from carclf.evaluation.brightness import by_brightness, darkened
from carclf.evaluation.chain import evaluate_chain
from carclf.recognition.recognizer import CarRecognizer
from tests.carclf.recognition.test_recognizer import RED, ColourClassifier
from tests.fakes import FakeDetector, draw_car


def test_groups_of_equal_number_from_dark_to_bright():
    light = np.array([0.9, 0.1, np.nan, 0.5, 0.4])
    right = np.array([True, False, True, True, False])
    table = by_brightness(light, right, bins=2)
    assert table[["low", "high", "photos", "accuracy"]].to_numpy().tolist() == [[0.1, 0.4, 2, 0], [0.5, 0.9, 2, 1]]
    assert len(by_brightness(np.full(3, np.nan), np.ones(3, bool))) == 0


def test_a_darkened_photo_is_named_like_the_bright_one(photos, tmp_path):
    table = pd.DataFrame({"file": [str(photos / "red.jpg"), str(photos / "gone.jpg")], "label": ["red", "red"]})
    recognizer = CarRecognizer(ColourClassifier(), FakeDetector())
    metrics = evaluate_chain(recognizer, table, tmp_path / "dark", darken=0.25)
    assert metrics["accuracy"] == 0.5 and metrics["status"] == {"ok": 1, "unreadable": 1}
    rows = pd.read_csv(tmp_path / "dark/brightness.csv")
    assert rows["photos"].tolist() == [1] and rows["high"].item() < 0.2
    assert json.loads((tmp_path / "dark/metrics.json").read_text())["darken"] == 0.25


def test_values_are_multiplied(photos):
    (item,) = darkened([str(photos / "grey.jpg")], 0.5)
    item.read()
    assert item.photo.max() <= 70 and item.brightness == pytest.approx(0.25, abs=0.01)
    assert draw_car(RED).max() > 200  # the others are not touched
