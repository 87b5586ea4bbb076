"""Learning rates over the steps of a stage, as factors of the stage's own rate."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from carclf.training.stages import Stage


def rate_factor(stage: Stage, step: int, steps: int, epoch_steps: int) -> float:
    """The factor for a step (0 is the first) out of `steps`, of which `epoch_steps` make an epoch.

    >>> stage = Stage(name="all", schedule="cosine", warmup=0.5)
    >>> [round(rate_factor(stage, step, 8, 4), 2) for step in range(8)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    rising = round(stage.rising * steps)
    if step < rising:
        # One cycle begins at a 25th of its top, as its inventor has it; a warm-up begins at nothing.
        low = 0.04 if stage.schedule == "onecycle" else 0.0
        part = (step + 1) / rising
        if stage.schedule == "onecycle":
            part = (1 - math.cos(math.pi * part)) / 2
        return low + (1 - low) * part
    since = step - rising
    if stage.schedule in ("cosine", "onecycle"):
        part = min(1.0, since / max(1, steps - rising))
        return stage.final_factor + (1 - stage.final_factor) * (1 + math.cos(math.pi * part)) / 2
    if stage.schedule == "step":
        return max(stage.final_factor, stage.factor ** (since // epoch_steps // stage.step_epochs))
    if stage.schedule == "exponential":
        return max(stage.final_factor, stage.factor ** (since // epoch_steps))
    return 1.0


def make_scheduler(optimizer: Optimizer, stage: Stage, steps: int) -> dict:
    """What Lightning wants to know of a stage's schedule. steps: optimizer steps of the whole stage."""
    if stage.schedule == "plateau":
        mode = "max" if stage.monitor == "val_accuracy" else "min"
        least = [stage.final_factor * group["lr"] for group in optimizer.param_groups]
        waits = stage.patience - 1  # PyTorch lets one bad epoch more go by than it is told, Keras does not
        scheduler = ReduceLROnPlateau(optimizer, mode, factor=stage.factor, patience=waits, min_lr=least)
        return {"scheduler": scheduler, "monitor": stage.monitor}
    epoch_steps = max(1, round(steps / stage.epochs))
    scheduler = LambdaLR(optimizer, lambda step: rate_factor(stage, step, steps, epoch_steps))
    return {"scheduler": scheduler, "interval": "step"}


def warm_plateau(optimizer: Optimizer, stage: Stage, step: int, steps: int) -> None:
    """The warm-up of `plateau`, whose scheduler knows epochs only: sets the rates before each of the first steps."""
    rising = round(stage.rising * steps)
    if stage.schedule == "plateau" and step < rising:
        for group in optimizer.param_groups:
            group.setdefault("top_lr", group["lr"])
            group["lr"] = group["top_lr"] * (step + 1) / rising
