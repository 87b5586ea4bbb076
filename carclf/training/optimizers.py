"""Optimizers by timm's factory, with a learning rate for each depth of the network."""

from __future__ import annotations

from timm.optim import create_optimizer_v2
from torch.optim import Optimizer

from carclf.model import CarNet
from carclf.training.stages import Stage


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
    """Steps of a whole stage over so many photos: whole batches only, or one smaller where there are too few."""
    return max(1, photos // stage.batch_size) * stage.epochs
