"""`carclf data audit` on drawn photos, with each issue planted."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from carclf.classifier.garage.folds import doubt, out_of_fold
from carclf.cli import app
from carclf.datasets.drawn.scenes import draw_scene
from carclf.tools.audit.issues import ISSUES, outlier_score, photo_issues
from carclf.tools.audit.looks import Look
from carclf.tools.audit.measures import blockiness, cut_off, sharpness
from carclf.tools.audit.overview import imbalance
from detection.detectors.contract import CarChecker
from detection.images.write import save_image
from detection.vehicle import Look as CarLook
from tests.carclf.checked_html import check_page
from tests.carclf.tiny import save_tiny_model
from tests.carclf.wrong_usage import sentence
from tests.fakes import FakeDetector, draw_car

COLOURS = {"blue": (30, 40, 230), "green": (20, 200, 40), "red": (220, 20, 20)}


class ColourCheck(CarChecker):
    """Takes for cars what is strongly coloured, as the detector of these tests does."""

    def look(self, views):
        spread = [float((view.max(axis=2).astype(int) - view.min(axis=2)).mean()) for view in views]
        return [CarLook(0.9 if one > 40 else 0.02, "grey thing") for one in spread]


class CheckedDetector(FakeDetector):
    def car_check(self):
        return ColourCheck()


@pytest.fixture
def detector(monkeypatch):
    found = CheckedDetector()
    monkeypatch.setattr("carclf.recognition.recognizer._load_detector", lambda *_: found, raising=False)
    monkeypatch.setattr("carclf.recognition.loading._load_detector", lambda *_: found)
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture
def data(tmp_path) -> Path:
    """Three classes of six cars each, one colour a class."""
    folder = tmp_path / "data"
    for name, colour in COLOURS.items():
        for number in range(6):
            save(folder / name / f"{number}.png", car(colour, number))
    return folder


def car(colour, number: int = 0) -> np.ndarray:
    """160x240, with stripes and a grey background of its own; the number decides which."""
    box = 40 + 4 * number, 50 + 3 * number, 180 + 4 * number, 120 + 3 * number
    photo = draw_car(colour, (160, 240), box)
    random = np.random.default_rng([number, *colour])
    behind = cv2.resize(random.integers(30, 255, (5, 8), np.uint8), (240, 160), interpolation=cv2.INTER_NEAREST)
    away = (photo == photo[0, 0]).all(axis=2)
    photo[away] = behind[away, None]
    for left in random.integers(70, 150, 5):
        photo[66 + 3 * number : 100, left : left + 4] = np.asarray(colour) // 2 + 20
    return photo


def save(path: Path, photo: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(path, photo)
    return path


def audit(*arguments):
    result = CliRunner().invoke(app, ["data", "audit", *(str(argument) for argument in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def rows(output: Path) -> list[dict]:
    with (output / "audit.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def found(output: Path) -> dict[str, list[str]]:
    """The files of each issue, as they come."""
    issues: dict[str, list[str]] = {}
    for row in rows(output):
        issues.setdefault(row["issue"], []).append(row["file"])
    return issues


def test_each_planted_issue_is_found(data, detector, model, tmp_path):
    save(data / "red" / "wrong.png", car(COLOURS["green"], 3)[:, ::-1])
    save(data / "red" / "empty.png", np.full((160, 240, 3), 128, np.uint8))
    shutil.copy(data / "red" / "1.png", data / "red" / "again.png")
    shutil.copy(data / "green" / "2.png", data / "blue" / "copied.png")
    (data / "blue" / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    save(data / "blue" / "long.png", np.hstack([car(COLOURS["blue"], 9), np.full((160, 560, 3), 128, np.uint8)]))
    save(data / "green" / "cut.png", car(COLOURS["green"], 7)[:, 100:])
    save(data / "green" / "dark.png", (car(COLOURS["green"], 8) * 0.45).astype(np.uint8))
    save(data / "green" / "small.png", cv2.resize(car(COLOURS["green"], 9), (96, 64), interpolation=cv2.INTER_AREA))

    result = audit(data, "--output", tmp_path / "out", "--model", model)

    assert result.exit_code == 3  # one can't be read
    issues = found(tmp_path / "out")
    assert "red/wrong.png" in issues["label"]
    assert next(row for row in rows(tmp_path / "out") if row["file"] == "red/wrong.png")["suggestion"] == "green"
    assert issues["outlier"] == ["red/empty.png"]
    assert issues["duplicate"] == ["blue/copied.png", "green/2.png", "red/again.png"]
    assert issues["odd file"] == ["blue/broken.jpg", "blue/long.png"]
    assert issues["cut off"] == ["green/cut.png"]
    assert issues["dark"] == ["green/dark.png"]
    assert issues["small"] == ["green/small.png"]
    assert list(issues) == [name for name in ISSUES if name in issues]
    for name in issues:
        scores = [float(row["score"]) for row in rows(tmp_path / "out") if row["issue"] == name]
        assert scores == sorted(scores, reverse=True) and 0 <= scores[-1] <= scores[0] <= 1
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert check_page(page) and "red/wrong.png" in page and "does not know 3 classes" in page
    assert "label" in result.stdout and "27 photos of 3 classes" in result.stdout


def test_what_was_seen_is_not_looked_at_again(data, detector, model, tmp_path):
    output = tmp_path / "out"
    audit(data, "--output", output, "--model", model)
    first, looks = (output / "audit.csv").read_bytes(), sum(detector.calls)
    assert looks >= 18
    # As a kill leaves it: some looks, and a torn line.
    lines = (output / "looks.jsonl").read_bytes().splitlines(keepends=True)
    (output / "looks.jsonl").write_bytes(b"".join(lines[:11]) + lines[11][:40])
    detector.calls.clear()

    audit(data, "--output", output, "--model", model)

    assert sum(detector.calls) == 8  # the first line holds the settings
    assert (output / "audit.csv").read_bytes() == first
    detector.calls.clear()
    (data / "red" / "0.png").rename(data / "red" / "renamed.png")
    audit(data, "--output", output, "--model", model)
    assert detector.calls == []  # known by its content
    audit(data, "--output", output, "--model", model, "--restart")
    assert sum(detector.calls) == 18


def test_a_model_that_knows_the_classes_judges_them(data, detector, model, tmp_path):
    from tests.carclf.tiny import CLASSES

    for name, known in zip(COLOURS, CLASSES, strict=True):
        (data / name).rename(data / known)
    result = audit(data, "--output", tmp_path / "out", "--model", model)
    assert result.exit_code == 0 and "The model's answers judge the labels." in result.stdout
    assert {row["suggestion"] for row in rows(tmp_path / "out") if row["issue"] == "label"} <= set(CLASSES)


def test_bad_input_gets_one_sentence(data, detector, model, tmp_path):
    assert "no-such" in sentence(audit(tmp_path / "no-such", "--output", tmp_path / "out"))
    assert "among them" in sentence(audit(data, "--output", data / "out", "--model", model))
    other = tmp_path / "other"
    save(other / "mine.png", car(COLOURS["red"]))
    assert "holds no audit" in sentence(audit(data, "--output", other, "--model", model))
    assert (other / "mine.png").is_file() and not (tmp_path / "out").exists()
    assert "no model" in sentence(audit(data, "--output", tmp_path / "out", "--model", "no-such"))


def test_a_class_of_one_photo_is_not_judged(data, detector, model, tmp_path):
    save(data / "white" / "only.png", car((250, 120, 20)))
    result = audit(data, "--output", tmp_path / "out", "--model", model)
    assert result.exit_code == 0 and "1 photo could not be judged" in result.stdout
    assert "white/only.png" not in found(tmp_path / "out").get("label", [])


# Pieces


def test_moved_labels_are_the_most_doubtful():
    random = np.random.default_rng(0)
    numbers = np.repeat(np.arange(5), 20)
    vectors = np.eye(5, 32)[numbers] + random.normal(0, 0.15, (100, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    planted, moved = numbers.copy(), [3, 27, 51, 88]
    planted[moved] = (numbers[moved] + 2) % 5
    doubts, best = doubt(out_of_fold(vectors, planted, np.arange(100)), planted)
    assert set(np.argsort(-doubts)[:4]) == set(moved)
    assert best[moved].tolist() == numbers[moved].tolist()


def test_a_copy_does_not_vouch_for_its_own_label():
    random = np.random.default_rng(0)
    numbers = np.repeat(np.arange(4), 15)
    vectors = np.eye(4, 16)[numbers] + random.normal(0, 0.1, (60, 16))
    pictures = np.arange(60)
    vectors[1:8], pictures[1:8] = vectors[0], 0  # eight copies of one photo
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    numbers[:8] = 2  # all with the same wrong label
    doubts, best = doubt(out_of_fold(vectors, numbers, pictures), numbers)
    assert (doubts[:8] > 0.5).all() and (best[:8] == 0).all()


def test_nothing_is_said_where_nothing_is_known():
    vectors = np.eye(3, 8, dtype=np.float32)
    assert np.isnan(doubt(out_of_fold(vectors, np.arange(3), np.arange(3)), np.arange(3))[0]).all()


def scene() -> tuple[np.ndarray, tuple]:
    drawn = draw_scene("sedan", np.random.default_rng(4))
    return drawn.image, drawn.box


def test_a_blurred_car_is_less_sharp():
    photo, box = scene()
    plain, blurred = (sharpness(one, box) for one in (photo, cv2.GaussianBlur(photo, (0, 0), 4)))
    assert plain > 2.2 > blurred
    assert sharpness(photo, (0, 0, 20, 20)) is None
    assert sharpness(np.full_like(photo, 90), box) is None


def test_blocks_are_seen():
    random = np.random.default_rng(0)
    photo = cv2.resize(random.integers(0, 255, (20, 30, 3), np.uint8), (240, 160), interpolation=cv2.INTER_CUBIC)
    worse = cv2.imdecode(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 5])[1], cv2.IMREAD_COLOR)
    assert blockiness(worse) > 1.3 > blockiness(photo)
    assert blockiness(photo[:40, :40]) is None


def test_a_car_that_touches_the_frame_is_not_cut_off():
    mask = np.zeros((100, 200), bool)
    cv2.ellipse(drawn := mask.astype(np.uint8), (100, 50), (100, 50), 0, 0, 360, 1, -1)
    assert cut_off(drawn > 0) < 0.5 < cut_off(drawn[:, 90:] > 0)
    assert cut_off(mask) == 0


def look(**values) -> Look:
    plain = {
        "status": "ok", "reason": "", "box": (0.0, 0.0, 200.0, 100.0), "size": (300, 200), "brightness": 0.5,
        "gain": 1.0, "sharp": 5.0, "blocks": 1.0, "cut": 0.0, "car": 0.9, "other": "tow truck", "turn_note": "",
        "probabilities": None, "vector": None,
    }  # fmt: skip
    return Look(**(plain | values))


@pytest.mark.parametrize(
    ("values", "issue"),
    [
        ({"car": 0.1}, "outlier"),
        ({"status": "no_car", "box": None, "car": 0.6}, "outlier"),
        ({"turn_note": "the photo seems to lie on its side"}, "sideways"),
        ({"cut": 0.8}, "cut off"),
        ({"box": (0.0, 0.0, 60.0, 30.0)}, "small"),
        ({"gain": 2.5}, "dark"),
        ({"sharp": 1.6}, "blurred"),
        ({"blocks": 2.0}, "low quality"),
    ],
)
def test_each_measure_has_its_issue(values, issue):
    issues = photo_issues([look(), None, look(**values)])
    assert [(one.photo, one.issue) for one in issues] == [(2, issue)]
    assert 0 < issues[0].score <= 1 and issues[0].suggestion


def test_the_less_like_a_car_the_more_suspicious():
    order = [look(car=0.9), look(car=0.2), look(status="no_car", car=0.5), look(status="no_car", car=0.0)]
    scores = [outlier_score(one) for one in order]
    assert scores[0] < min(scores[1:]) and scores[-1] == max(scores) == 1


def test_imbalance_is_told_by_what_was_measured():
    classes = [{"photos": 100, "right": 0.9}, {"photos": 50, "right": 0.8}, {"photos": 10, "right": 0.5}]
    assert "10.0 times" in imbalance(classes) and "about 40 points" in imbalance(classes)
    assert "even" in imbalance([classes[0], classes[0]]) and imbalance(classes[:1]) == ""
