"""Tensors of files for torch; files can come from anywhere, and nothing in them is ever run. ImageNet weights too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import save
from torch import Tensor

from detection.common.errors import UsageError
from detection.common.files import replace_file
from detection.common.networks.arrays import SCALES, is_scales, opened
from detection.common.networks.imagenet import imagenet_arrays


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (on the CPU, in their own dtypes, those in 8 bits as float32) and metadata of a .safetensors file.

    Raises `UsageError` with one sentence for a file that is missing, damaged or of another kind.
    """
    with opened(path, "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return {name: _read(name, stored) for name in stored if not is_scales(name, stored)}, file.metadata() or {}


def write_safetensors(
    path: Path,
    state: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    half: Callable[[Tensor], bool] = lambda tensor: False,
    eight_bits: Callable[[Tensor], bool] = lambda tensor: False,
) -> None:
    """Writes tensors in a file by way of a temp file and a rename.

    half: which floating-point ones are stored as float16, and eight_bits, which of all as 8-bit integers with a scale
    for each row (the first dimension); the others keep their dtype. The counters of batch norms
    (`num_batches_tracked`) are left out, as no answer depends on them.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        if eight_bits(tensor):
            tensors[name], tensors[name + SCALES] = _in_eight_bits(tensor.detach().cpu().float())
        else:
            tensors[name] = _stored(tensor, tensor.is_floating_point() and half(tensor))
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, save(tensors, metadata=None if metadata is None else dict(metadata)))


def _stored(tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu()
    return (tensor.half() if half else tensor).contiguous()


def _in_eight_bits(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """int8 of the same shape, and a float32 scale for each row; a row of zeros has the scale 1."""
    scales = tensor.flatten(1).abs().amax(dim=1) / 127
    scales[scales == 0] = 1
    return (tensor / _by_row(scales, tensor)).round().to(torch.int8).contiguous(), scales


def _read(name: str, stored: Mapping[str, Tensor]) -> Tensor:
    tensor, scales = stored[name], stored.get(name + SCALES)
    return tensor if scales is None else tensor.float() * _by_row(scales.float(), tensor)


def _by_row(scales: Tensor, tensor: Tensor) -> Tensor:
    return scales.reshape(-1, *[1] * (tensor.ndim - 1))


def is_wide_matrix(tensor: Tensor) -> bool:
    """Matrices with so many values per row that a row's scale costs little: not depthwise kernels of 3x3."""
    return tensor.ndim > 1 and tensor[0].numel() >= 25


def is_matrix(tensor: Tensor) -> bool:
    """Matrices and kernels: vectors (biases, statistics of norms) are 2 % of the bytes, and rounding harms them most;
    variances of frozen batch norms even leave the range of float16."""
    return tensor.ndim > 1


def imagenet_state(architecture: str) -> dict[str, Tensor]:
    """ImageNet weights under timm's names, classifier (1000 classes) included.

    Their packages name the tensors otherwise but hold them in timm's order, so they are matched by position with every
    shape checked. Raises `UsageError` as `imagenet_arrays` does.
    """
    arrays = imagenet_arrays(architecture)
    with torch.device("meta"):
        wanted = timm.create_model(architecture).state_dict()
    if len(arrays) != len(wanted) or any(
        a.shape != tuple(b.shape) for a, b in zip(arrays.values(), wanted.values(), strict=True)
    ):
        raise UsageError(f"The installed ImageNet file does not fit timm's {architecture}: install timm>=1.0.")
    return {name: torch.from_numpy(np.array(array)) for name, array in zip(wanted, arrays.values(), strict=True)}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a .pth file that holds nothing but tensors."""
    if path.suffix == ".safetensors":
        return read_safetensors(path)[0]
    if not path.is_file():
        raise UsageError(f"There is no weights file '{path}': check the path.")
    if path.suffix == ".pth":
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise UsageError(f"'{path}' holds more than tensors, or is damaged: convert it to safetensors.") from error
        state = state.get("model", state)
        return {key: value for key, value in state.items() if isinstance(value, Tensor)}
    raise UsageError(
        f"'{path.name}' is not loaded, since reading it could run code: on a machine with network run"
        " 'python scripts/fetch_zoo_weights.py NAME OUT.safetensors' and pass --weights OUT.safetensors."
    )
