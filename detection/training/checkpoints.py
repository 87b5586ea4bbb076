"""Checkpoints of both trainings: whole after a kill at any moment, and written once more when Ctrl-C ends the work."""

from __future__ import annotations

import csv
import io
import itertools
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.plugins.io import CheckpointIO

from detection.common.console import say
from detection.common.errors import UsageError
from detection.common.files import TEMP_PREFIX, move_over
from detection.training.readers import STOPS, ReaderError, reader_deaths_told

LAST = "last.ckpt"
_temp_numbers = itertools.count()


class WholeCheckpoints(CheckpointIO):
    """Lightning's way to the disk: files are there whole or not at all, and are read without running code in them."""

    def __init__(self) -> None:
        self._outdated: list[Path] = []

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside the checkpoint, so that the rename is one; Lightning's own writer may put it on another disk first.
        temp = path.with_name(f"{TEMP_PREFIX}{os.getpid()}-{next(_temp_numbers)}.tmp")
        try:
            _save(checkpoint, temp)
            move_over(temp, path)
        finally:
            temp.unlink(missing_ok=True)
        if path.name == LAST:
            for file in self._outdated:
                file.unlink(missing_ok=True)
            self._outdated.clear()

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> dict:
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)

    def remove_checkpoint(self, path: str | Path) -> None:
        # Until the next last.ckpt is there, the one before it may still name this file as the best.
        self._outdated.append(Path(path))


class _Kept(io.FileIO):
    """A file that remembers why it took no more: torch says only that a write failed."""

    failed: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            written, whole = 0, memoryview(data).cast("B")
            while written < len(whole):  # a disk that runs full takes a part first
                written += super().write(whole[written:])
            return written
        except OSError as error:
            self.failed = error
            raise


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    """`torch.save`. Raises OSError when the disk takes no more."""
    with _Kept(path, "w") as file:
        try:
            torch.save(checkpoint, file)
        except RuntimeError:
            if file.failed is not None:
                raise file.failed from None
            raise


class LastCheckpoint(Checkpoint):
    """Writes `folder`/last.ckpt after each epoch, every `minutes`, and when the user stops the training.

    SIGINT, SIGTERM and SIGUSR1 end the step; a second one stops at once. Lightning calls callbacks of this class last,
    in the order of `Trainer`'s list: what the others know of the step or epoch is in its checkpoint.
    """

    def __init__(self, folder: Path, minutes: float | None = None, saved: Callable[[], None] | None = None):
        """minutes: None for a training that can only resume between epochs. saved: is called after each checkpoint."""
        self.path, self.stopped = folder / LAST, False
        self._seconds = None if minutes is None else minutes * 60
        self._saved = saved
        self._saved_at, self._saved_step = time.monotonic(), -1
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Of several processes one would leave while the others wait for its gradients: those stop at once.
        if threading.current_thread() is threading.main_thread() and trainer.world_size == 1:
            for number in STOPS:
                self._before[number] = signal.signal(number, self._stop)

    def _stop(self, number: int, _frame: Any) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        say("\nStopping after this step; once more stops at once.")

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch, batch_idx: int) -> None:
        if self.stopped:  # not sooner: by now the curves have the step before
            raise _StepEnded

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        if self._seconds is not None and (self.stopped or time.monotonic() - self._saved_at >= self._seconds):
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
        trainer.save_checkpoint(self.path)
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
        if self._saved is not None:
            self._saved()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()


class _StepEnded(BaseException):
    """Ends `Trainer.fit` after a stop. Not a KeyboardInterrupt, for which Lightning would end the program."""


def fit(trainer: pl.Trainer, last: LastCheckpoint, where: Callable[[], str], module: pl.LightningModule, **named: Any):
    """`Trainer.fit(module, ...)`, resumed from `last` where its file is there.

    Raises KeyboardInterrupt with the text of `where()` when the user stops it.
    """
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    try:
        with reader_deaths_told():
            trainer.fit(module, ckpt_path=last.path if last.path.is_file() else None, weights_only=True, **named)
    except _StepEnded:
        raise KeyboardInterrupt(where()) from None
    except SystemExit:  # what Lightning makes of a KeyboardInterrupt
        if not trainer.interrupted:
            raise
        raise KeyboardInterrupt(where()) from None
    except (RuntimeError, ReaderError) as error:
        if not last.stopped:
            raise
        # A reader process that got the same signal, or no memory for the step: not a word in a training that ends.
        raise KeyboardInterrupt(where()) from error
    finally:
        if main:
            signal.signal(signal.SIGINT, before)  # which Lightning may have switched off


def trainer_plugins(launched: bool = False) -> list[Any]:
    """For Lightning's `Trainer`. launched: whether its strategy knows already where the other processes are.

    A training in one process is never told of the cluster that it runs on: Lightning would take a job of SLURM for one
    that it started, write checkpoints of its own on SIGUSR1, and begin every later training of the folder from them.
    """
    if launched:
        return [WholeCheckpoints()]
    alone = LightningEnvironment()
    alone.set_global_rank(0)  # a task of SLURM has a number, by which Lightning's loggers would keep silent
    return [WholeCheckpoints(), alone]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint, memory-mapped and never unpickled. Raises `UsageError` when it is damaged."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise UsageError(f"The checkpoint '{path}' is damaged: delete it to begin again.") from error


class ResumedCurves(CSVLogger):
    """metrics.csv in `folder`; the rows of an interrupted run stay, up to the step from which it resumes."""

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
    return [row for row in rows if isinstance(step := row.get("step"), (int, float)) and step < first_step]


def _number(text: str) -> int | float | str:
    """As it was logged, so that it is written again in the same digits."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def quiet_lightning() -> None:
    """Lightning's banners and its advice on worker counts would bury the lines that matter."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in (
        ".*does not have many workers.*",
        ".*Consider increasing the value of the `num_workers`.*",
        ".*exists and is not empty.*",
        ".*log_every_n_steps.*",
        ".*ended before the epoch ended.*",  # a resumed epoch: the loader serves what is left of it
        ".*callbacks used to create the checkpoint.*",  # version 0.4 had one more
        ".*You are using `torch.load`.*",
        ".*in eval mode at the start of training.*",  # frozen blocks and BatchNorms, on purpose
        ".*LeafSpec.*",
        ".*The `srun` command is available.*",
        ".*`broadcast_buffers` is deprecated.*",  # its heir is not in every PyTorch that we run on
    ):
        warnings.filterwarnings("ignore", message)
