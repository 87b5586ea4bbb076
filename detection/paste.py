"""From the few cells of a detector's mask to a mask of the whole photo. Pure functions."""

from __future__ import annotations

import cv2
import numpy as np

from detection.vehicle import soft_box


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
