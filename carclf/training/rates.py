"""Optimizers, and the learning rate of each step of a stage."""

from __future__ import annotations

import math
from typing import Literal

from timm.optim import create_optimizer_v2
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from carclf.classifier.network import CarNet
from carclf.runs.recipe import Stage


def parameter_groups(
    net: CarNet, learning_rate: float, backbone_factor: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict]:
    """What is trained, for an optimizer: head and backbone apart (the backbone block by block where their rates
    differ), and vectors (biases, norms) without decay."""
    parameters = dict(net.backbone.named_parameters())
    parts = [(learning_rate, list(net.head.parameters()))]
    last = len(net.blocks) - 1
    for number, names in enumerate(net.blocks):
        rate = learning_rate * backbone_factor * layer_decay ** (last - number)
        parts.append((rate, [parameters[name] for name in names]))
    groups: dict[tuple[float, float], list] = {}
    for rate, members in parts:
        for parameter in members:
            if parameter.requires_grad:
                groups.setdefault((rate, weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]


def make_optimizer(net: CarNet, stage: Stage, weight_decay: float) -> Optimizer:
    """The stage's optimizer over what the network has thawed."""
    groups = parameter_groups(net, stage.learning_rate, stage.backbone_factor, weight_decay, stage.layer_decay)
    # timm's factory turns a bare weight decay into groups of its own; these have theirs.
    return create_optimizer_v2(groups, opt=stage.optimizer, lr=stage.learning_rate, weight_decay=0.0, momentum=0.9)


def optimizer_steps(photos: int, stage: Stage) -> int:
    """Steps of a whole stage that has `photos` photos: whole batches only, or one smaller where there are too few."""
    return max(1, photos // stage.batch_size) * stage.epochs


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
        mode: Literal["max", "min"] = "max" if stage.monitor == "val_accuracy" else "min"
        least = [stage.final_factor * group["lr"] for group in optimizer.param_groups]
        waits = stage.patience - 1  # PyTorch waits one bad epoch longer than it is told, Keras does not
        plateau = ReduceLROnPlateau(optimizer, mode, factor=stage.factor, patience=waits, min_lr=least)
        return {"scheduler": plateau, "monitor": stage.monitor}
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
