"""What Lightning needs for one stage: the module with its losses and schedules, and the log of its epochs."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from timm.data import Mixup
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from carclf.checkpoint import ModelInfo
from carclf.console import say
from carclf.dataset import mixed_seed
from carclf.model import CarNet
from carclf.optimizers import make_optimizer, optimizer_steps
from carclf.preprocessing import normalise
from carclf.runs import read_epochs, write_table
from carclf.schedules import make_scheduler, warm_plateau
from carclf.sizes import written
from carclf.stages import Stage
from detection.errors import UsageError


class StageModule(pl.LightningModule):
    """Cross entropy over a stage; batches are uint8 [N, 3, H, W] and int64 [N].

    With `ema` a moving average of all weights goes along, is what validation sees, and what the stage leaves.
    """

    def __init__(
        self,
        net: CarNet,
        stage: Stage,
        info: ModelInfo,
        *,
        photos: int,
        seed: int = 0,
        weight_decay: float = 0.0,
        label_smoothing: float = 0.0,
        class_weights: np.ndarray | None = None,
        ema: float | None = None,
    ):
        """photos: in an epoch, of all processes."""
        super().__init__()
        self.net = net
        self.stage = stage
        self.info = info
        self.photos = photos
        self.seed = seed
        self.weight_decay = weight_decay
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.train_loss = nn.CrossEntropyLoss(weights, label_smoothing=label_smoothing)
        self.val_loss = nn.CrossEntropyLoss()
        self.train_accuracy = MulticlassAccuracy(len(info.classes), average="micro")
        self.val_accuracy = MulticlassAccuracy(len(info.classes), average="micro")
        # A warm-up of the decay: the average would hang on the first weights for long.
        self.average = None if ema is None else ModelEmaV3(net, decay=ema, use_warmup=True, warmup_power=0.75)
        if self.average is not None:
            self.average.requires_grad_(False)
        self.mix = None
        if stage.mixes:
            self.mix = Mixup(
                stage.mixup, stage.cutmix, prob=stage.mix, label_smoothing=0, num_classes=len(info.classes)
            )

    @property
    def result(self) -> CarNet:
        """The network that the stage leaves."""
        return self.net if self.average is None else self.average.module

    def images(self, images: Tensor) -> Tensor:
        """uint8 [N, 3, H, W] to normalised float32."""
        return normalise(images, self.info.mean, self.info.std).contiguous(memory_format=torch.channels_last)

    def on_train_epoch_start(self) -> None:
        # What is random in an epoch depends on its number alone, so a run that was killed repeats it exactly.
        pl.seed_everything(mixed_seed(self.seed, self.current_epoch, self.global_rank), verbose=False)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = self.images(batch[0]), batch[1]
        targets = labels
        if self.mix is not None:
            images, targets = self.mix(images, labels)
        logits = self.net(images).float()
        loss = self.train_loss(logits, targets)
        if not torch.isfinite(loss):
            raise UsageError(
                f"The loss of stage '{self.stage.name}' is not finite at step {index + 1}: lower its learning_rate."
            )
        self.train_accuracy(logits.detach(), labels if targets is labels else targets.argmax(dim=1))
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(labels))
        self.log("train_accuracy", self.train_accuracy, on_step=False, on_epoch=True)
        return loss

    def optimizer_step(self, epoch: int, index: int, optimizer, closure=None) -> None:
        warm_plateau(optimizer, self.stage, self.global_step, self.steps)
        super().optimizer_step(epoch, index, optimizer, closure)
        if self.average is not None:
            self.average.update(self.net, step=self.global_step + 1)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        images, labels = batch
        logits = self.result(self.images(images)).float()
        self.val_accuracy(logits, labels)
        self.log("val_loss", self.val_loss(logits, labels), on_epoch=True, batch_size=len(labels), sync_dist=True)
        self.log("val_accuracy", self.val_accuracy, on_epoch=True)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole stage."""
        return optimizer_steps(self.photos, self.stage, self.trainer.world_size)

    def configure_optimizers(self):
        optimizer = make_optimizer(self.net, self.stage, self.weight_decay)
        return {"optimizer": optimizer, "lr_scheduler": make_scheduler(optimizer, self.stage, self.steps)}


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
        row |= {"learning_rate": self.rate, "seconds": round(seconds, 2), "image_size": written(self.stage.image_size)}
        write_table(self.run / "epochs.csv", [*rows, row])
        say(f"{self.title}, epoch {epoch}/{self.stage.epochs}: loss {seen['train_loss']:.3f}, validation loss "
            f"{seen['val_loss']:.3f}, accuracy {seen['val_accuracy']:.4f}, {seconds:.0f} s")  # fmt: skip
