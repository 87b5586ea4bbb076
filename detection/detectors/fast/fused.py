"""Convolutions that run with their norm and activation in one call of oneDNN, for inference on CPUs."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import TYPE_CHECKING, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detection.common.networks.device import replace_forward

if TYPE_CHECKING:
    from detectron2.modeling.backbone.resnet import BottleneckBlock

# What the C++ side calls an activation, and its numbers.
_ACTIVATIONS: dict[type, tuple[str, list[float]]] = {nn.ReLU: ("relu", []), nn.ReLU6: ("hardtanh", [0.0, 6.0])}


class _Fusible(nn.Conv2d):
    """For annotations only: a convolution of any class, with what is noted in it for its fused call."""

    fused_activation: tuple[str, list[float]]
    fused_padding: tuple[int, ...]


def fold_norms(model: nn.Module) -> None:
    """Works the frozen norms that Detectron2's convolutions carry into their weights; for inference only."""
    for conv in model.modules():
        norm = getattr(conv, "norm", None)
        if not isinstance(conv, nn.Conv2d) or norm is None or getattr(norm, "running_var", None) is None:
            continue
        with torch.no_grad():
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            bias = norm.bias - norm.running_mean * scale
            if conv.bias is not None:
                bias = bias + conv.bias * scale
            conv.weight = nn.Parameter(conv.weight * scale.view(-1, 1, 1, 1), requires_grad=False)
            conv.bias = nn.Parameter(bias, requires_grad=False)
        conv.register_module("norm", None)


def fuse_convolutions(model: nn.Module) -> None:
    """Makes every convolution of `model` one call with the activation that follows it; for inference only.

    The modules stay in place (Detectron2 keeps some in plain lists) and get another `forward`. Beside the activation,
    that call is twice as fast for 1x1 convolutions as the one behind `nn.Conv2d` (torch 2.15, AVX-512).
    """
    from detectron2.modeling.backbone.resnet import BottleneckBlock

    for parent in list(model.modules()):
        if type(parent) is BottleneckBlock and all(
            _fusible(conv) for conv in (parent.conv1, parent.conv2, parent.conv3)
        ):
            _fuse_bottleneck(parent)
        if not isinstance(parent, _in_order()):
            continue
        for (_, conv), (name, after) in pairwise(list(parent.named_children())):
            if _fusible(conv) and type(after) in _ACTIVATIONS and getattr(conv, "activation", None) is None:
                conv.fused_activation = _ACTIVATIONS[type(after)]
                setattr(parent, name, nn.Identity())
    for module in list(model.modules()):
        if _fusible(module):
            _fuse(module)


def use_bfloat16(model: nn.Module, keep: Collection[str] = ()) -> None:
    """Makes the convolutions and linear layers of `model` compute in bfloat16; each returns what it was given.

    keep: names of layers that stay in float32, and return that.
    """
    for path, module in model.named_modules():
        if path.rpartition(".")[2] in keep or not isinstance(module, (nn.Conv2d, nn.Linear, nn.ConvTranspose2d)):
            continue
        module.to(torch.bfloat16)
        if not hasattr(module, "fused_activation"):
            replace_forward(module, _bfloat16_forward)


def _fuse_bottleneck(block: BottleneckBlock) -> None:
    for conv in (block.conv1, block.conv2, block.conv3):
        conv.fused_activation = _ACTIVATIONS[nn.ReLU]
    replace_forward(block, _bottleneck_forward)


def _bottleneck_forward(self: BottleneckBlock, x: Tensor) -> Tensor:
    shortcut = x if self.shortcut is None else self.shortcut(x)
    return self.conv3(self.conv2(self.conv1(x)), shortcut)


def _in_order() -> tuple[type[nn.Module], ...]:
    """Modules whose children run one after the other, so that what follows a convolution is its activation."""
    from timm.models import _efficientnet_blocks as blocks
    from timm.models.efficientnet import EfficientNetFeatures

    return nn.Sequential, blocks.InvertedResidual, blocks.DepthwiseSeparableConv, EfficientNetFeatures


def _fusible(conv: object) -> TypeGuard[_Fusible]:
    """Whether the fused call knows all that this convolution does."""
    activation = getattr(conv, "activation", None)
    return (
        isinstance(conv, nn.Conv2d)
        and getattr(conv, "norm", None) is None
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and (activation is None or activation is F.relu or type(activation) in _ACTIVATIONS)
    )


def _fuse(conv: _Fusible) -> None:
    activation = getattr(conv, "activation", None)
    if activation is not None:
        conv.fused_activation = _ACTIVATIONS.get(type(activation), _ACTIVATIONS[nn.ReLU])
    elif not hasattr(conv, "fused_activation"):
        conv.fused_activation = ("none", [])
    weight: Tensor = conv.weight.detach()
    padding = tuple(int(side) for side in conv.padding)
    if type(conv).__name__ == "Conv2dSame":
        weight, padding = _same_kernel(conv)
    conv.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
    conv.fused_padding = padding
    replace_forward(conv, _fused_forward)


def _same_kernel(conv: nn.Conv2d) -> tuple[Tensor, tuple[int, int]]:
    """timm pads such inputs by one pixel more at the end, in a copy; a kernel with a leading zero does without it."""
    sides = conv.weight.shape[-2:]
    if conv.stride != (2, 2) or conv.dilation != (1, 1) or any(side % 2 == 0 for side in sides):
        raise NotImplementedError(f"no fused form of a {sides} Conv2dSame with stride {conv.stride}")
    return F.pad(conv.weight.detach(), (1, 0, 1, 0)), (sides[0] // 2, sides[1] // 2)


def _fused_forward(self: _Fusible, x: Tensor, added: Tensor | None = None) -> Tensor:
    """`added` is summed up before the activation."""
    given, (name, numbers) = x.dtype, self.fused_activation
    x = x.to(self.weight.dtype)
    if not x.numel():  # no box in any photo
        return F.conv2d(x, self.weight, self.bias, self.stride, self.fused_padding, self.dilation, self.groups)
    if not x.is_contiguous(memory_format=torch.channels_last):
        x = x.contiguous(memory_format=torch.channels_last)
    place = (self.fused_padding, self.stride, self.dilation, self.groups)
    operator = torch.ops.mkldnn._convolution_pointwise
    if added is None:
        out = operator(x, self.weight, self.bias, *place, name, numbers, "")
    else:
        added = added.to(x.dtype)
        unary = None if name == "none" else name
        out = operator.binary(x, added, self.weight, self.bias, *place, "add", 1.0, unary, numbers, "")
    return out if out.dtype == torch.float32 else out.to(given)


def _bfloat16_forward(self: nn.Module, x: Tensor) -> Tensor:
    return type(self).forward(self, x.to(torch.bfloat16)).to(x.dtype)
