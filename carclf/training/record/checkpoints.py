"""What lets a stage that was cut off go on as if nothing had happened, on top of Lightning's checkpoints."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.plugins.io import CheckpointIO

from detection.common.files import TEMP_PREFIX, replace_file

LAST = "last.ckpt"


class SafeCheckpoints(CheckpointIO):
    """Checkpoint files that are there whole or not at all, and are read without running any code in them."""

    def __init__(self) -> None:
        self._outdated: list[Path] = []

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        replace_file(path, content.getbuffer())
        if path.name == LAST:
            for file in self._outdated:
                file.unlink(missing_ok=True)
            self._outdated.clear()

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> dict:
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)

    def remove_checkpoint(self, path: str | Path) -> None:
        # Until the next last.ckpt is there, the one before it still names this file as the best.
        self._outdated.append(Path(path))


class Keeper(ModelCheckpoint):
    """Keeps one epoch of a stage. The run folder may be moved before it goes on."""

    def __init__(self, folder: Path, name: str, **named: Any):
        # At the end of the training epoch: by then early stopping, the schedule and the epoch's log are up to date.
        super().__init__(
            folder,
            name,
            save_on_train_epoch_end=True,
            auto_insert_metric_name=False,
            enable_version_counter=False,
            **named,
        )

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


def keepers(folder: Path) -> tuple[Keeper, Keeper]:
    """Of the best epoch, and of the last one to go on from.

    In this order, so that the last one knows the best. (One ModelCheckpoint with `save_last` writes the last epoch only
    when it is the best too.)
    """
    return Keeper(folder, "best-{epoch:04d}", monitor="val_accuracy", mode="max"), Keeper(folder, Path(LAST).stem)


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


def remove_leftovers(run: Path) -> None:
    """What a killed process was writing."""
    for folder in (run, run / "stages", run / "validation", *(run / "checkpoints").glob("*")):
        for file in folder.glob(f"{TEMP_PREFIX}*.tmp"):
            file.unlink(missing_ok=True)
