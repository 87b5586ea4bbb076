"""What Lightning needs for one stage: the module with its losses, its schedule and the average of its weights."""

from __future__ import annotations

import sys

import numpy as np
import pytorch_lightning as pl
import torch
from timm.data import Mixup
from timm.data.mixup import mixup_target
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from carclf.classifier.info import ModelInfo
from carclf.classifier.network import CarNet
from carclf.classifier.preprocessing import normalise
from carclf.runs.recipe import Stage
from carclf.training.data.dataset import mixed_seed
from carclf.training.metric import contrastive_loss
from carclf.training.rates import make_optimizer, make_scheduler, optimizer_steps, warm_plateau
from carclf.training.teacher import Teacher
from detection.common.errors import UsageError


class PairMix(Mixup):
    """timm's mixing of the first photo of a batch with the last, and so on, for any number of photos.

    timm refuses an odd number, which a batch has where a class or two are all there is. Its middle photo has no other
    one, so it meets itself: it stays as it is, and so does its label. `mixed`: whether the last batch was.
    """

    mixed = False

    def __call__(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes normalised images [N, 3, H, W] in place; labels, int64 [N], become float [N, classes]."""
        share = self._mix_batch(x)
        self.mixed = share < 1
        return x, mixup_target(target, self.num_classes, share, self.label_smoothing)


class StageModule(pl.LightningModule):
    """Cross entropy over a stage, and a metric loss where it has one; batches are uint8 [N, 3, H, W] and int64 [N].

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
        teacher: Teacher | None = None,
        teacher_weight: float = 0.5,
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
        # Not Lightning's own mean: with processes of unequal numbers of photos it divides by a rounded count.
        self.train_mean, self.val_mean, self.metric_mean = MeanMetric(), MeanMetric(), MeanMetric()
        self.train_accuracy = MulticlassAccuracy(len(info.classes), average="micro")
        self.val_accuracy = MulticlassAccuracy(len(info.classes), average="micro")
        self.teacher, self.teacher_weight = teacher, teacher_weight
        # A warm-up of the decay: the average would hang on the first weights for long.
        self.average = None if ema is None else ModelEmaV3(net, decay=ema, use_warmup=True, warmup_power=0.75)
        if self.average is not None:
            self.average.requires_grad_(False)
        self.mix = None
        if stage.mixes:
            self.mix = PairMix(
                stage.mixup, stage.cutmix, prob=stage.mix, label_smoothing=0, num_classes=len(info.classes)
            )

    @property
    def result(self) -> CarNet:
        """The network that the stage leaves."""
        return self.net if self.average is None else self.average.module

    def images(self, images: Tensor) -> Tensor:
        """uint8 [N, 3, H, W] to normalised float32; features, float [N, F], are ready as they are."""
        if images.is_floating_point():
            return images
        return normalise(images, self.info.mean, self.info.std).contiguous(memory_format=torch.channels_last)

    def on_train_batch_start(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        # What is random in an epoch depends on its number alone, so a run that was killed repeats it exactly. Not at
        # the epoch's start: loaders draw a number when they begin, which in a resumed run is before that.
        if index == 0:
            pl.seed_everything(mixed_seed(self.seed, self.current_epoch, self.global_rank), verbose=False)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = self.images(batch[0]), batch[1]
        targets = labels
        if self.mix is not None:
            images, targets = self.mix(images, labels)
        # Of mixed photos it can't be said which class they are of.
        compares = self.stage.metric > 0 and not (self.mix is not None and self.mix.mixed)
        logits, vectors = self.net.with_vectors(images) if compares else (self.net(images), None)
        logits = logits.float()
        loss = self.train_loss(logits, targets)
        if self.teacher is not None:
            taught = nn.functional.cross_entropy(logits, self.teacher(images))
            loss = (1 - self.teacher_weight) * loss + self.teacher_weight * taught
        apart = torch.zeros((), device=loss.device)
        if vectors is not None:
            apart = contrastive_loss(vectors, labels, self.stage.metric_temperature)
        if not torch.isfinite(loss + apart):
            raise UsageError(
                f"The loss of stage '{self.stage.name}' is not finite at step {index + 1}: lower its learning_rate."
            )
        self.train_accuracy(logits.detach(), labels if targets is labels else targets.argmax(dim=1))
        self.train_mean(loss.detach(), len(labels))
        self.log("train_loss", self.train_mean, on_step=False, on_epoch=True)
        self.log("train_accuracy", self.train_accuracy, on_step=False, on_epoch=True)
        if self.stage.metric > 0:
            self.metric_mean(apart.detach(), 0 if vectors is None else len(labels))  # NaN where all batches were mixed
            self.log("metric_loss", self.metric_mean, on_step=False, on_epoch=True)
        return loss + self.stage.metric * apart

    def optimizer_step(self, epoch: int, index: int, optimizer, closure=None) -> None:
        warm_plateau(optimizer, self.stage, self.global_step, self.steps)
        super().optimizer_step(epoch, index, optimizer, closure)
        if self.average is not None:
            self.average.update(self.net, step=self.global_step + 1)

    def on_train_epoch_end(self) -> None:
        if self.stage.schedule == "plateau":
            seen = float(self.trainer.callback_metrics[self.stage.monitor])
            scheduler = self.lr_schedulers()
            assert isinstance(scheduler, ReduceLROnPlateau)  # as `make_scheduler` made it
            scheduler.step(seen)

    def on_validation_epoch_start(self) -> None:
        # Each process has moved the statistics of its norms by its own photos. The first one's count, since they are
        # what is saved.
        if self.trainer.world_size > 1:
            for buffer in self.buffers():
                torch.distributed.broadcast(buffer, 0)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        images, labels = batch
        logits = self.result(self.images(images)).float()
        self.val_accuracy(logits, labels)
        self.val_mean(self.val_loss(logits, labels), len(labels))
        self.log("val_loss", self.val_mean, on_epoch=True)
        self.log("val_accuracy", self.val_accuracy, on_epoch=True)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole stage."""
        return optimizer_steps(self.photos, self.stage)

    def configure_optimizers(self):
        optimizer = make_optimizer(self.net, self.stage, self.weight_decay)
        schedule = make_scheduler(optimizer, self.stage, self.steps)
        if self.stage.schedule == "plateau":
            # Lightning would step it after the epoch's checkpoint, which then lacks that step: `on_train_epoch_end`
            # does it instead.
            schedule |= {"frequency": sys.maxsize}
        return {"optimizer": optimizer, "lr_scheduler": schedule}
