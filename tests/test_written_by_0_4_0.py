"""What carclf 0.4.0 has written loads, and what was stopped under 0.4.0 goes on: runs, journals, models.

The files are in written_by_0_4_0, with `/@ROOT@` for the folder that they were made in; see its README.md.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from carclf import CarRecognizer
from carclf.cli import app
from detection import CutoutStyle, UsageError, clean_folder, load_detector
from tests.fakes import FakeDetector

WRITTEN = Path(__file__).parent / "written_by_0_4_0"
PLACE = b"/@ROOT@"
TIME = 1_700_000_000  # the photos' time of modification, which journals note and a checkout does not keep
TIMES = ["seconds", "train_seconds"]
# Another processor rounds otherwise (measured: weights by 0.0001, without a checkpoint's optimizer by 0.002 and more).
NEAR = 5e-4


@pytest.fixture
def written(tmp_path):
    """Copies parts of the fixtures into a folder and makes the paths in them that folder's."""

    def copy(*parts: str) -> Path:
        root = tmp_path / "root"
        for part in parts:
            shutil.copytree(WRITTEN / part, root / part)
        for path in root.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                if b"\0" not in content and PLACE in content:
                    path.write_bytes(content.replace(PLACE, os.fsencode(root)))
                if "photos" in path.parts:
                    os.utime(path, (TIME, TIME))
        return root

    return copy


def carclf(*arguments: object, exit_code: int = 0):
    """Runs a command; gives the result with stdout and stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == exit_code, f"{result.stderr}\n{result.exception!r}"
    return result


def rows(path: Path, key: str) -> dict[str, dict[str, str]]:
    with open(path, newline="") as file:
        return {row[key]: row for row in csv.DictReader(file)}


def without_kind(found: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Rows of a manifest as version 0.4.0 wrote them."""
    return {name: {key: value for key, value in row.items() if key != "kind"} for name, row in found.items()}


def assert_near(found: Path, expected: Path, atol: float) -> None:
    """Weights of the same names, shapes and, but for rounding, numbers."""
    ours, theirs = load_file(found), load_file(expected)
    assert {name: value.shape for name, value in ours.items()} == {name: one.shape for name, one in theirs.items()}
    far = {name: np.abs(ours[name].astype(float) - theirs[name].astype(float)).max() for name in ours}
    assert max(far.values()) <= atol, sorted(far.items(), key=lambda item: -item[1])[:3]


def read(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.mark.parametrize("model", ["training/finished", "training/finished/best.safetensors", "ensemble", "export"])
def test_classifiers_answer_as_they_did(model):
    """A run folder, its file, an ensemble of two, and an export."""
    answers = read(WRITTEN / "answers.json")[model.removesuffix("/best.safetensors")]
    recognizer = CarRecognizer(str(WRITTEN / model), crops=True, device="cpu", top=3)
    found = recognizer([WRITTEN / photo for photo in answers])
    assert {one.label for one in found} >= {"blue", "red"}, "else all answers might be the same"
    for one, expected in zip(found, answers.values(), strict=True):
        assert dict(one.top) == pytest.approx(dict(expected), abs=1e-3)
        assert one.status in ("ok", "unknown")


def test_an_export_says_that_its_detector_is_left_out_here():
    """Its own detector is meant, not another one: the fixture holds none."""
    with pytest.raises(Exception, match="detector_features"):
        CarRecognizer(str(WRITTEN / "export"), device="cpu")(np.zeros((64, 64, 3), np.uint8))


def test_a_finished_run_is_listed_shown_and_reported(written):
    run = written("training") / "training" / "finished"
    table = run.parent / "table.json"
    carclf("runs", "--folder", run.parent, "--sort", "run", "--output", table)
    listed = {row["run"]: row for row in json.loads(table.read_text())}
    assert set(listed) == {"finished", "stopped"}
    assert listed["finished"]["accuracy"] == pytest.approx(read(run / "metrics.json")["accuracy"])
    assert (listed["finished"]["epochs"], listed["stopped"]["epochs"]) == (8, 6)
    assert "test_efficientnet" in carclf("runs", "show", run).stdout
    assert carclf("report", run).stdout == f"{run / 'report.html'}\n"
    assert "test_efficientnet" in (run / "report.html").read_text()


def test_a_finished_run_stays_as_it_is(written):
    run = written("training") / "training" / "finished"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert "finished already" in carclf("train", "--resume", run).stderr
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_a_training_goes_on(written):
    """Killed in the seventh epoch, it ends as the one that was not: early, after the eighth, with the best so far.

    That epoch is the fifth, whose weights are only in its checkpoint; that two more without a better one end the stage
    is in the checkpoint too, and so are the optimizer's momentum and the schedule, which the losses depend on.
    """
    root = written("training")
    run, whole = root / "training" / "stopped", root / "training" / "finished"
    before = (run / "epochs.csv").read_text()
    result = carclf("train", "--resume", run)
    assert result.stdout == f"{run}\n"
    assert (run / "epochs.csv").read_text().startswith(before), "no epoch is trained again"
    ours, theirs = (pd.read_csv(one / "epochs.csv") for one in (run, whole))
    pd.testing.assert_frame_equal(ours.drop(columns=TIMES), theirs.drop(columns=TIMES), rtol=NEAR, atol=NEAR)
    ours, theirs = (read(one / "stages.json")[0] for one in (run, whole))
    assert ours["best_epoch"] == theirs["best_epoch"] == 5 and ours["epochs"] == theirs["epochs"] == 8
    assert ours["description"] == theirs["description"] and ours["accuracy"] == pytest.approx(theirs["accuracy"])
    state, metrics, expected = read(run / "state.json"), read(run / "metrics.json"), read(whole / "metrics.json")
    assert state["state"] == "finished" and len(state["resumed"]) == 1
    assert metrics["accuracy"] == expected["accuracy"] and metrics["nll"] == pytest.approx(expected["nll"], abs=NEAR)
    assert_near(run / "best.safetensors", whole / "best.safetensors", atol=0)
    assert not list(run.rglob("*.ckpt")) and not (run / ".lock").exists()


def test_another_config_is_no_resuming(written):
    """The saved one is read and compared, key by key."""
    run = written("training") / "training" / "stopped"
    assert "other settings (seed)" in carclf("train", "--resume", run, "seed=2", exit_code=2).stderr


def test_a_detectors_training_goes_on(written, capfd):
    """Killed in the sixth of eight steps."""
    folder = written("detector") / "detector"
    weights = folder / "stopped" / "model.safetensors"
    before = pd.read_csv(folder / "stopped" / "curves" / "metrics.csv")
    result = carclf("train-detector", folder / "training.yaml")
    assert result.stdout == f"{weights}\n"
    assert "Resuming from step 5 of 8" in result.stderr + capfd.readouterr().err
    curves = pd.read_csv(folder / "stopped" / "curves" / "metrics.csv")
    assert list(curves["step"]) == list(range(8))
    pd.testing.assert_frame_equal(curves[:5], before, check_dtype=False)
    assert_near(weights, folder / "model.safetensors", atol=NEAR)


def test_a_trained_detector_loads():
    """With the kinds, sides and threshold that its file says."""
    detector = load_detector(str(WRITTEN / "detector" / "model.yaml"), device="cpu")
    settings = detector.settings
    assert dict(settings.kinds) == {0: "car"} and (settings.short_side, settings.long_side) == (64, 96)
    assert settings.score_threshold == 0.5
    assert len(detector.detect([np.zeros((60, 80, 3), np.uint8)])) == 1


def test_a_stopped_cleaning_goes_on(written):
    """Two of eight photos have no row that holds: they are done, and the others' files are not touched."""
    root = written("cleaning")
    photos, out = root / "cleaning" / "photos", root / "cleaning" / "stopped"
    kept = {name: (out / name).stat().st_mtime_ns for name in ("a/0.jpg", "a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg")}
    detector = FakeDetector()
    summary = clean_folder(photos, out, detector, CutoutStyle(), progress=False)
    assert (summary.processed, sum(detector.calls)) == (2, 2)
    assert (out / "b/5.jpg").is_file() and (out / "grey.jpg").is_file()
    assert kept == {name: (out / name).stat().st_mtime_ns for name in kept}
    ours, theirs = rows(out / "manifest.csv", "source"), rows(root / "cleaning/finished/manifest.csv", "source")
    assert without_kind(ours) == theirs
    assert {name for name, row in ours.items() if row["kind"] == "car"} == {"b/5.png"}, "what it did itself"
    assert summary.exit_code == 3 and summary.counts == {"ok": 6, "no_car": 1, "unreadable": 1}


def test_other_settings_do_not_go_on(written):
    root = written("cleaning")
    photos, out = root / "cleaning" / "photos", root / "cleaning" / "stopped"
    with pytest.raises(UsageError, match="background 'white'"):
        clean_folder(photos, out, FakeDetector(), CutoutStyle(background="black"), progress=False)


def test_saved_detections_are_taken(written, tmp_path):
    """By `clean` in another style, without a detector; and a run that saves them goes on."""
    root = written("cleaning")
    photos, before = root / "cleaning" / "photos", root / "cleaning" / "finished"
    again = tmp_path / "black"
    taken = ("--detections", before / "detections.jsonl", "--background", "black")
    carclf("clean", photos, again, *taken, exit_code=3)
    ours, theirs = rows(again / "manifest.csv", "source"), rows(before / "manifest.csv", "source")
    assert without_kind(ours) == theirs and read(again / "settings.json")["fingerprint"] == "fake-1"
    (before / "b" / "5.jpg").unlink()
    detector = FakeDetector()
    summary = clean_folder(photos, before, detector, CutoutStyle(), progress=False, save_detections=True)
    assert summary.processed == 1 and (before / "b" / "5.jpg").is_file()


def test_what_another_bundled_detector_cut_out_is_kept_and_its_detections_serve(written, tmp_path):
    """Version 0.5.0 brings other weights: their cut-outs are not mixed, and what was found before needs no detector."""
    folder = written("compact") / "compact"
    finished = folder / "finished"
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    refused = carclf("clean", folder / "photos", finished, "--save-detections", "--device", "cpu", exit_code=2)
    assert "was made with fingerprint 'compact-" in refused.stderr and "choose another OUT" in refused.stderr
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
    detections = finished / "detections.jsonl"
    assert "1 ok" in carclf("clean", folder / "photos", tmp_path / "again", "--detections", detections).stdout
    manifests = tmp_path / "again" / "manifest.csv", WRITTEN / "compact" / "finished" / "manifest.csv"
    found, expected = (rows(manifest, "source")["street.jpg"] for manifest in manifests)
    for name in ("x1", "y1", "x2", "y2"):
        assert float(found[name]) == pytest.approx(float(expected[name]), abs=3)


def test_a_stopped_prediction_goes_on(written):
    """Three of eight photos have their rows, and keep them; the file in the end is that of one go."""
    root = written("cleaning", "training", "prediction")
    output, journal = root / "prediction" / "stopped.csv", root / "prediction" / "stopped.csv.partial.jsonl"
    kept = journal.read_bytes()
    found = root / "cleaning" / "finished" / "detections.jsonl"
    model = root / "training" / "finished"
    command = ("predict", root / "cleaning" / "photos", "--model", model, "--detections", found, "--output", output)
    assert "a run with another top: " in carclf(*command, "--top", 2, exit_code=2).stderr
    assert "(3 done before)" in carclf(*command, exit_code=3).stderr
    assert journal.read_bytes().startswith(kept)
    ours, theirs = rows(output, "file"), rows(root / "prediction" / "undisturbed.csv", "file")
    assert list(ours) == list(theirs) and len(ours) == 8
    for name, expected in theirs.items():
        for column in ("status", "label", "box", "reason"):
            assert ours[name][column] == expected[column]
        assert dict(json.loads(ours[name]["top"])) == pytest.approx(dict(json.loads(expected["top"])), abs=1e-3)
