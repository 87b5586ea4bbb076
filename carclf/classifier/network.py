"""The network: a timm backbone with a head of our own, frozen at block boundaries; several of them answer as one."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import timm
import torch
from timm.models import group_parameters
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from carclf.classifier.info import HeadConfig, Size
from detection.common.errors import UsageError

log = logging.getLogger("carclf")


class CarNet(nn.Module):
    """Normalised images, float [N, 3, H, W], to logits [N, classes].

    `blocks` holds the names of the backbone's parameters, block by block from the stem on, as timm groups them.
    """

    def __init__(self, architecture: str, head: HeadConfig, classes: int, drop_path: float = 0.0):
        super().__init__()
        if not timm.is_model(architecture):
            raise UsageError(f"timm has no model '{architecture}': {_other_names(architecture)}.")
        self.backbone: Any  # timm's networks have members that `nn.Module` has not
        try:
            more: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}  # not every architecture knows it
            self.backbone = timm.create_model(
                architecture, pretrained=False, num_classes=0, global_pool=head.pool, **more
            )
        except (TypeError, AssertionError, RuntimeError) as error:
            why = str(error).rstrip(".")
            raise UsageError(f"'{architecture}' can't be built with pooling '{head.pool}': {why}.") from error
        self.head = make_head(self.backbone.head_hidden_size, head, classes)
        groups = group_parameters(self.backbone, self.backbone.group_matcher(coarse=False))
        self.blocks: list[list[str]] = [groups[key] for key in sorted(groups)]
        self.first_trained = 0
        self._held: list[nn.Module] = []

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))

    @property
    def features(self) -> int:
        """Values in a vector."""
        return int(self.backbone.head_hidden_size)

    def with_vectors(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The logits, and a vector for each image: the pooled features, float32 [N, F] of length 1."""
        features = self.backbone(images)
        return self.head(features), normalize(features.float())

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
        """Sets the `share` of every dropout layer in the head."""
        for module in self.head.modules():
            if isinstance(module, nn.Dropout):
                module.p = share

    def train(self, mode: bool = True) -> CarNet:
        super().train(mode)
        # train() reaches every module; without this the statistics of frozen BatchNorm layers would keep moving.
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


def _other_names(architecture: str) -> str:
    """What to write instead of a name that timm does not have."""
    known = timm.list_models()
    if "/" in architecture:
        return (
            "write one of its own names, such as 'tf_efficientnet_b0' or 'hf-hub:timm/tf_efficientnet_b0.ns_jft_in1k'"
        )
    near = difflib.get_close_matches(architecture.partition(".")[0].lower(), known, 3)
    return f"write {' or '.join(near)}, for example" if near else "see timm.list_models() for the names it has"


def make_head(features: int, head: HeadConfig, classes: int) -> nn.Sequential:
    """features [N, F] to logits [N, classes]."""
    layers: list[nn.Module] = [nn.Dropout(head.dropout)]
    if head.dense:
        layers.append(nn.Linear(features, head.dense, bias=not head.batch_norm))
        if head.batch_norm:
            layers.append(nn.BatchNorm1d(head.dense))
        layers += [nn.ReLU(inplace=True), nn.Dropout(head.dropout)]
    last = nn.Linear(head.dense or features, classes)
    # Small first logits: the first steps then neither saturate the loss nor shake the backbone.
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


class WithVectors(nn.Module):
    """Gives what a network gives, and keeps the vectors of all images that it was shown until they are taken."""

    def __init__(self, net: CarNet | Ensemble):
        super().__init__()
        self.net = net
        self._kept: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        logits, vectors = self.net.with_vectors(images)
        self._kept.append(vectors)
        return logits

    def take(self, images: int) -> Tensor:
        """The sums of the vectors, float32 [images, F], over all views of as many images, shown view by view."""
        kept, self._kept = torch.cat(self._kept), []
        return kept.view(-1, images, kept.shape[1]).sum(dim=0)


class Ensemble(nn.Module):
    """Normalised images, float [N, 3, H, W], to the mean of the members' logarithmic probabilities, float32 [N, C].

    Softmax of it gives their geometric mean, so it stands wherever a network that gives logits does. What one member
    finds impossible is then hardly possible: on the held-out photos of stanford196 the loss was 0.248, where the
    arithmetic mean gave 0.257 and its members 0.308 and 0.281, each at its best temperature.

    sizes: (height, width) in pixels that each member computes at; the images are resized to it. Members that see a car
    at different sizes err apart. None leaves the images as they are.
    """

    def __init__(self, members: Iterable[nn.Module], sizes: Iterable[Size] | None = None):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.sizes = None if sizes is None else tuple(sizes)

    def member(self, number: int) -> CarNet:
        """Raises TypeError where that member is another kind of network."""
        member = self.members[number]
        if not isinstance(member, CarNet):
            raise TypeError(f"member {number} is a {type(member).__name__}")
        return member

    def forward(self, images: Tensor) -> Tensor:
        return _together([member(seen) for member, seen in self._seen(images)])

    @property
    def features(self) -> int:
        """Values in a vector."""
        return sum(self.member(number).features for number in range(len(self.members)))

    def with_vectors(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The answers, and a vector for each image: those of the members side by side, float32 [N, F] of length 1."""
        pairs = [member.with_vectors(seen) for member, seen in self._seen(images)]
        logits, vectors = zip(*pairs, strict=True)
        return _together(logits), torch.cat(vectors, dim=1) / math.sqrt(len(vectors))

    def _seen(self, images: Tensor) -> Iterator[tuple[Any, Tensor]]:
        """Each member, and the images at its size."""
        sizes = self.sizes or (None,) * len(self.members)
        for member, size in zip(self.members, sizes, strict=True):
            yield member, _resized(images, size)


def _together(logits: Sequence[Tensor]) -> Tensor:
    return torch.stack([one.float().log_softmax(dim=1) for one in logits]).mean(dim=0)


def _resized(images: Tensor, size: Size | None) -> Tensor:
    if size is None or tuple(images.shape[2:]) == size:
        return images
    return interpolate(images, size, mode="bilinear", align_corners=False)


# Share of the backbone's blocks that is trained, counted from the head; the rest is frozen.
SHARES = {"head": 0.0, "quarter": 0.25, "half": 0.5, "three_quarters": 0.75, "all": 1.0}


def first_trained_block(train: str, blocks: int) -> int:
    """Index of the first block that is trained, for one of `SHARES`; equals `blocks` when only the head is.

    >>> [first_trained_block(train, 17) for train in ("head", "half", "three_quarters", "all")]
    [17, 8, 4, 0]
    """
    return blocks - math.ceil(SHARES[train] * blocks)
