"""`carclf predict`: what goes in, what comes out, exit codes, and what it says when it is used wrongly."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from carclf.classifier.info import read_info, write_info
from carclf.classifier.levels.names import make_names
from carclf.classifier.levels.sure import SureTable
from carclf.recognition.pictures.folders import MARKER
from detection.folder.out.detections import DetectionsWriter
from tests.carclf.tiny import CLASSES, save_tiny_model
from tests.carclf.wrong_usage import sentence
from tests.fakes import FakeDetector, draw_car

KEYS = ["file", "status", "label", "confidence", "top", "box", "kind", "colour", "colour_confidence", "reason"]


def test_json_has_one_row_a_photo(carclf, photos, model):
    result = carclf("predict", photos, "--model", model, "--format", "json")
    rows = json.loads(result.stdout)
    assert result.exit_code == 0
    assert [row["file"] for row in rows] == [f"{photos}/grey.jpg", f"{photos}/red.jpg", f"{photos}/sub/blue.png"]
    assert all(list(row) == KEYS for row in rows)
    assert [row["status"] for row in rows] == ["no_car", "ok", "ok"]
    assert rows[2]["label"] in CLASSES and rows[2]["box"] == [32, 40, 96, 72]
    assert [rows[2]["label"], rows[2]["confidence"]] == rows[2]["top"][0] and len(rows[2]["top"]) == 3
    assert (rows[0]["label"], rows[0]["confidence"], rows[0]["box"]) == (None, None, None)


def test_a_relative_folder_stays_as_it_was_given(carclf, photos, model, monkeypatch):
    monkeypatch.chdir(photos.parent)
    rows = json.loads(carclf("predict", "photos/", "photos/red.jpg", "--model", model, "--format", "json").stdout)
    assert [row["file"] for row in rows] == [
        "photos/grey.jpg", "photos/red.jpg", "photos/sub/blue.png", "photos/red.jpg",
    ]  # fmt: skip


def test_csv_can_be_read_back(carclf, photos, model):
    result = carclf("predict", photos, "--model", model, "--format", "csv", "--top", "2")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0]) == KEYS and len(rows) == 3
    assert len(json.loads(rows[1]["top"])) == 2 and len(json.loads(rows[1]["box"])) == 4
    assert (rows[0]["label"], rows[0]["box"]) == ("", "")


def test_table_is_the_default(carclf, photos, model):
    lines = carclf("predict", photos, "--model", model).stdout.splitlines()
    assert len(lines) == 4 and lines[0].split() == ["file", "status", "label", "confidence", "colour", "next", "best"]


def test_unreadable_photos_are_rows_and_exit_code_3(carclf, photos, model):
    (photos / "красная машина.jpg").write_text("no photo")
    result = carclf("predict", photos, photos / "gone.jpg", "--model", model, "--format", "json")
    rows = {row["file"].rpartition("/")[2]: row for row in json.loads(result.stdout)}
    assert result.exit_code == 3 and len(rows) == 5
    assert rows["gone.jpg"]["reason"] == "no such file"
    assert rows["красная машина.jpg"]["status"] == "unreadable" and rows["красная машина.jpg"]["reason"]
    assert "2 unreadable" in result.stderr


def test_output_file_holds_what_stdout_would(carclf, photos, model, tmp_path):
    output = tmp_path / "new" / "rows.json"
    result = carclf("predict", photos, "--model", model, "--format", "json", "--output", output)
    assert result.exit_code == 0 and result.stdout == ""
    assert len(json.loads(output.read_text())) == 3
    assert [path.name for path in output.parent.iterdir()] == ["rows.json"]  # no temp file stays


def test_wrong_usage_is_one_sentence(carclf, photos, model, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "does not exist" in sentence(carclf("predict", tmp_path / "gone", "--model", model))
    assert "nor do the other 1" in sentence(carclf("predict", tmp_path / "gone", tmp_path / "too", "--model", model))
    assert "holds no photo" in sentence(carclf("predict", tmp_path / "empty", "--model", model))
    assert "xml" in sentence(carclf("predict", photos, "--model", model, "--format", "xml"))
    assert "no model 'gone'" in sentence(carclf("predict", photos, "--model", "gone"))


def test_an_output_that_cannot_be_written_is_found_out_first(carclf, photos, tmp_path):
    (tmp_path / "file").touch()
    for output in (tmp_path, tmp_path / "file" / "rows.csv"):
        assert str(output) in sentence(carclf("predict", photos, "--model", "never-loaded", "--output", output))


def test_stdout_stays_parseable_when_a_library_prints(carclf, photos, model, monkeypatch):
    class Chatty(FakeDetector):
        def detect(self, images):
            print("[note] from a library")
            return super().detect(images)

    monkeypatch.setattr("carclf.recognition.loading._load_detector", lambda *_: Chatty())
    result = carclf("predict", photos, "--model", model, "--format", "json")
    assert len(json.loads(result.stdout)) == 3 and "[note]" in result.stderr


def test_jsonl_streams_and_standard_input_names_photos(carclf, photos, model):
    lines = f"{photos}/red.jpg\n{photos}/sub/blue.png\n{photos}/gone.jpg\n"
    result = carclf("predict", "-", "--model", model, "--format", "jsonl", input=lines)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["status"] for row in rows] == ["ok", "ok", "unreadable"] and result.exit_code == 3
    assert "no photos" in sentence(carclf("predict", "-", "--model", model, "--format", "csv", input=""))


def test_the_suffix_chooses_the_format(carclf, photos, model, tmp_path):
    pytest.importorskip("pyarrow")
    for name in ("rows.csv", "rows.parquet", "rows.jsonl", "rows.txt"):
        assert carclf("predict", photos, "--model", model, "--output", tmp_path / name).exit_code == 0
    table = pd.read_csv(tmp_path / "rows.csv")
    assert list(table.columns) == KEYS
    for other in (pd.read_parquet(tmp_path / "rows.parquet"), pd.read_json(tmp_path / "rows.jsonl", lines=True)):
        assert list(other["file"]) == list(table["file"]) and list(other["status"]) == list(table["status"])
    assert (tmp_path / "rows.txt").read_text() == carclf("predict", photos, "--model", model).stdout
    assert "--format" in sentence(carclf("predict", photos, "--model", model, "--output", tmp_path / "rows"))


@pytest.mark.parametrize("spelling", ["--all-vehicles", "--every-vehicle"])
def test_threshold_tta_and_every_vehicle(carclf, photos, model, spelling):
    result = carclf(
        "predict", photos, "--model", model, "--format", "json", "--threshold", "1", "--tta", "mirror",
        spelling,
    )  # fmt: skip
    rows = json.loads(result.stdout)
    assert list(rows[0]) == ["file", "vehicle", *KEYS[1:]]
    assert [(row["vehicle"], row["status"]) for row in rows] == [(None, "no_car"), (1, "unknown"), (1, "unknown")]
    assert rows[1]["label"] is None and rows[1]["confidence"] == rows[1]["top"][0][1]
    assert result.stderr.startswith("3 photos, 2 vehicles: 1 no_car, 2 unknown; ") and "photos/s" in result.stderr
    assert "TTA takes" in sentence(carclf("predict", photos, "--model", model, "--tta", "often"))
    assert "from 0 to 1" in sentence(carclf("predict", photos, "--model", model, "--threshold", "2"))


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """The tiny model, with makes and models, and levels that are easily sure."""
    path = save_tiny_model(tmp_path_factory.mktemp("named") / "tiny.safetensors")
    table = {CLASSES[0]: {"make": "Lada", "model": "Niva"}, CLASSES[1]: {"make": "Lada"}, CLASSES[2]: {"make": "VW"}}
    rows = (
        {"right": 0.9, "class_": 0.0, "model": 0.0, "make": 0.0},
        {"right": 0.98, "class_": 1, "model": 1, "make": 0},
    )
    info = read_info(path)
    levels = SureTable.model_validate({"photos": 100, "rows": rows})
    write_info(path, info.model_copy(update={"names": make_names(table, CLASSES), "levels": levels}))
    return str(path)


def test_levels_by_default_and_on_demand(carclf, photos, named):
    def rows(*options):
        result = carclf("predict", photos, "--model", named, "--format", "json", *options)
        assert result.exit_code == 0, result.stderr
        return [row for row in json.loads(result.stdout) if row["status"] != "no_car"]

    plain, levels = rows("--no-levels"), rows()
    assert {tuple(row) for row in plain} == {tuple(KEYS)} or {frozenset(row) for row in plain} == {frozenset(KEYS)}
    assert {row["level"] for row in levels} == {"make"} and {row["label"] for row in levels} <= {"Lada", "VW"}
    assert levels == rows("--levels") and {row["level"] for row in rows("--sure", "0.9")} == {"class"}
    assert rows("--threshold", "0") == [
        row | {"status": "ok", "label": row["top"][0][0], "reason": ""} for row in plain
    ]
    assert {row["label"] for row in rows("--only", "VW")} == {"VW Passat"}, "it is the only one"
    assert rows("--only", "everything") == levels


def test_wrong_levels_are_one_sentence(carclf, photos, model, named):
    for options, told in (
        (["--model", named, "--only", "Lata"], "the nearest are 'Lada'"),
        (["--model", named, "--sure", "0.99"], "at most a share of 0.98"),
        (["--model", named, "--sure", "0.9", "--threshold", "0.5"], "not both"),
        (["--model", named, "--sure", "0.9", "--no-levels"], "leave it or no-levels out"),
        (["--model", model, "--levels"], "no table of names"),
    ):
        assert told in sentence(carclf("predict", photos, *options))


def test_models_show_their_tree(carclf, model, named):
    told = carclf("models", named, "--tree").stdout.splitlines()
    assert told[:3] == ["Lada", "  Lada Niva", "    Lada Niva"] and "VW" in told
    assert json.loads(carclf("models", named, "--tree", "--format", "json").stdout)[0]["make"] == "Lada"
    assert carclf("models", named).stdout == carclf("models", "--classes", named).stdout
    assert "knows no makes and models" in sentence(carclf("models", model, "--tree"))
    assert "Name one model" in sentence(carclf("models", model, "--classes", named))
    tree = carclf("models", "stanford196", "--tree").stdout
    assert "  Audi S4\n    Audi S4 Sedan 2007  (Sedan, 2007)\n" in tree


def test_cutouts_and_overlays_mirror_the_tree(carclf, photos, model, tmp_path):
    result = carclf(
        "predict", photos, "--model", model, "--save-cutouts", tmp_path / "cut", "--overlay", tmp_path / "seen"
    )
    assert result.exit_code == 0
    made = {str(path.relative_to(tmp_path)) for name in ("cut", "seen") for path in (tmp_path / name).rglob("*.*")}
    assert made == {
        "cut/red.jpg", "cut/sub/blue.jpg", f"cut/{MARKER}",
        "seen/red.jpg", "seen/grey.jpg", "seen/sub/blue.jpg", f"seen/{MARKER}",
    }  # fmt: skip
    with Image.open(tmp_path / "seen" / "red.jpg") as image:
        assert image.size == (640, 480)


def test_detections_of_a_cleaned_folder(carclf, photos, model, tmp_path, monkeypatch):
    monkeypatch.setattr("detection.detectors.load.load_detector", lambda *_, **__: FakeDetector())
    carclf("clean", photos, tmp_path / "out", "--save-detections")
    monkeypatch.setattr("carclf.recognition.loading._load_detector", lambda *_: pytest.fail("loaded"))
    file = tmp_path / "out" / "detections.jsonl"
    result = carclf("predict", photos, "--model", model, "--detections", file, "--format", "json")
    assert [row["status"] for row in json.loads(result.stdout)] == ["no_car", "ok", "ok"]
    assert "Note: the detections are of 'fake', and the model was trained on cut-outs of 'compact'" in result.stderr
    assert "not both" in sentence(carclf("predict", photos, "--detections", file, "--detector", "compact"))
    assert "no detections file" in sentence(carclf("predict", photos, "--detections", tmp_path / "gone"))


def test_what_does_not_fit_together_is_one_sentence(carclf, photos, model):
    assert "or --interactive" in sentence(carclf("predict"))
    assert "leave out PHOTOS" in sentence(carclf("predict", photos, "--interactive"))
    assert "leave out --format" in sentence(carclf("predict", "--interactive", "--format", "csv"))
    assert "with --output" in sentence(carclf("predict", photos, "--restart"))
    assert "matches no photo" in sentence(carclf("predict", photos / "*.tif", "--model", model))
    assert "standard output" in sentence(carclf("predict", photos, "--format", "parquet"))


def test_what_is_read_is_not_written_over(carclf, photos, model, monkeypatch):
    (photos / "list.csv").write_text("file\nred.jpg\n")
    monkeypatch.chdir(photos)
    assert "is an input" in sentence(carclf("predict", "list.csv", "--model", model, "--output", photos / "list.csv"))
    said = sentence(carclf("predict", "red.jpg", "--model", model, "--output", "red.jpg", "--format", "csv"))
    assert "'red.jpg' is the name of a photo" in said
    assert (photos / "list.csv").read_text() == "file\nred.jpg\n"


def test_ctrl_c_says_how_to_go_on(carclf, photos, model, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("carclf.classifier.classifier.TorchClassifier.predict", interrupt)
    result = carclf("predict", photos, "--model", model, "--output", tmp_path / "rows.csv")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "Stopped after 0 of 3 photos: the same command resumes from there.\n"
    assert not (tmp_path / "rows.csv").exists()
    result = carclf("predict", photos, "--model", model)
    assert result.stderr == "Stopped after 0 of 3 photos; with --output, a run can be resumed.\n"


def test_failed_photos_are_tried_again_when_asked(carclf, photos, model, tmp_path):
    arguments = ["predict", photos, "--model", model, "--output", tmp_path / "rows.csv"]
    (photos / "bad.jpg").write_bytes(b"x")
    first = carclf(*arguments)
    assert first.exit_code == 3 and "--retry-failed" in first.stderr
    again = carclf(*arguments, "--retry-failed")
    assert again.exit_code == 3 and "(3 done before)" in again.stderr
    (photos / "bad.jpg").unlink()
    done = carclf(*arguments)
    assert done.exit_code == 0 and "3 photos: 2 ok, 1 no_car (3 done before)" in done.stderr
    assert [path.name for path in tmp_path.glob("rows.csv*")] == ["rows.csv"]


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on(tmp_path, model):
    """kill -9 in the middle of a real process, which knows the vehicles from a file of detections."""
    folder, detector = tmp_path / "in", FakeDetector()
    folder.mkdir()
    with DetectionsWriter(tmp_path / "d.jsonl", "fake", "f") as writer:
        for number in range(400):
            file, photo = folder / f"{number:03d}.png", draw_car((200, number % 60, 20))
            Image.fromarray(photo).save(file)
            status = file.stat()
            found = detector.detect([photo])[0]
            writer.append(file.name, (status.st_size, status.st_mtime_ns), photo.shape[:2], found)
    output, journal = tmp_path / "rows.csv", tmp_path / "rows.csv.partial.jsonl"
    command = [sys.executable, "-m", "carclf.cli", "predict", folder, "--model", model, "--batch-size", "4"]
    command += ["--detections", tmp_path / "d.jsonl", "--output", output, "--device", "cpu"]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") > 20:
            break
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not output.exists()
    kept = journal.read_bytes().count(b"\n") - 1
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0 and f"({kept} done before)" in done.stderr, done.stderr
    table = pd.read_csv(output)
    assert list(table["file"]) == [str(path) for path in sorted(folder.iterdir())] and set(table["status"]) == {"ok"}
    assert not journal.exists() and np.isfinite(table["confidence"]).all()
