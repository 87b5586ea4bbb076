"""What Lightning needs for one stage: the module with its losses and schedules, and the log of its epochs."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from carclf.checkpoint import ModelInfo
from carclf.console import say
from carclf.model import CarNet, parameter_groups
from carclf.preprocessing import normalise
from carclf.runs import read_epochs, write_table
from carclf.stages import Stage
from detection.errors import UsageError


class StageModule(pl.LightningModule):
    """Cross entropy with AdamW; batches are uint8 [N, 3, S, S] and int64 [N]."""

    def __init__(self, net: CarNet, stage: Stage, info: ModelInfo, weight_decay: float, label_smoothing: float):
        super().__init__()
        self.net = net
        self.stage = stage
        self.info = info
        self.weight_decay = weight_decay
        self.train_loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.val_loss = nn.CrossEntropyLoss()
        self.train_accuracy = MulticlassAccuracy(len(info.classes), average="micro")
        self.val_accuracy = MulticlassAccuracy(len(info.classes), average="micro")

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [N, 3, S, S] to float32 logits [N, classes]."""
        images = normalise(images, self.info.mean, self.info.std).contiguous(memory_format=torch.channels_last)
        return self.net(images).float()

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = self.train_loss(logits, labels)
        if not torch.isfinite(loss):
            raise UsageError(
                f"The loss of stage '{self.stage.name}' is not finite at step {index + 1}: lower its learning_rate."
            )
        self.train_accuracy(logits.detach(), labels)
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(labels))
        self.log("train_accuracy", self.train_accuracy, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        images, labels = batch
        logits = self(images)
        self.val_accuracy(logits, labels)
        self.log("val_loss", self.val_loss(logits, labels), on_epoch=True, batch_size=len(labels))
        self.log("val_accuracy", self.val_accuracy, on_epoch=True)

    def configure_optimizers(self):
        stage = self.stage
        groups = parameter_groups(self.net, stage.learning_rate, stage.backbone_factor, self.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=stage.learning_rate)
        if stage.schedule == "constant":
            return optimizer
        if stage.schedule == "plateau":
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, mode="min", factor=0.5, patience=stage.plateau_patience
            )
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}
        steps = max(2, math.ceil(self.trainer.estimated_stepping_batches))
        if stage.schedule == "cosine":
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        else:
            scheduler = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, [group["lr"] for group in groups], total_steps=steps, pct_start=max(stage.warmup, 1 / steps),
                cycle_momentum=False,
            )  # fmt: skip
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class EpochLog(pl.Callback):
    """Adds one row an epoch to epochs.csv and says it in one line."""

    def __init__(self, run: Path, stage: Stage, title: str):
        self.run = run
        self.stage = stage
        self.title = title
        self.started = 0.0
        self.rate = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.started = time.time()

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch, index: int) -> None:
        self.rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Lightning calls this after validation, so the metrics of both are there."""
        seen = {name: float(value) for name, value in trainer.callback_metrics.items()}
        seconds = time.time() - self.started
        epoch = trainer.current_epoch + 1
        # A resumed stage repeats the epoch that was cut off.
        rows = [row for row in read_epochs(self.run) if (row["stage"], row["epoch"]) != (self.stage.name, epoch)]
        names = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
        row = {"stage": self.stage.name, "epoch": epoch} | {name: round(seen[name], 6) for name in names}
        row |= {"learning_rate": self.rate, "seconds": round(seconds, 2), "image_size": self.stage.image_size}
        write_table(self.run / "epochs.csv", [*rows, row])
        say(f"{self.title}, epoch {epoch}/{self.stage.epochs}: loss {seen['train_loss']:.3f}, validation loss "
            f"{seen['val_loss']:.3f}, accuracy {seen['val_accuracy']:.4f}, {seconds:.0f} s")  # fmt: skip
