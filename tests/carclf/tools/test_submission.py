"""`carclf submit`: the sample's ids, each answered once, whatever happens to the photos or to the run."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from carclf.cli import app
from carclf.recognition.recognizer import CarRecognizer
from carclf.tools.competition.layout import read_competition
from carclf.tools.competition.submission import submit
from detection import UsageError
from detection.common.rows import RowJournal
from detection.cutout.cut import CutoutStyle
from tests.carclf.tiny import CLASSES, save_tiny_model
from tests.fakes import FakeDetector, draw_car

NUMBERS = {"Lada Niva": "5", "VAZ-2107": "4", "VW Passat": "8"}
COLOURS = {"red": (220, 20, 20), "green": (20, 200, 30), "blue": (20, 40, 220)}


class ColourClassifier:
    """Names the colour that a crop has most of; sure of it, but not of a grey photo."""

    detector, fingerprint, style = "fake", "colours-1", CutoutStyle()
    classes = ("red", "green", "blue")

    def __init__(self):
        self.seen = 0
        self.looks = []

    def predict(self, crops, batch_size=32, tta=None):
        self.seen += len(crops)
        self.looks.append(tta)
        sums = np.array([crop.reshape(-1, 3).sum(0) for crop in crops], np.float32)
        return sums / sums.sum(1, keepdims=True)


@pytest.fixture
def competition(tmp_path):
    """30 ids: 24 coloured cars, 3 photos without a car, one that is no photo, two that are not there."""
    folder = tmp_path / "download"
    (folder / "test_upload").mkdir(parents=True)
    ids = [f"{(7 * number) % 31 + 100}.jpg" for number in range(30)]
    for number, id in enumerate(ids[:27]):
        colour = list(COLOURS.values())[number % 3]
        photo = draw_car(colour) if number < 24 else np.full((96, 128, 3), (120, 125, 130), np.uint8)
        Image.fromarray(photo).save(folder / "test_upload" / id, quality=95)
    (folder / "test_upload" / ids[27]).write_text("no photo")
    (folder / "sample-submission.csv").write_text("Id,Category\n" + "".join(f"{id},0\n" for id in ids))
    (folder / "train.csv").write_text(
        "Id,Category\n" + "".join(f"{n}.jpg,{c}\n" for n, c in enumerate([4, 5, 8, 8, 4, 8]))
    )
    (folder / "classes.csv").write_text("Category,class\n4,red\n5,Green\n8,blue\n")
    return folder


def _recognizer(**settings):
    return CarRecognizer(ColourClassifier(), FakeDetector(), batch_size=4, **settings)


def _read(path: Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_every_id_of_the_sample_is_answered_once_in_its_order(competition, tmp_path):
    output = tmp_path / "submission.csv"
    summary = submit(_recognizer(), read_competition(competition), output)
    rows, sample = _read(output), _read(competition / "sample-submission.csv")
    assert [row[0] for row in rows] == [row[0] for row in sample] and rows[0] == ["Id", "Category"]
    answers = [row[1] for row in rows[1:]]
    assert answers[:24] == ["4", "5", "8"] * 8
    assert answers[24:27] == ["8"] * 3, "without a car the whole photo is named: it is bluish"
    assert answers[27:] == ["8"] * 3, "the most frequent of train.csv"
    assert str(summary) == "30 ids: 24 ok, 3 no_car, 2 missing, 1 unreadable" and summary.failed == 3
    details = list(csv.DictReader((tmp_path / "submission-details.csv").read_text().splitlines()))
    assert [row["Id"] for row in details] == [row[0] for row in rows[1:]]
    assert [row["status"] for row in details[23:]] == ["ok", *["no_car"] * 3, "unreadable", "missing", "missing"]
    assert all(row["reason"] for row in details[24:]) and float(details[0]["confidence"]) > 0.4
    assert sorted(file.name for file in tmp_path.glob("sub*")) == ["submission-details.csv", "submission.csv"]


def test_a_run_that_is_killed_goes_on_where_it_was(competition, tmp_path):
    output = tmp_path / "submission.csv"
    whole = tmp_path / "whole.csv"
    submit(_recognizer(), read_competition(competition), whole)

    class Dying(FakeDetector):
        def detect(self, images):
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().detect(images)

    first = CarRecognizer(ColourClassifier(), Dying(), batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        submit(first, read_competition(competition), output)
    assert not output.exists() and 0 < first.classifier.seen < 24
    journal = tmp_path / "submission.csv.journal"
    journal.write_bytes(journal.read_bytes() + b'{"id": "torn')  # as a kill leaves it
    second = _recognizer()
    submit(second, read_competition(competition), output)
    assert second.classifier.seen == 27 - first.classifier.seen, "nothing is done twice"
    assert output.read_bytes() == whole.read_bytes() and not journal.exists()


def test_going_on_sees_changed_and_new_photos_and_refuses_other_settings(competition, tmp_path):
    output, journal = tmp_path / "s.csv", tmp_path / "s.csv.journal"
    ids = read_competition(competition).ids
    kept = tmp_path / "kept"
    real_close = RowJournal.close

    def close(self, done):
        shutil.copy(self.path, kept)
        real_close(self, done)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RowJournal, "close", close)
        submit(_recognizer(), read_competition(competition), output)
    shutil.copy(kept, journal)
    Image.fromarray(draw_car(COLOURS["green"])).save(competition / "test_upload" / ids[0])  # was red
    Image.fromarray(draw_car(COLOURS["green"])).save(competition / "test_upload" / ids[29])  # was missing
    with pytest.raises(UsageError, match="another tta"):
        submit(_recognizer(tta=2), read_competition(competition), output)
    again = _recognizer()
    submit(again, read_competition(competition), output)
    assert again.classifier.seen == 2
    rows = _read(output)
    assert (rows[1][1], rows[30][1], rows[2][1]) == ("5", "5", "5")
    shutil.copy(kept, journal)
    anew = _recognizer(tta=2)
    submit(anew, read_competition(competition), output, restart=True)
    assert anew.classifier.seen == 28 and {look.passes for look in anew.classifier.looks} == {2}


def test_without_train_csv_the_most_frequent_answer_fills_the_gaps(competition, tmp_path):
    (competition / "train.csv").unlink()
    for path in sorted((competition / "test_upload").iterdir()):
        if path.stat().st_size > 100:
            Image.fromarray(draw_car(COLOURS["green"])).save(path)
    summary = submit(_recognizer(), read_competition(competition), tmp_path / "s.csv")
    assert (summary.fallback, summary.source) == ("5", "the most frequent answer")


def test_classes_that_are_numbers_need_no_names_and_finer_classes_add_up(competition):
    found = read_competition(competition)
    assert found.categories(["8", "4", "5"]) == ["8", "4", "5"]
    assert found.categories(["RED", " green ", "8"]) == ["4", "5", "8"]
    with pytest.raises(UsageError, match=r"1 of the model's 2 classes \('7'\)"):
        found.categories(["8", "7"])
    (competition / "finer.csv").write_text("Category,class\n4,red\n4,green\n8,blue\n")
    finer = read_competition(competition, classes=competition / "finer.csv")
    assert finer.categories(ColourClassifier.classes) == ["4", "4", "8"]


def test_finer_classes_win_together(competition, tmp_path):
    (competition / "classes.csv").write_text("Category,class\n4,red\n4,green\n8,blue\n")
    submit(_recognizer(), read_competition(competition), tmp_path / "s.csv")
    rows = _read(tmp_path / "s.csv")
    assert [row[1] for row in rows[25:28]] == ["4"] * 3, "red and green together have more of a grey photo than blue"


def test_a_zip_as_downloaded_is_the_same(competition, tmp_path):
    archive = tmp_path / "zip" / "competition.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as content:
        for path in competition.rglob("*"):
            content.write(path, path.relative_to(competition))
    submit(_recognizer(), read_competition(competition), tmp_path / "folder.csv")
    submit(_recognizer(), read_competition(archive), tmp_path / "zipped.csv")
    assert (tmp_path / "folder.csv").read_bytes() == (tmp_path / "zipped.csv").read_bytes()


def test_an_id_can_not_lead_out_of_the_folder(competition, tmp_path):
    Image.fromarray(draw_car()).save(tmp_path / "secret.jpg")
    ids = ["../../secret.jpg", str(tmp_path / "secret.jpg"), "a\0b.jpg"]
    (competition / "sample-submission.csv").write_text("Id,Category\n" + "".join(f"{id},0\n" for id in ids))
    found = read_competition(competition)
    assert [found.photo(id) for id in found.ids] == [None] * 3
    assert submit(_recognizer(), found, tmp_path / "s.csv").counts == {"missing": 3}


def test_the_line_ends_and_column_names_of_the_sample_are_kept(competition, tmp_path):
    ids = read_competition(competition).ids[:2]
    (competition / "sample-submission.csv").write_bytes(
        b"\xef\xbb\xbfname,label\r\n" + "".join(f"{i},0\r\n" for i in ids).encode()
    )
    (competition / "train.csv").unlink()
    (competition / "classes.csv").write_text("label,class\n4,red\n5,green\n8,blue\n")
    submit(_recognizer(), read_competition(competition), tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_bytes() == f"name,label\r\n{ids[0]},4\r\n{ids[1]},5\r\n".encode()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("sample-submission.csv", None, "pass the competition's folder, or --sample"),
        ("sample-submission.csv", "Id\n1.jpg\n", "two columns"),
        ("sample-submission.csv", "Id,Category\n1.jpg,0\n1.jpg,0\n", "lists '1.jpg' more than once"),
        ("sample-submission.csv", "Id,Category\n", "lists no ids"),
        ("sample-submission.csv", "Id,Category\n1.jpg\n", "1 values in line 2"),
        ("sample-submission.csv", "", "can't be read as a csv"),
        ("train.csv", "Id,label\n1.jpg,0\n", "no column 'Category'"),
        ("classes.csv", "Category,class\n4,red\n5,red\n", "gives 'red' two numbers"),
    ],
)
def test_wrong_folders_are_one_sentence(competition, file, text, message):
    (competition / file).unlink() if text is None else (competition / file).write_text(text)
    with pytest.raises(UsageError, match=message):
        read_competition(competition)


def test_the_command_with_a_real_model(competition, tmp_path, monkeypatch):
    monkeypatch.setattr("carclf.recognition.loading._load_detector", lambda *_: FakeDetector())
    model = save_tiny_model(tmp_path / "tiny.safetensors")
    output = tmp_path / "submission.csv"

    def run(*arguments):
        result = CliRunner().invoke(app, ["submit", str(model), str(competition), "--output", str(output), *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    refused = run()
    assert refused.exit_code == 2 and "3 of the model's 3 classes" in refused.stderr and not output.exists()
    (competition / "names.csv").write_text(
        "Category,class\n" + "".join(f"{NUMBERS[name]},{name}\n" for name in CLASSES)
    )
    result = run("--classes", str(competition / "names.csv"), "--tta", "3")
    assert result.exit_code == 3 and result.stdout.strip() == str(output)
    assert "the 3 missing, unreadable got 8, the most frequent in train.csv" in result.stderr
    assert {row[1] for row in _read(output)[1:]} <= set(NUMBERS.values()) and len(_read(output)) == 31
    assert "is a folder" in run("--output", str(tmp_path)).stderr


def test_the_real_sample(shared_data, tmp_path):
    folder = shared_data / "sf_dl_car_classification"
    found = read_competition(folder, images=folder / "photos")
    assert len(found.ids) == 6675 and sum(found.photo(id) is not None for id in found.ids) == 10
    assert max(found.counts, key=found.counts.get) == "1" and found.names["VAZ-21099"] == "9"
    sample = (folder / "sample-submission.csv").read_bytes()
    assert found.text(dict.fromkeys(found.ids, "0")).encode() == sample
    json.dumps(found.categories(sorted(found.names)))
