"""`carclf stock` from a folder to tables and pages, with a fake detector and the bundled classifier."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from carclf.cli import app
from carclf.tools.audit.looks import NAME
from carclf.tools.stock.taken import taken_at
from detection.images.write import save_image
from tests.carclf.checked_html import check_page
from tests.carclf.tools.test_audit import CheckedDetector, car
from tests.fakes import FakeDetector

RED, BLUE = (220, 20, 20), (30, 40, 230)


@pytest.fixture
def detector(monkeypatch) -> FakeDetector:
    found = CheckedDetector()
    monkeypatch.setattr("carclf.recognition.loading._load_detector", lambda *_: found)
    return found


@pytest.fixture
def photos(tmp_path) -> Path:
    """Two cars of three photos each."""
    folder = tmp_path / "in"
    for name, colour in (("red", RED), ("blue", BLUE)):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            save_image(folder / name / f"{number}.png", car(colour, number))
    return folder


def stock(*arguments):
    result = CliRunner().invoke(app, ["stock", *(str(argument) for argument in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def rows(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_photo_has_a_row_each_car_a_row_and_a_page(photos, detector, tmp_path):
    save_image(photos / "red" / "empty.png", np.full((160, 240, 3), 128, np.uint8))
    save_image(photos / "red" / "dark.png", (car(RED, 8) * 0.45).astype(np.uint8))
    save_image(photos / "blue" / "again.png", cv2.resize(car(BLUE, 1), (216, 144), interpolation=cv2.INTER_AREA))
    (photos / "blue" / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")

    result = stock(photos, tmp_path / "out", "--sides", "all")

    assert result.exit_code == 3  # one can't be read
    found = {row["file"]: row for row in rows(tmp_path / "out" / "stock.csv")}
    assert sorted(found) == sorted(path.relative_to(photos).as_posix() for path in photos.glob("*/*"))
    assert found["blue/broken.jpg"]["status"] == "unreadable" and found["blue/broken.jpg"]["issues"] == "unreadable"
    assert found["red/empty.png"]["side"] == "other" and "no car" in found["red/empty.png"]["issues"]
    assert "dark" in found["red/dark.png"]["issues"]
    assert "twice" in found["blue/again.png"]["issues"] + found["blue/1.png"]["issues"]
    cars = {row["car"]: row for row in rows(tmp_path / "out" / "cars.csv")}
    assert cars["red"]["photos"] == "5" and cars["blue"]["photos"] == "5" and cars["blue"]["complete"] == "no"
    assert (
        "1 photo unreadable" in cars["blue"]["problems"] and "no " in cars["blue"]["missing"] + cars["blue"]["problems"]
    )
    for page in (tmp_path / "out" / "index.html", *(tmp_path / "out" / "cars").glob("*.html")):
        text = page.read_text(encoding="utf-8")
        links = re.findall(r'<a href="([^"]*)"', text)
        assert links and all((page.parent / link).is_file() for link in links)  # to each other, and nowhere else
        check_page(re.sub(r'<a href="[^"]*"', "<a", text))
    assert len(list((tmp_path / "out" / "cars").glob("*.html"))) == 2


def test_a_second_run_looks_at_new_photos_only_and_old_pages_go(photos, detector, tmp_path):
    assert stock(photos, tmp_path / "out").exit_code == 0
    seen = sum(detector.calls)
    before = (tmp_path / "out" / "stock.csv").read_bytes()
    assert stock(photos, tmp_path / "out").exit_code == 0
    assert sum(detector.calls) == seen and (tmp_path / "out" / "stock.csv").read_bytes() == before
    shutil.rmtree(photos / "blue")
    save_image(photos / "red" / "new.png", car(RED, 7))
    assert stock(photos, tmp_path / "out").exit_code == 0
    assert sum(detector.calls) > seen and len(rows(tmp_path / "out" / "stock.csv")) == 4
    assert [page.name for page in (tmp_path / "out" / "cars").glob("*.html")] == ["0001.html"]


def test_by_look_the_paint_parts_two_cars(photos, detector, tmp_path):
    loose = tmp_path / "loose"
    loose.mkdir()
    for path in photos.glob("*/*.png"):
        shutil.copy(path, loose / f"{path.parent.name}{path.name}")
    assert stock(loose, tmp_path / "out").exit_code == 0  # no folders: by look
    cars: dict[str, set] = {}
    for row in rows(tmp_path / "out" / "stock.csv"):
        cars.setdefault(row["car"], set()).add(row["file"].rstrip("0123456789.png"))
    assert all(len(colours) == 1 for colours in cars.values()) and "" not in cars


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--sides", "top"), "--sides takes names"),
        (("--group", "name"), "--group takes auto, folder or look"),
    ],
)
def test_wrong_usage_is_a_sentence_and_writes_nothing(photos, detector, tmp_path, more, words):
    result = stock(photos, tmp_path / "out", *more)
    assert result.exit_code == 2 and words in result.output and not (tmp_path / "out").exists()


def test_folders_that_will_not_do(photos, detector, tmp_path):
    for source, output, words in (
        (photos, photos / "out", "lies among them"),
        (tmp_path / "nowhere", tmp_path / "out", "is no folder"),
        (photos, photos.parent, "holds the photos"),
    ):
        result = stock(source, output)
        assert result.exit_code == 2 and words in result.output
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    assert stock(photos, tmp_path / "full").exit_code == 2
    (tmp_path / "audit").mkdir()
    for name in (NAME, "audit.csv"):
        (tmp_path / "audit" / name).write_text("")
    assert "holds no stock" in stock(photos, tmp_path / "audit").output


def test_the_time_of_a_photo_is_that_of_its_exif(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2026:05:01 12:30:15"
    Image.new("RGB", (8, 8)).save(tmp_path / "timed.jpg", exif=exif)
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    assert str(taken_at(tmp_path / "timed.jpg")) == "2026-05-01 12:30:15"
    assert taken_at(tmp_path / "plain.jpg") is None and taken_at(tmp_path / "broken.jpg") is None
    exif.get_ifd(0x8769)[0x9003] = "0000:00:00 00:00:00"
    Image.new("RGB", (8, 8)).save(tmp_path / "zero.jpg", exif=exif)
    assert taken_at(tmp_path / "zero.jpg") is None
