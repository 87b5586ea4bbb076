"""One self-describing safetensors file: weights, and all that prediction must know about them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from pydantic import ValidationError

from carclf.classifier.info import FORMAT, ModelInfo
from carclf.classifier.network import CarNet, Ensemble
from detection.common.errors import UsageError
from detection.common.files import check_format, file_sha256
from detection.common.weights import is_matrix, read_safetensors, write_safetensors

KEY = "carclf"


def save_model(net: CarNet | Ensemble, info: ModelInfo, path: Path, half: bool = True) -> None:
    """Writes by temp file + replace. half: matrices and kernels as float16 (`is_matrix`); all else is float32."""
    state = {name: tensor.float() for name, tensor in net.state_dict().items()}
    write_safetensors(path, state, {KEY: info.model_dump_json()}, half=lambda tensor: half and is_matrix(tensor))


def load_model(path: Path, device: str | torch.device = "cpu") -> tuple[CarNet | Ensemble, ModelInfo]:
    """The network in eval and float32, and its description. Raises `UsageError` for anything else than such a file."""
    tensors, info = _read(Path(path))
    nets = [CarNet(architecture, info.head, len(info.classes)) for architecture in info.member_architectures]
    net: CarNet | Ensemble = nets[0] if info.members == 1 else Ensemble(nets)
    wanted = {name: value for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    if set(wanted) != set(tensors) or any(wanted[name].shape != tensors[name].shape for name in wanted):
        raise UsageError(f"The weights in '{path}' do not fit the '{info.architecture}' that it describes.")
    net.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)
    return net.to(device).to(memory_format=torch.channels_last).eval(), info


def read_info(path: Path) -> ModelInfo:
    """What a classifier's file says of itself. Raises `UsageError` for anything else."""
    return _read(Path(path))[1]


def _read(path: Path) -> tuple[dict[str, torch.Tensor], ModelInfo]:
    tensors, metadata = read_safetensors(path)
    text = metadata.get(KEY)
    if text is None:
        raise UsageError(f"'{path}' is not a classifier of carclf: its metadata are missing.")
    try:
        values = json.loads(text)
        if isinstance(values, dict):
            check_format(path, values.get("format"), FORMAT)
        info = ModelInfo.model_validate(values)
    except (ValidationError, json.JSONDecodeError) as error:
        raise UsageError(f"'{path}' has metadata that this version of carclf can't read: update carclf.") from error
    if info.format != FORMAT:
        raise UsageError(f"'{path}' has the format '{info.format}', this carclf reads '{FORMAT}': update carclf.")
    return tensors, info


def fingerprint(path: Path) -> str:
    """The first 16 hex digits of the file's SHA-256."""
    return file_sha256(path).hex()[:16]
