"""Which device the models of both stages run on."""

from __future__ import annotations

import torch

from detection.errors import UsageError


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
