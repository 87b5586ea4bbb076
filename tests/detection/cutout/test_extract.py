"""From photo to cut-out: the same for a folder run and for prediction."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from carclf.recognition.recognizer import CarRecognizer
from detection.cutout.cut import CutoutStyle
from detection.cutout.extract import DETECT_SIDE, detector_view, extract, shrink_crop
from detection.images.read import load_image
from detection.vehicle import choose_main
from tests.fakes import FakeDetector, draw_car
from tests.folder_runs import put, rows, run


class Seen:
    """A classifier that notes the crops that it is given."""

    classes, detector = ("a", "b"), "fake"

    def __init__(self, style):
        self.style, self.crops = style, []

    def predict(self, crops, batch_size=32):
        self.crops += list(crops)
        return np.full((len(crops), 2), 0.5, np.float32)


@pytest.mark.parametrize("size", [(96, 128), (1200, 1800)])  # the larger one is detected at a smaller size
@pytest.mark.parametrize("background", ["white", "blur"])
def test_prediction_sees_the_crops_that_a_folder_run_writes(tmp_path, size, background):
    height, width = size
    noise = np.random.default_rng(0).integers(0, 12, (*size, 1), np.uint8)
    box = (width // 4, height // 3, width * 3 // 4 + 1, height * 3 // 4)
    put(tmp_path / "in" / "x.png", draw_car(size=size, box=box) + noise)
    style, classifier = CutoutStyle(background=background), Seen(CutoutStyle(background=background))
    run(tmp_path / "in", tmp_path / "out", style, image_format="png")
    prediction = CarRecognizer(classifier, FakeDetector())(tmp_path / "in" / "x.png")
    np.testing.assert_array_equal(classifier.crops[0], load_image(tmp_path / "out" / "x.png"))
    row = rows(tmp_path / "out")["x.png"]
    assert prediction.box == tuple(float(row[key]) for key in ("x1", "y1", "x2", "y2"))


def test_a_huge_crop_is_shrunk_only_while_it_waits_for_the_classifier(monkeypatch):
    monkeypatch.setattr("carclf.recognition.chain.item.CROP_PIXELS", 20_000)
    classifier = Seen(CutoutStyle(padding=0, background="transparent"))
    CarRecognizer(classifier, FakeDetector())(draw_car(size=(300, 400), box=(10, 10, 390, 290)))
    crops = SimpleNamespace(classes=("a",), style=CutoutStyle(), predict=classifier.predict, detector="")
    CarRecognizer(crops, crops=True)(draw_car(size=(300, 400)))
    for crop in classifier.crops:
        assert crop.shape[2] == 3 and 19_500 < crop.shape[0] * crop.shape[1] < 20_500


def test_extract_is_in_pixels_of_the_photo():
    image = draw_car(size=(1350, 1800), box=(450, 450, 1350, 900))
    small = detector_view(image)
    assert small.shape == (DETECT_SIDE * 3 // 4, DETECT_SIDE, 3)
    found = choose_main(FakeDetector().detect([small])[0], small.shape[:2])
    crop, vehicle = extract(image, found, CutoutStyle(padding=0))
    assert vehicle.mask.shape == (1350, 1800)
    assert vehicle.box == pytest.approx((450, 450, 1350, 900), abs=3)
    assert crop.shape[:2] == pytest.approx((450, 900), abs=6)


def test_shrinking_a_transparent_crop_brings_no_hidden_colours_up():
    crop = np.zeros((200, 300, 4), np.uint8)
    crop[..., :3] = (0, 255, 0)  # below full transparency
    crop[50:150, 75:226] = (200, 20, 20, 255)
    small = shrink_crop(crop, 70)
    assert small.shape == (47, 70, 4) and small.dtype == np.uint8
    seen = small[small[..., 3] > 0]
    assert np.abs(seen[:, :3].astype(int) - (200, 20, 20)).max() <= 1
    assert (small[small[..., 3] == 0][:, :3] == 255).all()
    assert small[..., 3].mean() == pytest.approx(crop[..., 3].mean(), abs=1)
    assert shrink_crop(crop, 300) is crop
    expected = np.asarray(Image.fromarray(crop[..., :3]).reduce(2), int)
    assert np.abs(shrink_crop(crop[..., :3].copy(), 150).astype(int) - expected).max() <= 1
