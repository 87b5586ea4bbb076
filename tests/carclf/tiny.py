"""A real classifier file with weights by chance: small images, three classes."""

from __future__ import annotations

from pathlib import Path

CLASSES = ("Lada Niva", "VAZ-2107", "VW Passat")


def save_tiny_model(path: Path, architecture: str = "mobilenetv3_small_050") -> Path:
    """Writes it in the format of `carclf train`; its answers mean nothing, but differ from crop to crop."""
    import torch

    from carclf.classifier.checkpoint import save_model
    from carclf.classifier.info import ModelInfo
    from carclf.classifier.network import CarNet

    torch.manual_seed(0)
    half = (0.5, 0.5, 0.5)
    info = ModelInfo(classes=CLASSES, architecture=architecture, image_size=64, mean=half, std=half)
    net = CarNet(info.architecture, info.head, len(info.classes))
    with torch.no_grad():  # a new head answers alike to everything
        for name, value in net.named_parameters():
            if value.ndim == 2:
                value.mul_(50 if "head" in name else 1)
    save_model(net, info, path)
    return path
