"""The checkpoints of a stage besides its last one: the best epoch's, and early stopping that survives a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from detection.common.files import TEMP_PREFIX


class BestEpoch(ModelCheckpoint):
    """Keeps the best epoch of a stage. The run folder may be moved before it is resumed.

    Goes before `LastCheckpoint` in `Trainer`'s list, so that the last checkpoint knows the best.
    """

    def __init__(self, folder: Path):
        # At the end of the training epoch: by then early stopping, the schedule and the epoch's log are up to date.
        super().__init__(
            folder,
            "best-{epoch:04d}",
            monitor="val_accuracy",
            mode="max",
            save_on_train_epoch_end=True,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    @property
    def state_key(self) -> str:
        # The name under which checkpoints have kept its state since version 0.3.
        return super().state_key.replace(type(self).__qualname__, "Keeper", 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        assert self.dirpath is not None  # the constructor takes a folder
        here = Path(self.dirpath)

        def moved(path: str) -> str:
            return str(here / Path(path).name) if path else path

        paths = {
            name: moved(state_dict[name]) for name in ("best_model_path", "kth_best_model_path", "last_model_path")
        }
        best = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | paths | {"best_k_models": best, "dirpath": self.dirpath})


class Patience(EarlyStopping):
    """Early stopping that remembers having stopped."""

    def __init__(self, patience: int):
        super().__init__("val_accuracy", mode="max", patience=patience, check_on_train_epoch_end=True)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.wait_count >= self.patience:  # the run was killed after the stop, before the stage was written
            trainer.should_stop = True


def remove_checkpoints(folder: Path) -> None:
    """Of a stage that is done; as large as they are, its safetensors file takes their place."""
    if folder.is_dir():
        for file in folder.iterdir():
            if file.suffix == ".ckpt" or file.name.startswith(TEMP_PREFIX):
                file.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
