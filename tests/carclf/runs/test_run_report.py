"""The page of a run: self-contained, true to the run's files, and there in every state of the run."""

from __future__ import annotations

import json
import re
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from carclf.cli import app
from carclf.evaluation.evaluate import evaluate
from carclf.runs.recipe import TrainConfig
from carclf.runs.report.page import write_run_report
from carclf.runs.report.record import changed_settings, read_record, stage_rows
from detection.common.config import write_config
from detection.common.errors import UsageError
from detection.common.files import write_json, write_table
from tests.carclf.checked_html import check_page

CLASSES = ["Lada <Niva>", "NA", "VW & Passat"]
STAGES = [
    {"name": "first_head", "train": "head", "epochs": 2, "image_size": 128, "batch_size": 16, "stop_patience": 3},
    {"name": "whole", "train": "all", "epochs": 4, "image_size": [96, 160], "dropout": 0.5, "stop_patience": 3},
]


def _epoch(stage, number, accuracy):
    row = {"stage": stage, "epoch": number, "train_loss": 1.5, "val_loss": 1.2, "train_accuracy": 0.5}
    return row | {"val_accuracy": accuracy, "learning_rate": 1e-3, "seconds": 30.0, "image_size": 128, "more": "x"}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """An evaluation of 30 photos of three classes, four of them wrong, one without an answer."""
    root = tmp_path_factory.mktemp("evaluated")
    random = np.random.default_rng(0)
    rows, probabilities = [], []
    for number in range(30):
        truth = number % 3
        file = root / f"{number}.png"
        cv2.imwrite(str(file), np.full((40, 60, 3), 60 * truth + 40, np.uint8))
        answer = (truth + 1) % 3 if number in (0, 3, 7, 12) else truth
        chances = random.dirichlet([1, 1, 1]) * 0.2
        chances[answer] += 0.8
        probabilities.append(chances if number != 20 else [np.nan] * 3)
        rows.append({"file": str(file), "label": CLASSES[truth], "status": "no_car" if number == 20 else "ok"})
    table = pd.DataFrame(rows).assign(reason=["no vehicle" if number == 20 else "" for number in range(30)])
    about = {"model": {"name": "runs/mine", "architecture": "tiny_net"}, "seconds": 3.0, "photos_per_second": 10.0}
    evaluate(table, np.array(probabilities), CLASSES, root / "results", about)
    return root / "results"


@pytest.fixture
def begun(tmp_path):
    """A run in its second stage."""
    run = tmp_path / "run"
    run.mkdir()
    config = TrainConfig.model_validate({"data": "cars", "seed": 7, "init": "runs/parent", "stages": STAGES})
    write_config(config, run / "config.yaml")
    write_table(
        run / "epochs.csv", [_epoch("first_head", 1, 0.4), _epoch("first_head", 2, 0.6), _epoch("whole", 1, 0.7)]
    )
    stage = {"number": 1, "name": "first_head", "description": "only the head, of 9 blocks none", "best_epoch": 2}
    stage |= {"frozen_parameters": 3_000_000, "trained_parameters": 500_000, "photos_per_second": 55.5, "seconds": 77}
    (run / "stages.json").write_text(json.dumps([stage | {"epochs": 2, "accuracy": 0.6, "optimizer": None}]))
    return run


@pytest.fixture
def finished(begun, evaluated):
    shutil.copytree(evaluated, begun / "validation")
    metrics = json.loads((evaluated / "metrics.json").read_text())
    git, versions = {"hash": "0123abc", "dirty": True}, {"torch": "9.8.7"}
    write_json(begun / "metrics.json", metrics | {"seconds": 754, "git": git, "versions": versions})
    write_table(begun / "split.csv", [{"file": str(n), "label": "NA", "split": "train"} for n in range(21)])
    return begun


def test_the_page_of_a_finished_run_is_self_contained(finished):
    path = write_run_report(finished)
    assert path == finished / "report.html"
    pictures = check_page(path.read_text(encoding="utf-8"))
    assert len(pictures) == 5 + 2 * len(read_record(finished).pairs)  # the errors, and two of each confused pair


def test_it_names_what_was_done_and_how_good_it_is(finished):
    text = write_run_report(finished).read_text(encoding="utf-8")
    metrics = json.loads((finished / "metrics.json").read_text())
    low, high = metrics["intervals"]["accuracy"]
    for part in (
        ">83.3%<", f"{low:.1%} to {high:.1%}; 25 of 30 photos right", "trained on 21 photos", "runs/parent",
        "Lada &lt;Niva&gt;", "VW &amp; Passat", "only the head, of 9 blocks none",
        "55.5", "1 min 17 s", "12 min 34 s", "0123abc, changed since", "9.8.7", "96x160", "stages.*.stop_patience",
        "no vehicle", ">1</div><div class=\"name\">photos without an answer", f"{metrics['ece']:.3f}",
        "stages.whole.dropout",
    ):  # fmt: skip
        assert part in text, part
    assert "<Niva>" not in text and "running" not in text
    assert text.count('class="border"') == 4  # one border in each of four charts


def test_the_worst_errors_are_those_of_errors_csv(finished):
    text = write_run_report(finished).read_text(encoding="utf-8")
    errors = pd.read_csv(finished / "validation" / "errors.csv", keep_default_na=False)
    shown = [re.search(rf'title="{re.escape(file)}"', text).start() for file in errors["file"]]
    assert len(errors) == 5 and shown == sorted(shown)
    assert errors["status"].iloc[-1] == "no_car" and errors["confidence"].iloc[0] == errors["confidence"][:4].max()


def test_a_class_called_na_stays_one(finished):
    record = read_record(finished)
    assert {row["class"] for row in record.report} == set(CLASSES) == {row["label"] for row in record.predictions}
    assert record.rows == CLASSES and record.columns == [*CLASSES, "(no answer)"] and record.confusion.sum() == 30


def test_a_run_under_way_has_a_page(begun):
    text = write_run_report(begun).read_text(encoding="utf-8")
    check_page(text)
    assert "1 of 2" in text and "running" in text and "70.0%" in text and "Confusion matrix" not in text


def test_a_run_that_has_just_begun_has_a_page(begun):
    for name in ("epochs.csv", "stages.json"):
        (begun / name).unlink()
    text = write_run_report(begun).read_text(encoding="utf-8")
    check_page(text)
    assert "0 of 2" in text and text.count("planned") == 2 and "<svg" not in text


def test_a_run_that_failed_says_why_and_how_long_its_batches_took(begun):
    state = {
        "state": "failed",
        "error": "The disk is <full>.",
        "parent": "runs/other",
        "command": "carclf train x.yaml",
    }
    write_json(begun / "state.json", state | {"seconds": 4000.0, "versions": {"timm": "1.2.3"}})
    (begun / "batches.csv").write_text("stage,epoch,batch,seconds\nwhole,1,1,0.5\nwhole,1,2,0.25\nwhole,1,3,9\nwhole,2")
    text = write_run_report(begun).read_text(encoding="utf-8")
    for part in (
        "It stopped: The disk is &lt;full&gt;.",
        "runs/other",
        "0.5 s a batch",
        "stopped",
        "1 h 6 min",
        "1.2.3",
    ):
        assert part in text, part
    assert "runs/parent" not in text.partition("<h2>Settings")[0] and "carclf train x.yaml" in text


def test_an_evaluation_has_a_page_too(evaluated):
    text = write_run_report(evaluated).read_text(encoding="utf-8")
    check_page(text)
    assert "Evaluation of runs/mine" in text and "tiny_net" in text and "10.0 photos per second" in text
    assert "<h2>Stages" not in text and "Learning, stage by stage" not in text


def test_many_classes_are_a_picture_that_names_its_cells(tmp_path):
    classes = [f"class {number}</script>" for number in range(40)]
    table = pd.DataFrame({"file": [f"{n}.jpg" for n in range(40)], "label": classes})
    evaluate(table, np.roll(np.eye(40), -1, axis=0), classes, tmp_path)
    text = write_run_report(tmp_path).read_text(encoding="utf-8")
    assert len(check_page(text)) == 1 and 'id="matrix"' in text  # the photos are gone
    assert text.count("photo not found") == 12 + 8 and text.count("</script>") == 1
    cells = json.loads(re.search(r"const confused = (.*);", text).group(1))
    assert cells["rows"] == classes and [0, 1, 1] in cells["cells"] and len(cells["cells"]) == 40


def test_stages_come_from_all_three_files(begun):
    first, second = stage_rows(read_record(begun))
    assert first["seconds"] == 77 and first["optimizer"] == "adamw" and first["state"] == "done"
    assert (second["state"], second["epochs"], second["planned"], second["accuracy"]) == ("running", 1, 4, 0.7)
    assert second["seconds"] == 30 and second["image_size"] == [96, 160]


def test_only_changed_settings_are_listed():
    config = TrainConfig.model_validate({"data": "cars", "stages": STAGES, "model": {"head": {"dense": 256}}})
    changed = {name: (value, default) for name, value, default in changed_settings(config.model_dump(mode="json"))}
    assert changed == {
        "data": ("cars", "none"),
        "model.head.dense": ("256", "none"),
        "stages.*.stop_patience": ("3", "none"),
        "stages.whole.dropout": ("0.5", "none"),
    }
    assert changed_settings({"of_a_later_version": [1, 2]}) == [("of_a_later_version", "[1, 2]", "none")]


@pytest.mark.parametrize("name", ["metrics.json", "validation/report.csv", "config.yaml"])
def test_a_damaged_file_is_one_sentence(finished, name):
    (finished / name).write_bytes(b"{\x00: [\n'\"")
    with pytest.raises(UsageError, match="can't be read"):
        write_run_report(finished)


def test_the_command_prints_the_page_and_refuses_other_folders(begun, tmp_path):
    done = CliRunner().invoke(app, ["report", str(begun)])
    assert done.exit_code == 0 and done.stdout.strip() == str(begun / "report.html")
    assert CliRunner().invoke(app, ["report", str(tmp_path)]).exit_code == 2
    with pytest.raises(UsageError, match="neither a run folder"):
        write_run_report(tmp_path / "nowhere")


def test_levels_have_a_table_and_their_picture(evaluated, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(evaluated, folder)
    assert "Levels" not in write_run_report(folder).read_text(encoding="utf-8")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    level = {"threshold": 0.8, "accuracy": 0.9, "answered": 0.625, "right": 0.975}
    metrics["levels"] = {
        "sure": 0.98,
        "answered": 0.9375,
        "right": 0.9625,
        "class": level,
        "make": level | {"right": None},
    }
    write_json(folder / "metrics.json", metrics)
    cv2.imwrite(str(folder / "levels.png"), np.zeros((8, 8, 3), np.uint8))
    page = write_run_report(folder)
    text = page.read_text(encoding="utf-8")
    check_page(text)
    table = text[text.index('id="levels"') :].partition("</table>")[0]
    assert re.findall(r"<tr><td>(.*?)</td>", table) == ["class", "make", "at any level"]
    assert "62.5%" in table and "93.8%" in table and text.count("data:image/png;base64") >= 1
