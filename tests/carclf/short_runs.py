"""Trainings of seconds for the tests, and what must be equal of two that should end alike."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from carclf.runs.recipe import TrainConfig
from detection import CutoutStyle
from detection.common.networks.weights import read_safetensors

MODEL = {"architecture": "test_efficientnet", "pretrained": "none", "image_size": 32, "head": {"dropout": 0.0}}
_TIMES = ["seconds", "train_seconds", "photos_per_second"]


def short_stage(name: str, epochs: int = 1, learning_rate: float = 0.005, **settings) -> dict:
    """A stage of `TrainConfig`; its name says what it trains, unless `train` does."""
    common = {"train": name, "image_size": 32, "batch_size": 8, "backbone_factor": 1.0}
    return {"name": name, "epochs": epochs, "learning_rate": learning_rate} | common | settings


def short_config(root: Path, **changes) -> TrainConfig:
    """Photos in root/photos, the run in root/run."""
    settings = {
        "data": root / "photos",
        "output": root / "run",
        "crops": True,
        "workers": 0,
        "progress": False,
        "tensorboard": False,
        "precision": "float32",
        "device": "cpu",
        "cutout": CutoutStyle(background="gray"),
        "model": MODEL,
    }
    return TrainConfig.model_validate(settings | changes)


def results(run: Path) -> dict:
    """What a training has come to, without the times."""
    metrics = json.loads((run / "metrics.json").read_text())
    stages = json.loads((run / "stages.json").read_text())
    tables = {name: pd.read_csv(run / name) for name in ("epochs.csv", "batches.csv")}
    return {
        "metrics": {name: value for name, value in metrics.items() if name not in ("seconds", "git", "versions")},
        "stages": [{name: value for name, value in stage.items() if name not in _TIMES} for stage in stages],
        **{
            name: table.drop(columns=_TIMES, errors="ignore").astype(object).fillna("").to_dict("records")
            for name, table in tables.items()
        },
    }


def weights(run: Path, file: str = "best.safetensors") -> dict:
    return read_safetensors(run / file)[0]
