"""What can be read off a photo's pixels: whether it is blurred, was compressed too much, or cuts its car off. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from detection.images.read import shrink

_SEEN = 224  # pixels of the longer side: what a classifier sees of a car
_LARGEST = 1024  # pixels of the longer side of the part that is searched for blocks
_BLOCK = 8  # pixels of a JPEG's block
_ROUNDING = 1.3  # what rounding to whole levels adds; in a very blurred photo it is all the detail there is
_FLAT = 0.15  # levels of detail: less is a plain surface
_LEAST = 32  # pixels of the shorter side that can be measured


def sharpness(photo: np.ndarray, box: Sequence[float]) -> float | None:
    """How much of the finest detail a light blur takes away; about 2 in a blurred photo, 6 and more in a sharp one.

    photo: RGB uint8 HxWx3. box: x1, y1, x2, y2 of the car. It is measured at the size that a classifier sees, where
    light and contrast count for nothing. None for what is too small to tell.
    """
    x1, y1, x2, y2 = (max(0, round(value)) for value in box)
    car = shrink(photo[y1:y2, x1:x2], _SEEN) if y2 > y1 and x2 > x1 else photo[:0]
    if min(car.shape[:2]) < _LEAST:
        return None
    grey = cv2.cvtColor(np.ascontiguousarray(car), cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine, less = (float(cv2.Laplacian(one, cv2.CV_32F).std()) for one in (grey, cv2.GaussianBlur(grey, (0, 0), 1)))
    return max(fine**2 - _ROUNDING**2, 0) ** 0.5 / less if less > _FLAT else None


def blockiness(photo: np.ndarray) -> float | None:
    """How much larger the steps at the borders of JPEG blocks are than the others: 1 in a good photo, RGB uint8 HxWx3.

    None for what is too small to tell, or has no steps at all.
    """
    height, width = (min(side, _LARGEST) // _BLOCK * _BLOCK for side in photo.shape[:2])
    if min(height, width) < 2 * _LEAST:
        return None
    grey = cv2.cvtColor(np.ascontiguousarray(photo[:height, :width]), cv2.COLOR_RGB2GRAY).astype(np.int16)
    found = []
    for axis in (0, 1):
        # A median of each line's steps would pass over them; edges of things are cut off at a few levels instead.
        steps = np.minimum(np.abs(np.diff(grey, axis=axis)), 24).mean(axis=1 - axis)
        border = np.arange(len(steps)) % _BLOCK == _BLOCK - 1
        found.append((float(steps[border].mean()) + 0.25) / (float(steps[~border].mean()) + 0.25))
    return min(found)


def cut_off(mask: np.ndarray) -> float:
    """Along how much of its width or height a car runs into the frame, 0 to 1: bool HxW, the largest of four sides.

    A photo that is cropped to its car is touched at a few places; one that cuts the car off, along most of a side.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0.0
    high, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    down = max(np.count_nonzero(mask[:, 0]), np.count_nonzero(mask[:, -1])) / high
    across = max(np.count_nonzero(mask[0]), np.count_nonzero(mask[-1])) / wide
    return float(max(down, across))
