"""Checkpoints that a kill at any moment leaves whole, Ctrl-C that ends the step first, and curves that go on."""

from __future__ import annotations

import csv
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import CSVLogger

from detection.common.errors import UsageError
from detection.common.files import TEMP_PREFIX

LAST = "last.ckpt"


class SafeCheckpoints(Checkpoint):
    """Writes `folder`/last.ckpt every so many minutes, after each epoch and when the user stops the training.

    Lightning calls callbacks of this class last, so that a step's average of the weights is in its checkpoint.
    """

    def __init__(self, folder: Path, minutes: float):
        self.folder, self.seconds = folder, minutes * 60
        self.stopped = False
        self._saved_at, self._saved_step = time.monotonic(), -1
        self._before: dict[signal.Signals, Any] = {}  # handlers, as signal.signal returned them

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(f"{TEMP_PREFIX}*"):
            leftover.unlink(missing_ok=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._stop)

    def _stop(self, number: int, _frame) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        print("\nStopping after this step; once more stops at once.", file=sys.stderr, flush=True)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        if self.stopped:
            trainer.should_stop = True
        if self.stopped or time.monotonic() - self._saved_at >= self.seconds:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.global_step == self._saved_step:
            return
        # Beside the checkpoint, so that the rename is one; Lightning's own writer may put it on another disk first.
        temp = self.folder / f"{TEMP_PREFIX}{os.getpid()}.ckpt"
        try:
            trainer.save_checkpoint(temp)
            os.replace(temp, self.folder / LAST)
        finally:
            temp.unlink(missing_ok=True)
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()


def read_checkpoint(folder: Path) -> dict | None:
    """The last checkpoint of a training, memory-mapped and never unpickled; None when there is none."""
    path = folder / LAST
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise UsageError(f"The checkpoint '{path}' is damaged: delete it to begin again.") from error


class ContinuedCurves(CSVLogger):
    """metrics.csv in `folder`; the rows of an interrupted run stay, up to the step where it goes on."""

    def __init__(self, folder: Path, name: str, first_step: int):
        rows = _read_rows(folder / name / "metrics.csv", first_step)
        super().__init__(folder, name="", version=name)
        experiment = self.experiment  # made now: it deletes the old file
        if rows:
            experiment.metrics = rows
            experiment.save()


def _read_rows(path: Path, first_step: int) -> list[dict]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{key: _number(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
    except OSError:
        return []
    return [row for row in rows if isinstance(step := row.get("step"), float) and step < first_step]


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
