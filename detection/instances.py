"""What is the same for every way to run a detector: how a photo is resized, and how its outputs become vehicles."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from detection.paste import paste_vehicle
from detection.vehicle import Vehicle


def check_photo(image: np.ndarray) -> None:
    """Raises `ValueError` for anything but an RGB uint8 HxWx3 array."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"A photo must be RGB uint8 HxWx3, not {image.dtype} {image.shape}.")


def resized_shape(height: int, width: int, short_side: int, long_side: int) -> tuple[int, int]:
    """(height, width) at which a detector with these sides, in pixels, sees a photo of that size."""
    scale = min(short_side / min(height, width), long_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_photo(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A uint8 HxWx3 photo at (height, width) `size`."""
    height, width = size
    # INTER_AREA averages what it shrinks; enlarging it would give blocks.
    shrinks = height < image.shape[0] or width < image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def padded_shape(size: tuple[int, int], divisor: int) -> tuple[int, int]:
    """The smallest (height, width) of multiples of `divisor` that holds `size`."""
    return tuple(-(-side // divisor) * divisor for side in size)


def make_vehicles(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    soft: np.ndarray | None,
    size: tuple[int, int],
    kinds: Mapping[int, str],
    threshold: float,
    mask_scores: bool,
) -> list[Vehicle]:
    """The vehicles of one photo of (height, width) `size`, best score first.

    boxes: Kx4 xyxy in pixels of the photo. scores: float [K]. classes: int [K]; `kinds` names those that are wanted.
    soft: float KxMxM, the probabilities over each box, or None for a model without masks.
    mask_scores: whether a score is multiplied with the mean probability within its mask.
    """
    if mask_scores and soft is not None:
        scores = scores * np.array([_certainty(one) for one in soft], scores.dtype)
    vehicles = []
    for index in np.argsort(-scores, kind="stable"):
        kind = kinds.get(int(classes[index]))
        if kind is None or scores[index] < threshold:
            continue
        mask, box = paste_vehicle(None if soft is None else soft[index], boxes[index], size)
        if box is None:
            continue
        vehicles.append(Vehicle(box=box, mask=mask, score=float(scores[index]), kind=kind))
    return vehicles


def _certainty(soft: np.ndarray) -> float:
    """Mean probability of the cells (float MxM) that are more likely vehicle than not; 0 when none is."""
    inside = soft >= 0.5
    return float(soft[inside].mean()) if inside.any() else 0.0
