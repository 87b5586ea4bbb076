"""The fine-tuning schedule as data: what each stage trains, for how long, how fast and at which size."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from detection.config import StrictConfig

# Share of the backbone's blocks that is trained, counted from the head; the rest is frozen.
SHARES = {"head": 0.0, "half": 0.5, "three_quarters": 0.75, "all": 1.0}


class Stage(StrictConfig):
    """One `Trainer.fit`: it starts from the best weights of the stage before."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    train: Literal["head", "half", "three_quarters", "all"] = "all"
    epochs: int = Field(1, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    backbone_factor: float = Field(0.3, gt=0)  # the backbone's learning rate as a factor of the head's
    batch_size: int = Field(32, ge=2)
    image_size: int = Field(224, ge=32)
    schedule: Literal["plateau", "onecycle", "cosine", "constant"] = "plateau"
    warmup: float = Field(0.2, ge=0, lt=1)  # share of the steps in which onecycle rises
    augmentation: float = Field(1.0, ge=0, le=1)  # 0 only flips
    plateau_patience: int = Field(1, ge=0)  # epochs without a better val_loss before the rate is halved
    stop_patience: int | None = Field(None, ge=1)  # epochs without a better val_accuracy before the stage ends


def first_trained_block(train: str, blocks: int) -> int:
    """Index of the first block that is trained; equals `blocks` when only the head is.

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
