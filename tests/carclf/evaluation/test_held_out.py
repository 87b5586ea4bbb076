"""A run knows its photos by content: what it was trained on is told, left out, and never calibrated with."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from carclf.classifier.info import read_info
from carclf.cli import app
from carclf.datasets import read_table
from carclf.datasets.content import known_photos, with_digests
from carclf.evaluation.calibrate import LEAST_PHOTOS, doubt
from detection.common.files import write_json, write_table
from tests.carclf.drawn import draw_folders
from tests.carclf.tiny import CLASSES, save_tiny_model


@pytest.fixture
def photos(tmp_path):
    """Four photos a class."""
    root = draw_folders(tmp_path / "photos", each=4)
    for colour, name in zip(("red", "green", "blue"), CLASSES, strict=True):
        (root / colour).rename(root / name)
    return root


@pytest.fixture
def run(photos, tmp_path):
    """A run folder: of each class three photos were trained on, the fourth validated."""
    folder = tmp_path / "run"
    (folder / "stages").mkdir(parents=True)
    save_tiny_model(folder / "best.safetensors")
    table = read_table(photos)
    split = ["val" if file.endswith("3.jpg") else "train" for file in table["file"]]
    write_table(folder / "split.csv", with_digests(table.assign(split=split)))
    return folder


def carclf(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def _cleaned(photos, folder):
    """What stage 1 would leave: other bytes, and a manifest that says where they come from."""
    rows = []
    for photo in sorted(photos.rglob("*.jpg")):
        name = photo.relative_to(photos).as_posix()
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(photo.read_bytes() + folder.name.encode())
        rows.append({"source": name, "output": name, "status": "ok", "reason": ""})
    write_table(folder / "manifest.csv", rows)
    write_json(folder / "settings.json", {"source": str(photos)})
    return folder


def _trained(run, data):
    table = read_table(data)
    return dict(zip(table["file"], known_photos(run / "best.safetensors").trained_on(list(table["file"])), strict=True))


def test_photos_are_found_under_other_names_and_in_other_places(run, photos, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(photos, other)
    (other / CLASSES[0] / "0.jpg").rename(other / CLASSES[0] / "new name.jpg")
    (other / CLASSES[1] / "1.jpg").write_bytes((other / CLASSES[1] / "1.jpg").read_bytes() + b"changed")
    shutil.rmtree(photos)
    seen = _trained(run, other)
    assert seen.pop(str(other / CLASSES[1] / "1.jpg")) is False
    assert all(trained == (not file.endswith("3.jpg")) for file, trained in seen.items())
    save_tiny_model(run / "stages" / "1-head.safetensors")
    assert known_photos(run / "stages" / "1-head.safetensors") == known_photos(run / "best.safetensors")


def test_cut_outs_are_known_by_their_source(run, photos, tmp_path):
    """The run was trained on cut-outs; raw photos, and cut-outs made anew, are the same photos."""
    table = read_table(_cleaned(photos, tmp_path / "cleaned"))
    split = with_digests(table.assign(split=["val" if file.endswith("3.jpg") else "train" for file in table["file"]]))
    assert (split["source_sha256"] != "").all() and (split["source_sha256"] != split["sha256"]).all()
    write_table(run / "split.csv", split)
    for data in (photos, _cleaned(photos, tmp_path / "anew")):
        assert all(trained == (not file.endswith("3.jpg")) for file, trained in _trained(run, data).items())


def test_a_run_of_0_4_0_knows_the_photos_that_are_still_there(run, photos):
    split = pd.read_csv(run / "split.csv")
    split[["file", "label", "split"]].to_csv(run / "split.csv", index=False)
    (photos / CLASSES[0] / "0.jpg").unlink()
    assert sum(_trained(run, photos).values()) == 8
    shutil.rmtree(photos)
    assert known_photos(run / "best.safetensors") is None


def test_evaluate_says_what_was_trained_on_and_takes_the_rest(run, photos, tmp_path):
    common = ("evaluate", run, "--data", photos, "--crops", "--device", "cpu", "--output")
    said = carclf(*common, tmp_path / "all")
    assert "9 of these 12 photos were trained on" in said.stderr and "--split held-out takes the other 3" in said.stderr
    assert json.loads((tmp_path / "all" / "metrics.json").read_text())["trained_on"] == 9
    assert pd.read_csv(tmp_path / "all" / "predictions.csv")["trained_on"].sum() == 9
    assert "9 of which it was trained on" in (tmp_path / "all" / "report.html").read_text()
    said = carclf(*common, tmp_path / "rest", "--split", "held-out")
    assert "9 of the 12 photos were trained on and are left out." in said.stderr
    metrics = json.loads((tmp_path / "rest" / "metrics.json").read_text())
    assert (metrics["n"], metrics["trained_on"]) == (3, 0)


def test_nothing_is_said_where_nothing_is_known(run, photos, tmp_path):
    (run / "split.csv").unlink()
    common = ("evaluate", run, "--data", photos, "--crops", "--device", "cpu", "--output", tmp_path / "figures")
    said = carclf(*common)
    assert said.exit_code == 0 and "trained" not in said.stderr
    assert "trained_on" not in json.loads((tmp_path / "figures" / "metrics.json").read_text())
    said = carclf(*common, "--split", "held-out")
    assert said.exit_code == 2 and "does not know its photos" in said.stderr


def test_held_out_of_what_was_trained_on_altogether_is_one_sentence(run, photos, tmp_path):
    for photo in photos.rglob("3.jpg"):
        photo.unlink()
    said = carclf("evaluate", run, "--data", photos, "--crops", "--output", tmp_path / "out", "--split", "held-out")
    assert said.exit_code == 2 and "trained on all 9 photos" in said.stderr


def test_calibrate_refuses_too_few_photos_and_keeps_its_values(run, photos):
    before = (run / "best.safetensors").read_bytes()
    said = carclf("calibrate", run, "--data", photos, "--device", "cpu")
    assert said.exit_code == 2 and (run / "best.safetensors").read_bytes() == before
    assert "9 of the 12 photos were trained on and are left out." in said.stderr
    info = read_info(run / "best.safetensors")
    assert "only 3 photos that it was not trained on" in said.stderr
    assert f"keeps its temperature {info.temperature:.3f} and threshold {info.threshold:.4f}." in said.stderr


def test_photos_of_one_class_are_no_calibration(run, tmp_path):
    data = draw_folders(tmp_path / "one", each=LEAST_PHOTOS, classes=("red",), seed=5)
    (data / "red").rename(data / CLASSES[0])
    said = carclf("calibrate", run, "--data", data, "--device", "cpu")
    assert said.exit_code == 2 and f"The {LEAST_PHOTOS} photos are all of one class" in said.stderr


@pytest.mark.parametrize(
    ("photos", "classes", "temperature", "said"),
    [(50, 2, 1.3, ""), (49, 2, 1.3, "only 49 photos"), (60, 1, 1.3, "of one class"), (60, 3, 0.2501, "bound of 0.25"),
     (60, 3, 3.9999, "bound of 4")],
)  # fmt: skip
def test_what_makes_a_fit_doubtful(photos, classes, temperature, said):
    known = np.concatenate([np.full((photos, 3), 1 / 3), np.full((5, 3), np.nan)])  # five without a vehicle
    truth = np.r_[np.arange(photos) % classes, np.full(5, 2)]
    told = doubt(known, truth, temperature)
    assert said in told and bool(said) == bool(told)
