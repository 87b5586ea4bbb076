"""Classes that vanish, and classes that look alike."""

import os
import unicodedata

import pytest

from carclf.datasets import read_split, read_table, split_table
from carclf.datasets.check.check import check_data
from carclf.datasets.labels import look_alike
from carclf.datasets.prepare.prepare import prepare_data
from detection.common.files import write_table
from tests.carclf.drawn import draw_folders


@pytest.fixture
def root(tmp_path):
    return draw_folders(tmp_path / "photos", each=4)


@pytest.mark.parametrize(
    "other",
    ["citroën c3", " Citroën C3", "Citroën\u00a0C3", "Citroën  C3\u200b", "Ｃｉｔｒｏëｎ　Ｃ３", "Сitroën С3",
     unicodedata.normalize("NFD", "Citroën C3")],
)  # fmt: skip
def test_labels_that_a_person_takes_for_one(other):
    assert look_alike(["Citroën C3", "Citroën C4", other]) == [tuple(sorted(["Citroën C3", other]))]


@pytest.mark.parametrize("other", ["Citroen C3", "Citroën C 3", "Citroën-C3", "Citroën C3 II"])
def test_labels_that_differ_to_the_eye(other):
    assert look_alike(["Citroën C3", other]) == []


def test_labels_that_look_alike_are_told(root, caplog):
    (root / "green").rename(root / "Red ")
    check = check_data(root)
    assert not check.clean and check.problems == ["2 classes look like 1: 'Red ' and 'red' (spaces, case). "
                                                  "Give each class one name."]  # fmt: skip
    assert caplog.text == ""
    split_table(read_table(root), 0.25)
    assert check.problems[0] in caplog.text


def test_class_folders_that_hold_no_photo_are_told(root, caplog):
    (root / "Truck").mkdir()
    (root / "Truck" / "1.txt").write_text("no photo")
    (root / "Empty").mkdir()
    (root / ".git").mkdir()  # clutter is no class
    (root / "red" / "0.jpg").rename(root / "red" / "IMG_0001")  # a photo by its content
    check = check_data(root)
    assert len(check.rows) == 12 and not check.clean
    (problem,) = check.problems
    assert problem == ("2 class folders hold no photo (Empty, Truck): a model won't know them. "
                       "1 file was passed over: 1 .txt.")  # fmt: skip
    assert problem in caplog.text, "training, which reads the same table, says so too"


def test_below_a_split_only_a_class_without_any_photo_counts(tmp_path):
    for part in ("train", "val"):
        draw_folders(tmp_path / "photos" / part, each=2, seed=len(part))
    for photo in (tmp_path / "photos/val/red").iterdir():
        photo.unlink()
    for part in ("train", "val"):
        (tmp_path / "photos" / part / "Empty").mkdir()
    assert check_data(tmp_path / "photos").problems == ["1 class folder holds no photo (Empty): a model won't know it."]


def test_a_class_whose_photos_cannot_be_read_is_told(root, caplog):
    for photo in (root / "red").iterdir():
        photo.write_bytes(b"\xff\xd8\xff no photo")
    split_table(read_table(root), 0.25)
    assert "1 class is left out (red): none of their photos can be read." in caplog.text


def test_a_picture_in_two_classes_is_told(root, caplog):
    (root / "red" / "same.jpg").write_bytes((root / "green" / "0.jpg").read_bytes())
    split_table(read_table(root), 0.25)
    assert "2 photos of 1 picture bear more than one class" in caplog.text


def test_names_that_are_not_utf8_come_through_every_table(root, tmp_path):
    os.rename(root / "red", os.fsencode(root) + b"/r\xe9d")
    os.rename(root / "green" / "0.jpg", os.fsencode(root) + b"/green/caf\xe9.jpg")
    table = read_table(root)
    assert set(table["label"]) == {"r\\xe9d", "green", "blue"}
    split = split_table(table, 0.25)
    write_table(tmp_path / "split.csv", split)
    (tmp_path / "split.csv").read_text(encoding="utf-8")
    again = read_split(tmp_path / "split.csv")
    assert again.to_dict("records") == split.to_dict("records") and all(map(os.path.isfile, again["file"]))
    assert check_data(root).clean
    assert prepare_data(root, tmp_path / "out").exit_code == 0
    assert [os.fsencode(path.name) for path in (tmp_path / "out").rglob("caf*")] == [b"caf\xe9.jpg"]
