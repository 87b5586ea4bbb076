"""From a photo to a detector's input, and from its outputs to vehicles: the same for every engine. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from detection.vehicle import Vehicle, soft_box


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
    height, width = size
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


def make_vehicles(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    soft: Sequence[np.ndarray] | np.ndarray | None,
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


def paste_vehicle(
    soft: np.ndarray | None, box: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, tuple[float, float, float, float] | None]:
    """Full-size bool HxW mask of one instance, and the box round it (xyxy, to a part of a pixel; None when empty).

    The arguments are those of `paste_soft`.
    """
    rows, columns, part = _pasted(soft, box, size)
    mask = np.zeros(size, bool)
    mask[rows, columns] = part >= 0.5
    if soft is None:
        return mask, clipped(box, size) if part.size else None
    found = soft_box(part, 0.5)
    if found is None:
        return mask, None
    x1, y1, x2, y2 = found
    left, top = columns.start, rows.start
    return mask, (x1 + left, y1 + top, x2 + left, y2 + top)


def paste_soft(soft: np.ndarray | None, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Probabilities of one instance over the whole photo, float32 HxW, 0 outside its box.

    soft: float MxM, the probabilities over the box, or None for a model without masks (the whole box).
    box: xyxy in pixels of the photo. size: (height, width).
    """
    rows, columns, part = _pasted(soft, box, size)
    whole = np.zeros(size, np.float32)
    whole[rows, columns] = part
    return whole


def clipped(box: np.ndarray, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The part of a box (xyxy, pixels) that lies in a photo of (height, width) `size`."""
    height, width = size
    x1, x2 = np.clip(box[[0, 2]], 0, width)
    y1, y2 = np.clip(box[[1, 3]], 0, height)
    return float(x1), float(y1), float(x2), float(y2)


def _pasted(soft: np.ndarray | None, box: np.ndarray, size: tuple[int, int]) -> tuple[slice, slice, np.ndarray]:
    """Rows and columns of the photo that the box touches, and the probabilities there."""
    height, width = size
    x1, y1, x2, y2 = clipped(box, size)
    left, top = int(np.floor(x1)), int(np.floor(y1))
    right, bottom = max(left, min(width, int(np.ceil(x2)))), max(top, min(height, int(np.ceil(y2))))
    place = slice(top, bottom), slice(left, right)
    shape = bottom - top, right - left
    if soft is None or 0 in shape:
        return *place, np.ones(shape, np.float32)
    rows, columns = soft.shape
    sx, sy = columns / max(box[2] - box[0], 1e-6), rows / max(box[3] - box[1], 1e-6)
    # From pixel centres of the photo to cell centres of the soft mask.
    inverse = np.array(
        [[sx, 0, (left + 0.5 - box[0]) * sx - 0.5], [0, sy, (top + 0.5 - box[1]) * sy - 0.5]], np.float64
    )
    part = cv2.warpAffine(
        np.ascontiguousarray(soft, np.float32),
        inverse,
        shape[::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return *place, part
