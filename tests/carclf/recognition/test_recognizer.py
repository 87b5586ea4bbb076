"""The chain of detector, cut-out and classifier, mostly with stand-ins whose answers are known."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from carclf.evaluation.chain import check_labels, evaluate_chain
from carclf.recognition.prediction import Prediction, Predictions
from carclf.recognition.recognizer import CarRecognizer
from carclf.runs.report.page import write_run_report
from detection.common.errors import UsageError
from detection.cutout.cut import CutoutStyle
from detection.detectors.check.car_check import Look
from tests.carclf.tiny import save_tiny_model
from tests.fakes import FakeDetector, MeetingDetector, draw_car
from tests.roofs import RoofCheck, Roofs, box_of, draw_roof, stands

RED, BLUE = (220, 20, 20), (20, 40, 220)
GREY = np.full((96, 128, 3), 128, np.uint8)


class ColourClassifier:
    """Names the colour of a crop; `sizes` are those of the batches it was given."""

    classes = ("blue", "green", "red")
    detector = "fake"

    def __init__(self, background="white"):
        self.style = CutoutStyle(background=background)
        self.sizes = []

    def predict(self, crops, batch_size=32):
        self.sizes.append(len(crops))
        assert all(crop.dtype == np.uint8 and crop.shape[2] == 3 for crop in crops)
        rows = []
        for crop in crops:
            red, _, blue = (int(value) for value in crop.reshape(-1, 3).astype(int).sum(axis=0))
            share = np.clip(0.5 + (red - blue) / (red + blue + 1), 0.01, 0.9)
            rows.append([0.95 - share, 0.05, share])
        return np.array(rows, np.float32)


@pytest.fixture
def classifier():
    return ColourClassifier()


@pytest.fixture
def recognizer(classifier):
    return CarRecognizer(classifier, FakeDetector())


@pytest.fixture
def tiny_model(tmp_path):
    return save_tiny_model(tmp_path / "tiny.safetensors")


def test_one_path_gives_one_prediction(recognizer, photos):
    prediction = recognizer(photos / "red.jpg")
    assert isinstance(prediction, Prediction)
    assert (prediction.file, prediction.status, prediction.label) == (str(photos / "red.jpg"), "ok", "red")
    assert prediction.top[0] == ("red", prediction.confidence)
    assert prediction.box == pytest.approx((32, 40, 96, 72), abs=2)  # JPEG smears the edge
    assert prediction.reason == ""


def test_a_mixed_list_keeps_its_order(recognizer, photos):
    answers = recognizer([str(photos / "sub" / "blue.png"), draw_car(RED), photos / "grey.jpg", draw_car(BLUE)])
    assert [answer.label for answer in answers] == ["blue", "red", None, "blue"]
    assert [answer.status for answer in answers] == ["ok", "ok", "no_car", "ok"]
    assert answers[1].box == (32, 40, 96, 72)


def test_without_an_answer_everything_is_none_and_says_why(recognizer):
    answer = recognizer(GREY)
    assert answer == Prediction("<array>", "no_car", reason="no vehicle found in the photo")
    assert answer.row() == {
        "file": "<array>", "status": "no_car", "label": None, "confidence": None, "top": [], "box": None,
        "kind": None, "reason": "no vehicle found in the photo",
    }  # fmt: skip


def test_an_empty_list_gives_an_empty_list(recognizer):
    assert recognizer([]) == []


def test_top_is_cut_to_what_was_asked(classifier):
    assert len(CarRecognizer(classifier, FakeDetector(), top=2)(draw_car()).top) == 2
    assert len(CarRecognizer(classifier, FakeDetector(), top=9)(draw_car()).top) == 3


def test_crops_of_several_photos_fill_the_batches(classifier):
    detector = FakeDetector()
    recognizer = CarRecognizer(classifier, detector, batch_size=5)
    photos = [draw_car() if number % 3 else GREY for number in range(30)]  # 20 with a car
    answers = recognizer(photos)
    assert [answer.status == "ok" for answer in answers] == [bool(number % 3) for number in range(30)]
    assert classifier.sizes == [5, 5, 5, 5]
    assert max(detector.calls) == 8 and sum(detector.calls) == 30


def test_photos_side_by_side_are_answered_as_one_after_the_other(classifier, photos):
    detector, alone = MeetingDetector(), CarRecognizer(classifier, FakeDetector())
    given = [draw_car() if number % 3 else GREY for number in range(10)]
    classifier.side_by_side = 2  # an object of one's own is not believed it, as it says nothing of threads
    assert CarRecognizer(classifier, detector).side_by_side == 1
    both = CarRecognizer(classifier, detector)
    both.side_by_side = 2
    given[4] = photos / "no-such-file.jpg"
    given.append(GREY)  # the one that can't be read meets nobody
    answers = both(given)
    assert detector.calls == [1] * 10
    assert [(one.status, one.label, one.box) for one in answers] == [
        (one.status, one.label, one.box) for one in alone(given)
    ]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("carclf-work")]


def test_threads_decide_how_many_photos_are_looked_at_side_by_side(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    shown = {threads: CarRecognizer("dealer19", device="cpu", runtime="onnx", threads=threads) for threads in (None, 1)}
    assert {threads: one.side_by_side for threads, one in shown.items()} == {None: 1, 1: 4}
    assert CarRecognizer(shown[1].classifier, shown[1].detector, check=RoofCheck()).side_by_side == 1


def test_bad_files_are_rows(recognizer, photos):
    whole = (photos / "red.jpg").read_bytes()
    (photos / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "text.jpg").write_text("not a photo")
    (photos / "empty.jpg").touch()
    names = ["truncated.jpg", "red.jpg", "text.jpg", "gone.jpg", "empty.jpg", "sub"]
    answers = recognizer([photos / name for name in names])
    assert [answer.status for answer in answers] == ["unreadable", "ok", *["unreadable"] * 4]
    assert answers[3].reason == "no such file"
    assert all(
        answer.reason and answer.label is None and answer.box is None for answer in answers if answer.label is None
    )


def test_an_image_that_the_detector_fails_on_costs_one_row(classifier):
    class Touchy(FakeDetector):
        def detect(self, images):
            if any(image.shape[0] == 97 for image in images):
                raise RuntimeError("no 97\nmore")
            return super().detect(images)

    answers = CarRecognizer(classifier, Touchy())([draw_car(), draw_car(size=(97, 128)), draw_car(BLUE)])
    assert [answer.status for answer in answers] == ["ok", "error", "ok"]
    assert answers[1].reason == "the detector failed: RuntimeError: no 97"


def test_a_crop_that_the_classifier_fails_on_costs_one_row(classifier, monkeypatch):
    real = classifier.predict

    def predict(crops, batch_size):
        if any(crop[..., 2].mean() > crop[..., 0].mean() + 50 for crop in crops):
            raise ValueError("no blue")
        return real(crops, batch_size)

    monkeypatch.setattr(classifier, "predict", predict)
    answers = CarRecognizer(classifier, FakeDetector())([draw_car(RED), draw_car(BLUE), draw_car(RED)])
    assert [answer.status for answer in answers] == ["ok", "error", "ok"]
    assert answers[1].reason == "the classifier failed: ValueError: no blue" and answers[1].box is not None


def test_two_equal_vehicles_are_reported(recognizer):
    photo = draw_car(RED, size=(96, 256), box=(16, 40, 96, 72))
    photo[40:72, 160:240] = BLUE
    answer = recognizer(photo)
    assert answer.status == "ok"
    assert answer.reason.startswith("two vehicles are about equally prominent; the other one is at [")


def test_boxes_of_a_large_photo_are_in_its_own_pixels(recognizer, tmp_path):
    big = draw_car(RED, size=(3000, 4000), box=(1000, 1200, 3000, 2200))
    Image.fromarray(big).save(tmp_path / "big.png")
    answer = recognizer(tmp_path / "big.png")
    assert answer.label == "red"
    assert answer.box == pytest.approx((1000, 1200, 3000, 2200), abs=3)


def test_exif_turned_photo_has_its_box_as_it_is_seen(recognizer, tmp_path):
    seen = draw_car(RED, size=(96, 128), box=(10, 20, 60, 50))
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(seen[::-1, ::-1].copy()).save(tmp_path / "turned.png", exif=exif)
    assert recognizer(tmp_path / "turned.png").box == (10, 20, 60, 50)


@pytest.mark.parametrize("background", ["keep", "transparent", "blur"])
def test_the_classifiers_own_style_is_used(background):
    assert CarRecognizer(ColourClassifier(background), FakeDetector())(draw_car(BLUE)).label == "blue"


def test_crops_go_to_the_classifier_as_they_are(classifier):
    recognizer = CarRecognizer(classifier, crops=True)
    answer = recognizer(draw_car(RED))
    assert recognizer.detector is None
    assert (answer.status, answer.box) == ("ok", None)


@pytest.mark.parametrize("bad", [GREY[..., 0], GREY.astype(np.float32), np.zeros((0, 4, 3), np.uint8)])
def test_an_array_of_another_kind_is_refused(recognizer, bad):
    with pytest.raises(UsageError, match="RGB uint8"):
        recognizer(bad)


def test_the_stream_reads_ahead_only_a_little(classifier):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield draw_car()

    stream = CarRecognizer(classifier, FakeDetector(), batch_size=4).recognize(endless())
    first = [next(stream) for _ in range(3)]
    stream.close()
    assert len(first) == 3 and len(taken) < 40


def test_full_probabilities_come_with_each_prediction(recognizer):
    ok, missed = recognizer.recognize_fully([draw_car(RED), GREY])
    row = ok.probabilities
    assert row.shape == (3,) and row.argmax() == 2 and ok.prediction.confidence == pytest.approx(row[2], abs=1e-5)
    assert missed.probabilities is None and missed.prediction.status == "no_car"


def test_evaluation_counts_missed_cars_as_wrong(recognizer, photos, tmp_path):
    files = [str(photos / "red.jpg"), str(photos / "sub" / "blue.png"), str(photos / "grey.jpg")]
    table = pd.DataFrame({"file": files, "label": ["red", "red", "blue"]})
    metrics = evaluate_chain(recognizer, table, tmp_path / "figures")
    assert (metrics["n"], metrics["accuracy"]) == (3, pytest.approx(1 / 3))
    assert metrics["status"] == {"ok": 2, "no_car": 1}
    assert (tmp_path / "figures" / "metrics.json").is_file() and metrics["model"]["background"] == "white"
    write_run_report(tmp_path / "figures")
    assert "photos without an answer" in (tmp_path / "figures" / "report.html").read_text(encoding="utf-8")


def test_labels_that_the_model_does_not_know_are_named():
    check_labels(["a"], ["a", "b"])
    with pytest.raises(UsageError, match="2 of the data's 3 labels are unknown to the model \\('x', 'y'\\)"):
        check_labels(["a", "x", "y"], ["a", "b"])


def test_pooled_batches_equal_single_photos_with_a_real_network(tiny_model):
    from carclf.classifier.classifier import TorchClassifier

    recognizer = CarRecognizer(TorchClassifier.load(tiny_model, device="cpu"), FakeDetector(), batch_size=4)
    rng = np.random.default_rng(0)
    photos = []
    for _ in range(6):
        width, height = rng.integers(30, 60, 2)
        photos.append(draw_car(RED, size=(96, 128), box=(20, 20, 20 + int(width), 20 + int(height))))
    pooled = [one.probabilities for one in recognizer.recognize_fully(photos)]
    single = [one.probabilities for photo in photos for one in recognizer.recognize_fully([photo])]
    assert np.ptp(np.stack(single), axis=0).max() > 1e-4  # different crops, or the comparison would say nothing
    np.testing.assert_allclose(pooled, single, atol=1e-4)
    np.testing.assert_allclose(np.sum(pooled, axis=1), 1, atol=1e-5)


def test_none_takes_the_detector_of_the_classifiers_file(monkeypatch, classifier):
    asked = []
    monkeypatch.setattr(
        "carclf.recognition.loading._load_detector",
        lambda name, device, *_: asked.append((name, device)) or FakeDetector(),
    )
    CarRecognizer(classifier, device="cpu")
    CarRecognizer(SimpleNamespace(classes=("a", "b"), style=CutoutStyle(), detector=""))
    assert asked == [("fake", "cpu"), ("compact", "auto")]


def test_bytes_and_pillow_images_are_photos_too(recognizer, photos):
    file = photos / "red.jpg"
    answers = recognizer([file.read_bytes(), Image.open(file)])
    assert [(answer.file, answer.label) for answer in answers] == [("<bytes>", "red"), ("<image>", "red")]
    assert recognizer(file.read_bytes()[:200]).status == "unreadable"


def test_unsure_answers_are_unknown_and_keep_their_confidence(classifier):
    recognizer = CarRecognizer(classifier, FakeDetector(), threshold=0.95)
    answer = recognizer(draw_car(RED))
    assert (answer.status, answer.label) == ("unknown", None)
    assert answer.confidence == answer.top[0][1] == pytest.approx(0.9) and answer.box is not None
    assert "not one of the 3 classes, or too unsure: 90% for red" in answer.reason
    classifier.threshold = 0.95  # the model's own
    assert CarRecognizer(classifier, FakeDetector())(draw_car(RED)).status == "unknown"
    assert CarRecognizer(classifier, FakeDetector(), threshold=0)(draw_car(RED)).status == "ok"
    with pytest.raises(UsageError, match="from 0 to 1"):
        CarRecognizer(classifier, FakeDetector(), threshold=1.5)


def test_every_vehicle_is_named_with_its_rank(classifier):
    photo = draw_car(RED, size=(96, 256), box=(16, 40, 126, 80))
    photo[40:72, 160:240] = BLUE
    recognizer = CarRecognizer(classifier, FakeDetector(), every_vehicle=True)
    answers = recognizer([photo, GREY, draw_car(BLUE)])
    assert [(one.vehicle, one.status, one.label) for one in answers] == [
        (1, "ok", "red"), (2, "ok", "blue"), (None, "no_car", None), (1, "ok", "blue"),
    ]  # fmt: skip
    assert isinstance(recognizer(photo), Predictions) and len(recognizer(photo)) == 2


def test_pictures_come_only_where_they_are_asked_for(recognizer):
    photo = draw_car(RED)
    (plain,) = recognizer.recognize_fully([photo])
    assert plain.photo is plain.cutout is plain.vehicle is None
    seen, nothing = recognizer.recognize_fully([photo, GREY], pictures=True)
    np.testing.assert_array_equal(seen.photo, photo)
    assert seen.vehicle.mask.shape == photo.shape[:2] and seen.vehicle.mask.sum() == pytest.approx(64 * 32, rel=0.1)
    assert seen.cutout.dtype == np.uint8 and seen.cutout.shape[1] < photo.shape[1]
    assert nothing.photo is not None and nothing.cutout is nothing.vehicle is None


def test_a_dark_photo_is_looked_at_in_full_light(classifier):
    dark = (draw_car(RED) * 0.25).astype(np.uint8)
    (seen,) = CarRecognizer(classifier, FakeDetector()).recognize_fully([dark], pictures=True)
    assert seen.prediction.label == "red" and seen.cutout.max() > 200
    assert seen.photo is dark


def test_detections_of_before_stand_in_for_the_detector(classifier, photos, tmp_path):
    from detection.folder.out.detections import DetectionsWriter, read_detections

    file = photos / "red.jpg"
    vehicles = FakeDetector().detect([np.asarray(Image.open(file))])[0]
    stamp = file.stat().st_size, file.stat().st_mtime_ns
    with DetectionsWriter(tmp_path / "d.jsonl", "fake", "1") as writer:
        writer.append(str(file), stamp, vehicles[0].mask.shape, vehicles)
    with read_detections(tmp_path / "d.jsonl") as detections:
        recognizer = CarRecognizer(classifier, detections=detections)
        found, other = recognizer([file, photos / "sub" / "blue.png"])
    assert recognizer.detector is None and (found.status, found.label) == ("ok", "red")
    assert other.status == "error" and "knows nothing of it" in other.reason


def test_what_does_not_look_like_a_car_is_none(classifier):
    class Check:
        def look(self, views):
            assert all(view.shape == (224, 224, 3) for view in views)
            return [Look(0.9 if view[112, 112, 0] > 128 else 0.001, "locomotive") for view in views]

    class LessSure(FakeDetector):
        def detect(self, images):
            return [[replace(vehicle, score=0.9) for vehicle in found] for found in super().detect(images)]

    recognizer = CarRecognizer(classifier, LessSure(), check=Check())
    red, blue = recognizer([draw_car(RED), draw_car(BLUE)])
    assert (red.status, blue.status, blue.box) == ("ok", "no_car", None) and "(locomotive)" in blue.reason
    assert CarRecognizer(classifier, FakeDetector()).check is None  # another detector knows its kinds


@pytest.mark.parametrize(("car", "status"), [(0.9, "ok"), (0.1, "no_car")])
def test_what_the_detector_is_unsure_of_must_look_more_like_a_car(classifier, car, status):
    """The lower half of a triangle fills half of its box: a score of 0.75."""

    class Unsure(FakeDetector):
        own_threshold = 0.85

    class Check:
        def look(self, views):
            return [Look(car, "tent") for _ in views]

    photo = GREY.copy()
    for row in range(32):
        photo[40 + row, 32 : 34 + 2 * row] = RED
    recognizer = CarRecognizer(classifier, Unsure(), check=Check())
    assert recognizer(photo).status == status
    photo[80:90, 100:124] = BLUE  # a smaller vehicle, but a sure one
    assert recognizer(photo).label == "blue"


@pytest.mark.parametrize(("tag", "degrees"), [(6, 270), (8, 90), (3, 180)])
def test_a_stale_orientation_tag_is_seen_through(tmp_path, tag, degrees):
    """The pixels stand upright, and the tag turns them."""
    exif = Image.Exif()
    exif[274] = tag
    Image.fromarray(draw_roof()).save(tmp_path / "car.png", exif=exif)
    classifier = ColourClassifier("keep")
    (found,) = CarRecognizer(classifier, Roofs(RoofCheck())).recognize_fully([tmp_path / "car.png"], pictures=True)
    assert found.prediction.label is not None and stands(found.cutout) == "top"
    assert f"turned by {degrees} degrees" in found.prediction.reason
    x1, y1, x2, y2 = found.prediction.box
    assert np.allclose((x1, y1, x2, y2), box_of((found.photo != 128).any(axis=2)), atol=2)  # in the photo as it is
    upright = CarRecognizer(classifier, Roofs(RoofCheck()), turned=False)(tmp_path / "car.png")
    assert upright.reason == "" if degrees == 180 else upright.status == "no_car"
