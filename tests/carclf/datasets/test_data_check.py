import json
import re

import cv2
import pandas as pd
import pytest
from typer.testing import CliRunner

from carclf.cli import app
from carclf.datasets.check.check import FINDINGS, check_data
from carclf.datasets.check.report import report
from detection.images.read import load_image
from detection.images.write import save_image
from tests.carclf.drawn import draw_folders


@pytest.fixture
def root(tmp_path):
    return draw_folders(tmp_path / "photos", each=4)


def again(source, target):
    """The same picture, enlarged and saved anew."""
    save_image(target, cv2.resize(load_image(source), (120, 80), interpolation=cv2.INTER_CUBIC), quality=85)


def found(check, finding):
    return list(check.found(finding)["file"])


def carclf(*arguments):
    result = CliRunner().invoke(app, ["data", "check", *(str(argument) for argument in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_clean_data(root):
    check = check_data(root)
    assert check.clean and check.balance["ratio"] == 1 and set(check.rows["status"]) == {"ok"}
    assert list(check.rows.columns) == [
        "file", "label", "split", "status", "reason", "width", "height", "box", "picture", "findings",
    ]  # fmt: skip
    assert (check.rows["width"] == 60).all() and (check.rows["height"] == 40).all()
    result = carclf(root)
    assert result.exit_code == 0 and "Nothing to look at" in result.stdout


def test_every_finding_of_a_folder(root):
    (root / "red" / "same.jpg").write_bytes((root / "red" / "0.jpg").read_bytes())
    again(root / "green" / "1.jpg", root / "green" / "again.png")
    again(root / "blue" / "2.jpg", root / "green" / "wrong.png")
    (root / "blue" / "broken.jpg").write_bytes((root / "blue" / "3.jpg").read_bytes()[:400])
    check = check_data(root)
    assert found(check, "exact_duplicate") == ["red/0.jpg", "red/same.jpg"]
    assert sorted(found(check, "near_duplicate")) == [
        "blue/2.jpg", "green/1.jpg", "green/again.png", "green/wrong.png",
    ]  # fmt: skip
    assert found(check, "conflicting_label") == ["blue/2.jpg", "green/wrong.png"]
    assert found(check, "unreadable") == ["blue/broken.jpg"] and not check.clean
    assert found(check, "crosses_split") == []
    row = check.rows.set_index("file").loc["blue/broken.jpg"]
    assert row["status"] == "unreadable" and "truncated" in row["reason"]
    assert check.balance == {
        "largest": {"class": "green", "photos": 6}, "smallest": {"class": "blue", "photos": 4}, "ratio": 1.5,
    }  # fmt: skip


def test_copies_across_the_split_boxes_and_missing_photos(root):
    again(root / "red" / "0.jpg", root / "red" / "again.jpg")
    rows = ["red/0.jpg,red,train,0 0 60 40", "red/1.jpg,red,train,", "red/2.jpg,red,train,-1 0 60 40",
            "red/again.jpg,red,test,50 5 40 30", "blue/0.jpg,blue,train,0 0 200 40", "blue/1.jpg,blue,train,70 0 80 9",
            "blue/2.jpg,blue,val,5 5 9 9", "blue/99.jpg,blue,val,"]  # fmt: skip
    (root / "labels.csv").write_text("\n".join(["file,class,split,box", *rows]))
    check = check_data(root)
    assert found(check, "crosses_split") == found(check, "near_duplicate") == ["red/0.jpg", "red/again.jpg"]
    assert found(check, "missing") == ["blue/99.jpg"]
    reasons = check.found("box_outside").set_index("file")["reason"].to_dict()
    assert reasons == {
        "red/2.jpg": "the box -1,0,60,40 extends beyond the photo (60 x 40)",
        "red/again.jpg": "the box 50,5,40,30 is empty",
        "blue/0.jpg": "the box 0,0,200,40 extends beyond the photo (60 x 40)",
        "blue/1.jpg": "the box 70,0,80,9 lies outside the photo (60 x 40)",
    }
    assert check.classes.to_dict("records") == [
        {"class": "red", "train": 3, "val": 0, "test": 1, "photos": 4},
        {"class": "blue", "train": 2, "val": 1, "test": 0, "photos": 3},
    ]
    text = report(check)
    assert "crosses_split: 2 photos of 1 picture." in text and "  = red/again.jpg (test, red)" in text
    assert "8 photos of 2 classes" in text and "7 ok, 1 missing" in text


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["red/0.jpg,red,", "red/1.jpg,red,"], "only one class"),
        (["red/0.jpg,red,", "red/1.jpg,red,", "blue/0.jpg,blue,"], r"1 class has only one .* \(blue\): each needs two"),
        (
            ["red/0.jpg,red,train", "blue/0.jpg,blue,val", "red/1.jpg,red,val"],
            r"1 class has no .* \(blue\): each needs one",
        ),
        (["red/9.jpg,red,", "blue/9.jpg,blue,"], r"2 classes have no readable photo .* \(blue, red\)"),
    ],
)
def test_classes_that_cannot_be_trained(root, rows, said):
    (root / "labels.csv").write_text("\n".join(["file,class,split", *rows]))
    result = carclf(root)
    assert result.exit_code == 3 and re.search(said, result.stdout)


def test_the_command_writes_all_rows_as_csv_and_json(root, tmp_path):
    for number in range(12):
        (root / "red" / f"broken{number:02d}.jpg").write_bytes(b"")
    result = carclf(root, "--csv", tmp_path / "new" / "rows.csv", "--json", tmp_path / "all.json")
    assert result.exit_code == 3 and "unreadable: 12 photos." in result.stdout and "and 2 more" in result.stdout
    rows = pd.read_csv(tmp_path / "new" / "rows.csv")
    assert len(rows) == 24 and (rows["findings"] == "unreadable").sum() == 12
    everything = json.loads((tmp_path / "all.json").read_text())
    assert everything["clean"] is False and set(everything["findings"]) == set(FINDINGS)
    assert everything["findings"]["unreadable"] == 12 and everything["status"] == {"ok": 12, "unreadable": 12}
    assert len(everything["rows"]) == 24 and everything["rows"][0]["width"] == 60
    assert everything["rows"][-1]["width"] is None or everything["rows"][-1]["status"] == "ok"


def test_wrong_usage_is_one_sentence(root, tmp_path):
    for arguments in ((tmp_path / "gone",), (root, "--csv", tmp_path), (root, "--images", tmp_path / "gone.zip")):
        result = carclf(*arguments)
        assert result.exit_code == 2 and result.stdout == "" and result.stderr.count("\n") == 1


def test_real_photos(shared_data):
    check = check_data(shared_data / "sf_dl_car_classification" / "photos.csv")
    assert len(check.rows) == 10 and set(check.rows["status"]) == {"ok"}
    assert check.problems == [
        "10 classes have only one readable photo to train on (Ford Focus, Kalina, Lada Priora and 7 more): "
        "each needs two, one of them for validation."
    ]


def test_real_photos_that_bear_two_labels(shared_data, tmp_path):
    """Stanford's training photos hold pictures that lie in two classes' folders."""
    pairs = ["Acura RL Sedan 2012/04892.jpg", "Acura TSX Sedan 2012/00151.jpg",  # the same bytes
             "Bentley Continental GT Coupe 2007/07679.jpg", "Bentley Continental GT Coupe 2012/06800.jpg",
             "Acura RL Sedan 2012/00183.jpg"]  # fmt: skip
    images = shared_data / "stanford_cars" / "images"
    pairs = [name for name in pairs if (images / name).is_file()]
    (tmp_path / "some.csv").write_text("file,class\n" + "".join(f'"{name}","{name[:20]}"\n' for name in pairs))
    table = check_data(tmp_path / "some.csv", images)
    assert found(table, "exact_duplicate") == pairs[:2] and found(table, "near_duplicate") == pairs[2:4]


def test_names_that_look_like_markup_are_shown_as_they_are(tmp_path):
    root = tmp_path / "photos"
    draw_folders(root, each=2)
    (root / "red").rename(root / "[bold]red[]")
    said = carclf(root)
    assert said.exit_code == 0 and "[bold]red[]" in said.stdout
