"""A real, short Lightning training in stages."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_lightning.loggers import TensorBoardLogger

import carclf.training.loop
from carclf.classifier.catalogue import load_classifier
from carclf.classifier.checkpoint import load_model
from carclf.classifier.info import read_info
from carclf.runs.tables import read_batches, read_stages
from carclf.training.loop import train
from carclf.training.module import StageModule
from detection import UsageError, load_image
from detection.common.config import write_config
from detection.common.networks.device import use_bfloat16
from detection.training.progress import spared
from tests.carclf.drawn import draw_folders
from tests.carclf.short_runs import short_config, short_stage, weights

STAGES = (short_stage("head", learning_rate=0.02), short_stage("half"), short_stage("all", 4, schedule="onecycle"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("training")
    draw_folders(root / "photos", each=24)
    return train(short_config(root, validation=0.25, stages=STAGES, tensorboard=True))


def test_it_learns_and_says_so(run):
    epochs = pd.read_csv(run / "epochs.csv")
    assert epochs["stage"].tolist() == ["head", "half"] + ["all"] * 4
    assert epochs["val_loss"].iloc[-1] < 0.5 * epochs["val_loss"].iloc[0]
    assert json.loads((run / "metrics.json").read_text())["accuracy"] > 0.8  # by chance: 0.33
    assert {"val_loss", "val_accuracy", "learning_rate", "seconds", "image_size"} <= set(epochs)


def test_the_run_folder_is_complete(run):
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    wanted = {"config.yaml", "split.csv", "epochs.csv", "curves.png", "best.safetensors", "metrics.json"}
    wanted |= {"stages/1-head.safetensors", "stages/2-half.safetensors", "stages/3-all.safetensors"}
    wanted |= {"state.json", "stages.json", "batches.csv", "report.html"}
    assert wanted <= names
    assert len([name for name in names if name.startswith("tensorboard/3-all/events")]) == 1
    assert not [name for name in names if name.endswith((".tmp", ".ckpt"))]


def test_metrics_are_those_of_the_written_file(run):
    metrics = json.loads((run / "metrics.json").read_text())
    split = pd.read_csv(run / "split.csv")
    held = split[split["split"] == "val"]
    classifier = load_classifier(run, "cpu")
    probabilities = classifier.predict([load_image(file) for file in held["file"]])
    right = np.array(classifier.classes)[probabilities.argmax(1)] == held["label"].to_numpy()
    assert metrics["accuracy"] == pytest.approx(right.mean()) and metrics["n"] == len(held)
    assert "hash" in metrics["git"]


def test_the_model_carries_how_its_crops_were_cut(run):
    classifier = load_classifier(run, "cpu")
    assert classifier.style.background == "gray" and classifier.classes == ("blue", "green", "red")


def test_frozen_blocks_are_bit_equal_from_stage_toshort_stage(run):
    first, _ = load_model(run / "stages/1-head.safetensors")
    second, _ = load_model(run / "stages/2-half.safetensors")
    second.freeze("half")
    modules = {name.rsplit(".", 1)[0] for block in second.blocks[: second.first_trained] for name in block}
    before, compared = first.backbone.state_dict(), 0
    for name, value in second.backbone.state_dict().items():
        if name.rsplit(".", 1)[0] in modules and not name.endswith("num_batches_tracked"):
            assert torch.equal(value, before[name]), name
            compared += 1
    assert compared > 10
    assert not torch.equal(first.head[-1].weight, second.head[-1].weight)


def test_state_tells_how_it_was_started_and_ended(run):
    state = json.loads((run / "state.json").read_text())
    assert state["state"] == "finished" and state["started"] <= state["ended"] and state["parent"] is None
    assert state["pid"] == os.getpid() and state["versions"]["torch"] == torch.__version__
    assert Path(sys.argv[0]).name in state["command"]
    assert state["seconds"] >= json.loads((run / "metrics.json").read_text())["seconds"] > 0


def test_each_stage_has_its_entry(run):
    stages, epochs = read_stages(run), pd.read_csv(run / "epochs.csv")
    assert [(stage["number"], stage["name"], stage["epochs"]) for stage in stages] == [
        (1, "head", 1), (2, "half", 1), (3, "all", 4)
    ]  # fmt: skip
    total = {stage["frozen_parameters"] + stage["trained_parameters"] for stage in stages}
    assert len(total) == 1 and stages[0]["trained_parameters"] < stages[1]["trained_parameters"]
    assert stages[2]["frozen_parameters"] == 0 and "head trained" in stages[2]["description"]
    last = epochs[epochs["stage"] == "all"]
    assert stages[2]["accuracy"] == pytest.approx(last["val_accuracy"].max(), abs=1e-6)
    assert stages[2]["best_epoch"] == last["val_accuracy"].argmax() + 1
    assert stages[2]["seconds"] == pytest.approx(last["seconds"].sum(), abs=0.01)
    photos = last["photos"].sum() / last["train_seconds"].sum()
    assert stages[2]["photos_per_second"] == pytest.approx(photos, rel=0.01)
    assert stages[2]["batch_size"] == stages[2]["micro_batch"] == 8


def test_each_batch_has_its_row(run):
    batches, epochs = pd.DataFrame(read_batches(run)), pd.read_csv(run / "epochs.csv")
    counts = batches.groupby(["stage", "epoch"], sort=False).size()
    assert counts.tolist() == [54 // 8] * 6 and epochs["photos"].tolist() == [48] * 6
    spent = batches.groupby(["stage", "epoch"], sort=False)["seconds"].sum()
    assert spent.tolist() == pytest.approx(epochs["train_seconds"].tolist(), rel=0.05, abs=0.01)
    losses = batches.groupby(["stage", "epoch"], sort=False)["loss"].mean()
    assert losses.tolist() == pytest.approx(epochs["train_loss"].tolist(), rel=1e-3)
    rates = batches[batches["stage"] == "all"]["learning_rate"]
    assert rates.iloc[-1] < rates.iloc[0] < rates.max() == pytest.approx(0.005), "one cycle"


@pytest.mark.parametrize("when", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_out_of_memory_goes_on_with_smaller_parts(tmp_path, monkeypatch, capsys, when):
    """At once, or after an epoch that fitted: the same weights as without, as nothing but the memory changes."""
    monkeypatch.setattr(carclf.training.loop, "_show", lambda run: None)
    draw_folders(tmp_path / "photos", each=10)
    # A head on a frozen backbone, so that no norm sees how the batch is parted.
    stage = short_stage("head", 2, optimizer="sgd", augmentation=0.5)
    whole = train(short_config(tmp_path, stages=[stage], output=tmp_path / "whole"))
    real = StageModule.training_step

    def step(self, batch, index):
        if self.current_epoch >= when and len(batch[1]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, batch, index)

    monkeypatch.setattr(StageModule, "training_step", step)
    parts = train(short_config(tmp_path, stages=[stage]))
    said = [line for line in capsys.readouterr().err.splitlines() if "out of memory" in line]
    assert len(said) == 2 and "4 photos at once" in said[0] and "2 photos at once" in said[1]
    assert ("the beginning of the stage" if when == 0 else "the last epoch") in said[1]
    assert read_stages(parts)[0]["micro_batch"] == 2
    ours, theirs = weights(whole, "stages/1-head.safetensors"), weights(parts, "stages/1-head.safetensors")
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)


@pytest.mark.slow
def test_no_memory_for_two_photos_is_one_sentence(tmp_path, monkeypatch):
    draw_folders(tmp_path / "photos", each=6)
    monkeypatch.setattr(StageModule, "training_step", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError()))
    with pytest.raises(UsageError, match="even with 2 photos at once"):
        train(short_config(tmp_path, stages=[short_stage("head", augmentation=0.5)]))
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert state["state"] == "failed" and "does not fit" in state["error"] and state["ended"]


def test_a_report_that_fails_stops_nothing(tmp_path, monkeypatch, capsys):
    draw_folders(tmp_path / "photos", each=4)
    monkeypatch.setattr(carclf.training.loop, "write_run_report", lambda run: 1 / 0)
    folder = train(short_config(tmp_path, stages=[short_stage("head", augmentation=0.5)]))
    assert (folder / "metrics.json").is_file() and "was not written: division by zero" in capsys.readouterr().err


def test_mlflow_that_is_not_installed_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("carclf.training.record.loggers.importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install mlflow"):
        train(short_config(tmp_path, mlflow=str(tmp_path / "ml")))
    assert not (tmp_path / "run").exists()


def test_a_diverging_training_is_one_sentence(tmp_path):
    draw_folders(tmp_path / "photos", each=6)
    stage = short_stage("all", 3, learning_rate=1e12)
    with pytest.raises(UsageError, match="lower its learning_rate"):
        train(short_config(tmp_path, stages=[stage]))


@pytest.mark.slow
def test_killed_training_goes_on(tmp_path):
    """kill -9 after the first stage; the second call keeps it and finishes."""
    draw_folders(tmp_path / "photos", each=12)
    config = short_config(tmp_path, stages=STAGES)
    write_config(config, tmp_path / "c.yaml")
    code = (
        "import sys; from carclf.runs.recipe import TrainConfig, read_config; from carclf.training.loop import train\n"
        "train(read_config(TrainConfig, sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "c.yaml"], stderr=subprocess.DEVNULL)
    done = tmp_path / "run/stages/1-head.safetensors"
    deadline = time.time() + 120
    while not done.is_file() and time.time() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = done.read_bytes()
    folder = train(config.model_copy(update={"resume": True}))
    assert done.read_bytes() == kept
    assert (folder / "metrics.json").is_file()
    assert pd.read_csv(folder / "epochs.csv")["stage"].tolist() == ["head", "half"] + ["all"] * 4


def test_precision_follows_the_machine(monkeypatch):
    assert use_bfloat16("bf16", "cpu") and not use_bfloat16("float32", "cpu")
    monkeypatch.setattr("detection.common.networks.device.cpu_has_bfloat16", lambda: False)
    assert not use_bfloat16("auto", "cpu")


def test_a_log_that_takes_nothing_stops_no_training(tmp_path, capsys):
    """The place of its file is taken, as on a full disk nothing can be written there."""
    (tmp_path / "file").write_text("")
    logger = spared(TensorBoardLogger(tmp_path / "file", "folder", version="1"), "TensorBoard")
    for _ in range(2):
        logger.log_metrics({"loss": 1.0}, 1)
    logger.finalize("success")
    assert capsys.readouterr().err.count("TensorBoard takes nothing more of this training: ") == 1


def test_names_by_nested_folders_go_into_the_file(tmp_path):
    draw_folders(tmp_path / "drawn", each=4)
    for colour, place in {"red": "Lada/Niva/2010", "green": "Lada/Priora", "blue": "VW/VW Passat/2005"}.items():
        (tmp_path / "photos" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "drawn" / colour).rename(tmp_path / "photos" / place)
    config = short_config(tmp_path, validation=0.25, names="folders", stages=(short_stage("head"),))
    info = read_info(train(config) / "best.safetensors")
    assert info.classes == ("Lada Niva 2010", "Lada Priora", "VW Passat 2005")
    assert [(one.make, one.model, one.years) for one in info.names] == [
        ("Lada", "Lada Niva", "2010"), ("Lada", "Lada Priora", ""), ("VW", "VW Passat", "2005"),
    ]  # fmt: skip
    assert info.levels is None, "three photos say nothing about levels"
    (tmp_path / "names.csv").write_text("class,make\nLada Niva 2010,Lada\n")
    with pytest.raises(UsageError, match="lacks 2 classes"):
        train(config.model_copy(update={"names": str(tmp_path / "names.csv"), "output": tmp_path / "other"}))
    assert not (tmp_path / "other").exists()
