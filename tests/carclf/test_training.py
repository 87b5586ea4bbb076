"""A real, short Lightning training in stages."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from carclf.checkpoint import load_model
from carclf.classifier import Classifier
from carclf.config import TrainConfig
from carclf.training import train
from detection import CutoutStyle, UsageError, load_image
from detection.precision import use_bfloat16
from tests.carclf.drawn import draw_folders


def _stage(name, epochs=1, learning_rate=0.005, **settings):
    common = {"image_size": 32, "batch_size": 8, "backbone_factor": 1.0}
    return {"name": name, "train": name, "epochs": epochs, "learning_rate": learning_rate} | common | settings


STAGES = (_stage("head", learning_rate=0.02), _stage("half"), _stage("all", 4, schedule="onecycle"))


def _config(root, **changes):
    settings = {
        "data": root / "photos",
        "output": root / "run",
        "crops": True,
        "workers": 0,
        "progress": False,
        "precision": "float32",
        "device": "cpu",
        "cutout": CutoutStyle(background="gray"),
        "model": {
            "architecture": "test_efficientnet", "pretrained": "none", "image_size": 32, "head": {"dropout": 0.0}
        },
        "stages": STAGES,
    }  # fmt: skip
    return TrainConfig.model_validate(settings | changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("training")
    draw_folders(root / "photos", each=24)
    return train(_config(root, validation=0.25))


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
    assert wanted <= names
    assert not [name for name in names if name.endswith((".tmp", ".ckpt"))]


def test_metrics_are_those_of_the_written_file(run):
    metrics = json.loads((run / "metrics.json").read_text())
    split = pd.read_csv(run / "split.csv")
    held = split[split["split"] == "val"]
    classifier = Classifier.load(run, "cpu")
    probabilities = classifier.predict([load_image(file) for file in held["file"]])
    right = np.array(classifier.classes)[probabilities.argmax(1)] == held["label"].to_numpy()
    assert metrics["accuracy"] == pytest.approx(right.mean()) and metrics["n"] == len(held)
    assert "hash" in metrics["git"]


def test_the_model_carries_how_its_crops_were_cut(run):
    classifier = Classifier.load(run, "cpu")
    assert classifier.style.background == "gray" and classifier.classes == ("blue", "green", "red")


def test_frozen_blocks_are_bit_equal_from_stage_to_stage(run):
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


def test_early_stopping_ends_a_stage(tmp_path):
    draw_folders(tmp_path / "photos", each=6)
    stage = _stage("all", 30, learning_rate=1e-6, stop_patience=1)
    folder = train(_config(tmp_path, stages=[stage], validation=0.3))
    assert len(pd.read_csv(folder / "epochs.csv")) < 30


def test_a_diverging_training_is_one_sentence(tmp_path):
    draw_folders(tmp_path / "photos", each=6)
    stage = _stage("all", 3, learning_rate=1e12)
    with pytest.raises(UsageError, match="lower its learning_rate"):
        train(_config(tmp_path, stages=[stage]))


def test_killed_training_goes_on(tmp_path):
    """kill -9 after the first stage; the second call keeps it and finishes."""
    draw_folders(tmp_path / "photos", each=12)
    config = _config(tmp_path)
    from carclf.config import write_config

    write_config(config, tmp_path / "c.yaml")
    code = (
        "import sys; from carclf.config import TrainConfig, read_config; from carclf.training import train\n"
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
    monkeypatch.setattr("detection.precision.cpu_has_bfloat16", lambda: False)
    assert not use_bfloat16("auto", "cpu")
