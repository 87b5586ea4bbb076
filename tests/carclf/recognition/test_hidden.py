"""What is private: hidden in pictures and told in rows; what the classifier sees stays as it is."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from carclf import CarRecognizer
from carclf.recognition.output.formats import encoded, row_of
from carclf.recognition.prediction import COLUMNS, HIDDEN_COLUMNS, Prediction
from detection.common.errors import UsageError
from detection.images.read import load_image
from detection.publishing.hiding import private
from detection.publishing.hiding.cover import HideStyle
from tests.carclf.service.stand_ins import ColourClassifier
from tests.fakes import PLATE, FakeDetector, FakePlates, draw_car

GREEN, BLUE = (20, 220, 20), (20, 20, 220)


@pytest.fixture(autouse=True)
def plates(monkeypatch):
    monkeypatch.setattr(private, "plate_finder", FakePlates)


class Seen(ColourClassifier):
    """Keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.crops = []

    def predict(self, crops, batch_size=32):
        self.crops += [np.array(crop) for crop in crops]
        return super().predict(crops, batch_size)


def car() -> np.ndarray:
    """A red car whose plate has a green and a blue half."""
    image = draw_car()
    image[58:66, 50:65], image[58:66, 65:80] = GREEN, BLUE
    return image


def shows_plate(picture: np.ndarray) -> bool:
    values = picture.astype(int)
    return bool(((values[..., 1] > 170) & (values[..., 0] < 60) & (values[..., 2] < 60)).any())


def recognizer(**more) -> CarRecognizer:
    return CarRecognizer(Seen(), FakeDetector(), colour=False, **more)


def test_the_columns_are_those_of_manifests():
    assert HIDDEN_COLUMNS == private.PRIVATE_COLUMNS


@pytest.mark.parametrize("every", [False, True])
def test_pictures_hide_and_the_classifier_sees(every):
    plain, hiding = recognizer(every_vehicle=every), recognizer(every_vehicle=every, hide="plates")
    (before,) = plain.recognize_fully([car()], pictures=True)
    (after,) = hiding.recognize_fully([car()], pictures=True)
    assert np.array_equal(plain.classifier.crops[0], hiding.classifier.crops[0])
    assert np.array_equal(before.probabilities, after.probabilities)
    assert shows_plate(before.photo) and shows_plate(before.cutout) and shows_plate(hiding.classifier.crops[0])
    assert not shows_plate(after.photo) and not shows_plate(after.cutout)
    assert before.cutout.shape == after.cutout.shape and np.array_equal(before.vehicle.mask, after.vehicle.mask)
    assert np.array_equal(before.photo[:50], after.photo[:50])
    assert before.prediction.private is None
    (plate,) = after.prediction.private.hidden
    assert np.array_equal(plate.corners, PLATE)


def test_the_photo_that_was_handed_in_is_not_changed():
    image = car()
    list(recognizer(hide="plates").recognize_fully([image], pictures=True))
    assert np.array_equal(image, car())


def test_rows_have_columns_more_only_where_something_is_hidden():
    plain, hidden = recognizer()(car()), recognizer(hide=HideStyle(way="fill"))(car())
    assert set(plain.row()) == set(COLUMNS)
    assert set(hidden.row()) == {*COLUMNS, *HIDDEN_COLUMNS}
    assert hidden.row()["hidden"] == 1 and hidden.row()["hidden_at"] == [PLATE.tolist()]
    assert {name: value for name, value in hidden.row().items() if name not in HIDDEN_COLUMNS} == plain.row()
    assert list(hidden.to_pandas().columns) == [*COLUMNS, *HIDDEN_COLUMNS]


def test_a_photo_without_a_car_and_one_that_can_not_be_read():
    grey = np.full((96, 128, 3), 128, np.uint8)
    found, broken = recognizer(hide="plates").recognize_fully([grey, b""], pictures=True)
    assert (found.prediction.status, found.prediction.private.hidden) == ("no_car", ())
    assert np.array_equal(found.photo, grey)
    assert (broken.prediction.status, broken.prediction.private, broken.photo) == ("unreadable", None, None)


def test_where_looking_fails_no_picture_is_given(monkeypatch):
    class Broken(FakePlates):
        def find(self, *given):
            raise RuntimeError("no memory")

    monkeypatch.setattr(private, "plate_finder", Broken)
    (found,) = recognizer(hide="plates").recognize_fully([car()], pictures=True)
    assert found.prediction.status == "error" and "looking for what is private failed" in found.prediction.reason
    assert found.photo is None and found.cutout is None


def test_where_the_detector_fails_the_photo_is_hidden_all_the_same(monkeypatch):
    class Everywhere(FakePlates):
        def find(self, image, vehicles=(), least=0.0):
            return [private.Plate(PLATE, 0.9, on_vehicle=False)]

    def fail(self, images):
        raise RuntimeError("no memory")

    monkeypatch.setattr(private, "plate_finder", Everywhere)
    monkeypatch.setattr(FakeDetector, "detect", fail)
    (found,) = recognizer(hide="plates").recognize_fully([car()], pictures=True)
    assert found.prediction.status == "error" and not shows_plate(found.photo)


def test_photos_that_are_cut_out_already():
    crop = car()[40:72, 32:96]
    (found,) = recognizer(hide="plates", crops=True).recognize_fully([crop], pictures=True)
    assert found.prediction.status == "ok" and len(found.prediction.private.hidden) == 1
    assert shows_plate(crop) and not shows_plate(found.cutout) and not shows_plate(found.photo)


def test_what_can_not_be_hidden_is_a_sentence():
    with pytest.raises(UsageError, match="'wheels' can't be hidden"):
        recognizer(hide="wheels")


def test_rows_in_every_format(tmp_path):
    hidden = recognizer(hide="plates")(car())
    columns = (*COLUMNS, *HIDDEN_COLUMNS)
    made = {kind: b"".join(encoded([row_of(hidden, columns)], kind, columns)) for kind in ("csv", "jsonl", "parquet")}
    (row,) = csv.DictReader(made["csv"].decode().splitlines())
    assert row["hidden"] == "1" and json.loads(row["hidden_at"]) == [PLATE.tolist()]
    assert json.loads(made["jsonl"])["hidden_scores"] == [0.9]
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "rows.parquet").write_bytes(made["parquet"])
    (row,) = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert row["hidden_at"] == [PLATE.tolist()] and row["nearly_hidden"] == 0


def test_a_prediction_without_anything_hidden_can_be_in_a_table_of_them():
    both = [recognizer(hide="plates")(car()), Prediction("bad.jpg", "unreadable", reason="empty")]
    table = type(recognizer()([car()]))(both).to_pandas()
    assert list(table["hidden"].fillna(-1)) == [1, -1]


@pytest.fixture
def carclf(monkeypatch):
    from typer.testing import CliRunner

    from carclf.cli import app

    monkeypatch.setattr("carclf.recognition.loading._load_detector", lambda *_: FakeDetector())
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from tests.carclf.tiny import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors")


def test_predict_hides_in_both_kinds_of_pictures(carclf, model, tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(car()).save(tmp_path / "in" / "a.png")
    pictures = ("--save-cutouts", tmp_path / "cut", "--overlay", tmp_path / "seen")
    given = ("predict", tmp_path / "in", "--model", model, "--output", tmp_path / "rows.csv", *pictures)
    result = carclf(*given, "--hide", "plates", "--way", "fill")
    assert result.exit_code == 0, result.stderr
    (row,) = csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())
    assert row["hidden"] == "1"
    for folder in ("cut", "seen"):
        assert not shows_plate(load_image(tmp_path / folder / "a.jpg"))
    shown = ("predict", tmp_path / "in", "--model", model, "--save-cutouts", tmp_path / "plain")
    assert carclf(*shown).exit_code == 0 and shows_plate(load_image(tmp_path / "plain" / "a.jpg"))


@pytest.mark.parametrize("first", ["hides", "shows"])
def test_a_run_that_hides_does_not_end_one_that_does_not_nor_the_other_way_round(carclf, model, tmp_path, first):
    (tmp_path / "in").mkdir()
    Image.fromarray(car()).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "bad.jpg").write_bytes(b"")  # so that the journal stays
    shows = ("predict", tmp_path / "in", "--model", model, "--output", tmp_path / "rows.csv")
    shows = (*shows, "--overlay", tmp_path / "seen")
    hides = (*shows, "--hide", "plates")
    begins, ends = (hides, shows) if first == "hides" else (shows, hides)
    assert carclf(*begins).exit_code == 3
    journal = tmp_path / "rows.csv.partial.jsonl"
    ended = journal.read_bytes()
    journal.write_bytes(ended[: ended.rstrip().rindex(b"\n") + 1])  # as if it had been killed just before its end
    result = carclf(*ends)
    assert result.exit_code == 2 and "another hide" in result.stderr and "--restart" in result.stderr
    journal.write_bytes(ended)
    assert carclf(*ends).exit_code == 3
    assert shows_plate(load_image(tmp_path / "seen" / "a.jpg")) == (first == "hides")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--hide", "plates"), "pass one of them, too"),
        (("--way", "fill"), "pass --hide plates, too"),
        (("--hide", "wheels", "--overlay", "seen"), "'wheels' can't be hidden"),
        (("--hide", "plates", "--overlay", "seen", "--engine", "ray"), "--engine ray gives rows alone"),
    ],
)
def test_wrong_usage_is_a_sentence(carclf, model, photos, tmp_path, monkeypatch, more, words):
    monkeypatch.chdir(tmp_path)
    result = carclf("predict", photos, "--model", model, *more)
    assert result.exit_code == 2 and words in " ".join(result.stderr.split()) and not (tmp_path / "seen").exists()
