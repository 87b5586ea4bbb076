"""Run folders as a training leaves them, made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

STAGES = {"head": {"epochs": 2, "learning_rate": 0.02}, "all": {"epochs": 4, "learning_rate": 0.005}}


def make_run(
    folder: Path, accuracy: float | None = None, state: dict | None = None, epochs: int = 6, **settings
) -> Path:
    """A run of two stages. Settings are those of config.yaml; `head` and `all` those of a stage.

    accuracy: of metrics.json, which a run without it has not; its best val_accuracy is 0.5 + 0.05 an epoch.
    """
    folder.mkdir(parents=True)
    stages = [{"name": name, "train": name} | values | settings.pop(name, {}) for name, values in STAGES.items()]
    model = {"architecture": "tf_efficientnet_lite0", "image_size": 256}
    config = {"name": "train", "data": "photos", "seed": 1, "init": None, "model": model, "output": str(folder)}
    (folder / "config.yaml").write_text(yaml.safe_dump(config | settings | {"stages": stages}))
    rows = ["stage,epoch,train_loss,val_loss,train_accuracy,val_accuracy,learning_rate,seconds,image_size"]
    for number in range(1, epochs + 1):
        stage, epoch = ("head", number) if number < 3 else ("all", number - 2)
        good = 0.5 + 0.05 * number
        rows.append(f"{stage},{epoch},{2 - good},{1.9 - good},{good - 0.05},{good},0.02,{10 + number},192")
    if epochs:
        (folder / "epochs.csv").write_text("\n".join(rows) + "\n")
    if accuracy is not None:
        figures = {
            "accuracy": accuracy,
            "top5": 0.99,
            "status": {"ok": 98},
            "seconds": 3725.0,
            "git": {"hash": "ab" * 20},
        }
        (folder / "metrics.json").write_text(json.dumps(figures))
    if state is not None:
        (folder / "state.json").write_text(json.dumps(state))
    return folder
