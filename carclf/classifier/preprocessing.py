"""From a crop of any size to the network's input: the one way, for training, evaluation and prediction."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from carclf.classifier.info import Size, pair


def squash(image: np.ndarray, size: int | Size) -> np.ndarray:
    """RGB uint8 HxWx3 of any size to one size, aspect not kept. size: one number for a square, or (height, width).

    Fine-grained results on Stanford Cars are published with a plain resize to a square: it spends every pixel on the
    car, where a letterbox would spend a third of them on bars. A size that is as wide as cars are does so too, and
    distorts them less.
    """
    height, width = pair(size)
    if image.shape[:2] == (height, width):
        return image
    # Area averaging avoids aliasing when shrinking, but is blocky when enlarging.
    shrinking = image.shape[0] * image.shape[1] > height * width
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)


def normalise(batch, mean: Sequence[float], std: Sequence[float]):
    """uint8 tensor [N, 3, H, W] to float32, zero mean and unit deviation per channel (mean and std are for 0..1)."""
    mean = batch.new_tensor([255 * value for value in mean], dtype=_float32()).view(1, 3, 1, 1)
    scale = batch.new_tensor([1 / (255 * value) for value in std], dtype=_float32()).view(1, 3, 1, 1)
    return (batch.float() - mean) * scale


def stack(images: Sequence[np.ndarray]):
    """RGB uint8 HxWx3 arrays of one size to a uint8 tensor [N, 3, H, W] in channels_last order, without a transpose."""
    import torch

    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def _float32():
    import torch

    return torch.float32
