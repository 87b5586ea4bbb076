"""The fine-tuning schedule as data: what each stage trains, for how long, how fast and at which size."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from carclf.sizes import ImageSize
from detection.config import StrictConfig

# Share of the backbone's blocks that is trained, counted from the head; the rest is frozen.
SHARES = {"head": 0.0, "quarter": 0.25, "half": 0.5, "three_quarters": 0.75, "all": 1.0}

Schedule = Literal["constant", "plateau", "cosine", "onecycle", "step", "exponential"]
Optimizer = Literal["adam", "adamw", "adamax", "nadam", "sgd", "rmsprop"]


class Stage(StrictConfig):
    """One `Trainer.fit`: it starts from the best weights of the stage before.

    train: `head`, `quarter`, `half`, `three_quarters`, `all`, or the name of the module from which on everything is
        trained, as timm names it (`blocks.4`).
    batch_size: photos an optimizer step. micro_batch: photos in memory at once, when a batch does not fit; the
        gradients of several are added up. (BatchNorm sees one micro batch at a time.)
    learning_rate: of the head; the backbone's is this by `backbone_factor`, and by `layer_decay` once more for each
        block further from the head.
    schedule: `plateau` (by `factor` after `patience` epochs without a better `monitor`), `cosine`, `onecycle`, `step`
        (by `factor` every `step_epochs`), `exponential` (by `factor` an epoch) or `constant`. None goes below
        `final_factor` of the learning rate. `warmup`: share of the stage's steps in which the rate rises.
    augmentation: strength; 0 only mirrors.
    dropout: of the head in this stage; None leaves it as the model has it.
    mixup, cutmix: alpha of the beta distribution that pairs are mixed by, 0 for none; `mix`: share of the batches.
    stop_patience: epochs without a better val_accuracy before the stage ends.
    keep: which epoch's weights the stage leaves: the one of the best val_accuracy, or the last. With few validation
        photos the best is often chance.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    train: str = "all"
    epochs: int = Field(1, ge=1)
    optimizer: Optimizer = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    backbone_factor: float = Field(0.3, gt=0)
    layer_decay: float = Field(1.0, gt=0, le=1)
    batch_size: int = Field(32, ge=2)
    micro_batch: int | None = Field(None, ge=2)
    image_size: ImageSize = 224
    schedule: Schedule = "plateau"
    warmup: float | None = Field(None, ge=0, lt=1)
    factor: float = Field(0.5, gt=0, lt=1)
    patience: int = Field(1, ge=1)
    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    step_epochs: int = Field(1, ge=1)
    final_factor: float = Field(0.0, ge=0, lt=1)
    augmentation: float = Field(1.0, ge=0, le=1)
    dropout: float | None = Field(None, ge=0, lt=1)
    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0)
    mix: float = Field(1.0, gt=0, le=1)
    stop_patience: int | None = Field(None, ge=1)
    keep: Literal["best", "last"] = "best"

    @property
    def mixes(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0

    @property
    def at_once(self) -> int:
        """Photos in memory at once."""
        return min(self.micro_batch or self.batch_size, self.batch_size)

    @property
    def rising(self) -> float:
        """Share of the steps in which the rate rises: a cycle has a rise by nature."""
        return (0.2 if self.schedule == "onecycle" else 0.0) if self.warmup is None else self.warmup

    @model_validator(mode="after")
    def _consistent(self) -> Stage:
        if self.mixes and self.at_once % 2:
            raise ValueError(f"stage '{self.name}' mixes pairs of photos: give it an even batch_size and micro_batch")
        if self.batch_size % self.at_once:
            raise ValueError(f"stage '{self.name}': batch_size should be a multiple of micro_batch")
        return self


def first_trained_block(train: str, blocks: int) -> int:
    """Index of the first block that is trained, for one of `SHARES`; equals `blocks` when only the head is.

    >>> [first_trained_block(train, 17) for train in ("head", "half", "three_quarters", "all")]
    [17, 8, 4, 0]
    """
    return blocks - math.ceil(SHARES[train] * blocks)


def classic_stages() -> tuple[Stage, ...]:
    """Head, half, three quarters, all, larger images: the order of the classic recipe, with small durations."""
    return (
        Stage(name="head", train="head", epochs=2, learning_rate=4e-3, image_size=160),
        Stage(name="half", train="half", epochs=3, learning_rate=2e-3, image_size=160),
        Stage(name="three_quarters", train="three_quarters", epochs=3, learning_rate=1.5e-3, image_size=192),
        Stage(name="all", train="all", epochs=4, learning_rate=1.5e-3, image_size=192, schedule="onecycle"),
        Stage(
            name="larger", train="all", epochs=2, learning_rate=3e-4, image_size=224, schedule="cosine", batch_size=16
        ),
    )
