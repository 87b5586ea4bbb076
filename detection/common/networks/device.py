"""Which device and precision the models of both stages run in."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from detection.common.errors import UsageError

Net = TypeVar("Net", bound=nn.Module)


def choose_device(name: str) -> str:
    """`auto` takes the GPU when there is one. Raises `UsageError` for one that this machine lacks."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"'{name}' is not a device: write auto, cpu, cuda or cuda:1.") from error
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(f"The device '{name}' is not there: write cpu or auto.") from error
    return name


def cpu_has_bfloat16() -> bool:
    """True where the processor multiplies bfloat16 in hardware (AVX-512 BF16 or AMX); elsewhere it is emulated."""
    capability = getattr(torch.cpu, "get_capabilities", None)
    if capability is not None:
        known = capability()
        return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe()) if probe is not None else False


def use_bfloat16(precision: str, device: str) -> bool:
    """Whether to train under bf16 autocast. precision: `bf16`, `float32`, or `auto`, which does where the hardware
    computes it; device: as `choose_device` gives it."""
    if precision != "auto":
        return precision == "bf16"
    return torch.cuda.is_bf16_supported() if device.startswith("cuda") else cpu_has_bfloat16()


def keep_depthwise_float32(model: Net) -> Net:
    """Makes every depthwise convolution of `model` compute in float32 under CPU autocast; returns the model.

    The CPU library has no fast bfloat16 backward pass for them: measured on an EfficientNet-Lite0 at 320x416, batch 4,
    they took 515 ms of a 920 ms training step in bfloat16 and 150 ms in float32. Where nothing has to go back through
    them, as in frozen blocks, they follow the autocast: at 192 px, batch 32, that saved 1.5 of 6.0 ms per photo.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels and module.groups > 1:
            replace_forward(module, _forward_float32)
    return model


def replace_forward(module: nn.Module, forward: Callable[..., Any]) -> None:
    """Gives this one module another `forward`, a function that takes the module first; its class keeps its own."""
    vars(module)["forward"] = MethodType(forward, module)


def _forward_float32(self: nn.Conv2d, x: Tensor) -> Tensor:
    if not (x.requires_grad or self.weight.requires_grad):
        return type(self).forward(self, x)
    with torch.autocast(x.device.type, enabled=False):
        return type(self).forward(self, x.float())
