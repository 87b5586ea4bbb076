"""The loop that people write: PyTorch, timm's loader, timm's optimizer. One epoch a call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from timm.data import create_loader
from timm.data.dataset import ImageDataset
from timm.optim import create_optimizer_v2
from torch import nn


def make_loader(photos: Path, size: int, batch: int, workers: int, device: torch.device, augmentation, mean, std):
    """timm's loader over a folder per class, with its quick collation and its normalisation on the device.

    augmentation: an `AugmentationConfig`, of which timm gets what it can do as well. Without hue and blur: the ways of
    timm and torchvision to do these take longer than all the rest.
    """
    return create_loader(
        ImageDataset(str(photos)),
        (3, size, size),
        batch,
        is_training=True,
        scale=(1 - augmentation.crop, 1.0),
        ratio=(1 - 0.8 * augmentation.aspect, 1 + augmentation.aspect),
        hflip=0.5 if augmentation.mirror else 0.0,
        color_jitter=(augmentation.brightness, augmentation.contrast, augmentation.saturation / 255),
        color_jitter_prob=0.6,
        grayscale_prob=augmentation.gray,
        interpolation="bilinear",
        mean=mean,
        std=std,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        device=device,
        persistent_workers=workers > 0,
    )


def make_epoch(
    net: nn.Module,
    loader,
    device: torch.device,
    *,
    bf16: bool,
    rate: float,
    decay: float,
    smoothing: float,
    clip: float,
) -> Callable[[], int]:
    """A function that trains one epoch and returns how many photos that was."""
    net = net.to(device, memory_format=torch.channels_last).train()
    optimizer = create_optimizer_v2(net, "adamw", rate, decay)
    criterion = nn.CrossEntropyLoss(label_smoothing=smoothing)

    def epoch() -> int:
        photos, losses, right = 0, 0.0, 0
        for images, labels in loader:
            images = images.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                logits = net(images)
                loss = criterion(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), clip)
            optimizer.step()
            photos += len(labels)
            losses += loss.item() * len(labels)
            right += int((logits.argmax(1) == labels).sum())
        return photos

    return epoch
