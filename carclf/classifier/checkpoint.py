"""One self-describing safetensors file: weights for torch, and all that prediction must know about them."""

from __future__ import annotations

from pathlib import Path

import torch

from carclf.classifier.info import KEY, ModelInfo, info_of
from carclf.classifier.network import CarNet, Ensemble
from detection.common.errors import UsageError
from detection.common.networks.weights import is_matrix, is_wide_matrix, read_safetensors, write_safetensors


def save_model(
    net: CarNet | Ensemble, info: ModelInfo, path: Path, half: bool = True, eight_bits: bool = False
) -> None:
    """Writes by temp file + replace. half: matrices and kernels as float16 (`is_matrix`); all else is float32.

    eight_bits: the large matrices (`is_wide_matrix`) in 8 bits, half of the bytes once more.
    """
    state = {name: tensor.float() for name, tensor in net.state_dict().items()}
    write_safetensors(
        path,
        state,
        {KEY: info.model_dump_json()},
        half=lambda tensor: half and is_matrix(tensor),
        eight_bits=lambda tensor: eight_bits and is_wide_matrix(tensor),
    )


def load_model(path: Path, device: str | torch.device = "cpu") -> tuple[CarNet | Ensemble, ModelInfo]:
    """The network in eval and float32, and its description. Raises `UsageError` for anything else than such a file."""
    path = Path(path)
    tensors, metadata = read_safetensors(path)
    info = info_of(path, metadata)
    nets = [CarNet(architecture, info.head, len(info.classes)) for architecture in info.member_architectures]
    net: CarNet | Ensemble = nets[0] if info.members == 1 else Ensemble(nets, info.member_sizes)
    wanted = {name: value for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    if set(wanted) != set(tensors) or any(wanted[name].shape != tensors[name].shape for name in wanted):
        raise UsageError(f"The weights in '{path}' do not fit the '{info.architecture}' that it describes.")
    net.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)
    return net.to(device).to(memory_format=torch.channels_last).eval(), info
