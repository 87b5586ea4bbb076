"""The tables that a training writes while it runs: epochs.csv, batches.csv and stages.json."""

from __future__ import annotations

import csv
import io
import math
import time
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor

from carclf.classifier.info import written
from carclf.runs.recipe import Stage
from carclf.runs.tables import _COLUMNS, BATCHES, forget_later, read_epochs
from detection.common.console import say
from detection.common.files import write_table
from detection.training.resume import RunState


class EpochLog(pl.Callback):
    """Adds one row per epoch to epochs.csv and says it in one line; its batches go to batches.csv.

    Does nothing but in the first process. The rows are there before the epoch's checkpoint: a run that is killed in
    between repeats the epoch and its rows.
    """

    def __init__(self, run: Path, stage: Stage, title: str, state: RunState, photos: int):
        """photos: that one batch of `Trainer` holds, over all processes."""
        self.run = run
        self.stage = stage
        self.title = title
        self.state = state
        self.photos = photos
        self.rate = 0.0
        self.started = self.ended = 0.0  # of the epoch, and of its last batch
        self.seconds: list[float] = []
        self.rates: list[float] = []
        self.losses: list[Tensor] = []

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            forget_later(self.run, self.stage.name, trainer.current_epoch)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.seconds, self.rates, self.losses = [], [], []
        self.started = self.ended = time.perf_counter()

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch, index: int) -> None:
        self.rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs, batch, index: int) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self.ended)  # waiting for the photos counts too
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.losses.append(outputs["loss"].detach())  # read at the end: each look at a GPU's number waits for it
        self.ended = now

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Lightning calls this after validation, so the metrics of both are there."""
        if not trainer.is_global_zero:
            return
        seen = {name: float(value) for name, value in trainer.callback_metrics.items()}
        seconds, training = time.perf_counter() - self.started, self.ended - self.started
        epoch = trainer.current_epoch + 1
        # A resumed stage repeats the epoch that was cut off.
        rows = [row for row in read_epochs(self.run) if (row["stage"], row["epoch"]) != (self.stage.name, epoch)]
        names = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
        row = {"stage": self.stage.name, "epoch": epoch} | {name: round(seen[name], 6) for name in names}
        compared = not math.isnan(seen.get("metric_loss", math.nan))
        row |= {"metric_loss": round(seen["metric_loss"], 6)} if compared else {}
        row |= {"learning_rate": self.rate, "seconds": round(seconds, 2), "image_size": written(self.stage.image_size)}
        row |= {"train_seconds": round(training, 3), "photos": len(self.seconds) * self.photos}
        self._add_batches(epoch, trainer.accumulate_grad_batches)
        write_table(self.run / "epochs.csv", [*rows, row])
        self.state.update()
        metric = f"metric loss {seen['metric_loss']:.3f}, " if compared else ""
        say(f"{self.title}, epoch {epoch}/{self.stage.epochs}: loss {seen['train_loss']:.3f}, {metric}validation loss "
            f"{seen['val_loss']:.3f}, accuracy {seen['val_accuracy']:.4f}, {seconds:.0f} s")  # fmt: skip

    def _add_batches(self, epoch: int, parts: int) -> None:
        # Lightning gives the loss as a part of the sum that a step is made of.
        losses = (torch.stack(self.losses).float() * parts).tolist() if self.losses else []
        path = self.run / BATCHES
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not path.exists():
            writer.writerow(_COLUMNS)
        for number, (seconds, loss, rate) in enumerate(zip(self.seconds, losses, self.rates, strict=True), 1):
            writer.writerow((self.stage.name, epoch, number, f"{seconds:.4f}", f"{loss:.6g}", f"{rate:.6g}"))
        with open(path, "a", encoding="utf-8", newline="") as file:  # grows too large to be replaced each time
            file.write(text.getvalue())
