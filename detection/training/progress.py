"""What a training shows while it runs; all of it on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from detection.common.console import say
from detection.common.errors import brief

# What Lightning calls of a logger while it trains.
_CALLS = ("log_metrics", "log_hyperparams", "log_graph", "save", "after_save_checkpoint", "finalize")
# Where nobody watches a bar (a log file), a line this often.
_SECONDS = 60.0


def spared(logger: Logger, name: str) -> Logger:
    """The logger; from its first failure on it takes nothing more, and says so in one line: a log stops no training."""
    failed = False

    def guarded(call: Callable) -> Callable:
        def tried(*arguments, **named):
            nonlocal failed
            if failed:
                return
            try:
                call(*arguments, **named)
            except Exception as error:
                failed = True
                say(f"{name} takes nothing more of this training: {brief(error)}")

        return tried

    for call in _CALLS:
        setattr(logger, call, guarded(getattr(logger, call)))
    return logger


class TrainingBar(pl.Callback):
    """A bar of all steps with loss, speed and time left; a line per minute where stderr is no terminal."""

    def __init__(self, steps: int):
        self.steps = steps
        self._console = Console(stderr=True)
        self._loss: float | None = None
        self._progress: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._first, self._start = trainer.global_step, time.monotonic()
        self._told = self._start
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._progress.add_task("training", total=self.steps, completed=self._first, note="")
        self._progress.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        loss = float(outputs["loss"])
        self._loss = loss if self._loss is None else 0.95 * self._loss + 0.05 * loss
        step, now = trainer.global_step, time.monotonic()
        speed = (now - self._start) / max(1, step - self._first)
        note = f"loss {self._loss:.3f}, {speed:.2f} s per step"
        if self._progress is not None:
            self._progress.update(self._task, completed=step, note=note)
        if not self._console.is_terminal and (now - self._told >= _SECONDS or step >= self.steps):
            self._told = now
            left = round((self.steps - step) * speed / 60)
            print(f"step {step} of {self.steps}, {note}, {left} min left", file=sys.stderr, flush=True)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures = trainer.callback_metrics
        shown = [
            f"{name} {value:.3f}" for name, value in figures.items() if name.endswith(("/main_iou", "/false_share"))
        ]
        if shown:
            self._console.print(f"step {trainer.global_step}: {', '.join(shown)}", highlight=False)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
