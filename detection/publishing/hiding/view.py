"""Parts of a photo as a network sees them, upright and at its size, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from detection.vehicle import Turn, turned_array

GROUND = 114  # grey beside the photo
ROOM = 1.12  # a vehicle's view, as a multiple of its box: plates may hang out of it
_CELLS = 32  # a view's sides are multiples of so many pixels


@dataclass(frozen=True)
class View:
    """A part of a photo as the network sees it. scale: its pixels per pixel of the photo. size: (height, width) of the
    part, as it lies in the photo."""

    pixels: np.ndarray
    corner: tuple[float, float]
    scale: float
    turn: Turn
    size: tuple[int, int]

    def back(self, points: np.ndarray) -> np.ndarray:
        """Points of the view (..., 2) in the photo."""
        height, width = self.size
        across, down = points[..., 0] / self.scale, points[..., 1] / self.scale
        if self.turn == 90:
            across, down = down, height - across
        elif self.turn == 180:
            across, down = width - across, height - down
        elif self.turn == 270:
            across, down = width - down, across
        return np.stack([across + self.corner[0], down + self.corner[1]], axis=-1)


def cut_view(image: np.ndarray, box: Sequence[float], turn: Turn, size: tuple[int, int]) -> View:
    """The box (x1, y1, x2, y2, perhaps beyond the photo) upright in (height, width) pixels, as large as it fits."""
    x1, y1, x2, y2 = (round(value) for value in box)
    x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    left, top = max(0, x1), max(0, y1)
    right, bottom = min(image.shape[1], x2), min(image.shape[0], y2)
    across, down = (y2 - y1, x2 - x1) if turn in (90, 270) else (x2 - x1, y2 - y1)
    scale = min(size[0] / down, size[1] / across)
    view = View(np.full((*size, 3), GROUND, np.uint8), (x1, y1), scale, turn, (y2 - y1, x2 - x1))
    if right <= left or bottom <= top:
        return view
    # Only what the photo has is made small, and lies in the view where it lies in the box.
    wide, high = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    part = turned_array(cv2.resize(image[top:bottom, left:right], (wide, high), interpolation=how), turn)
    beside = {0: (left - x1, top - y1), 90: (y2 - bottom, left - x1), 180: (x2 - right, y2 - bottom)}
    x, y = (round(value * scale) for value in beside.get(turn, (top - y1, x2 - right)))
    part = part[: size[0] - y, : size[1] - x]
    view.pixels[y : y + part.shape[0], x : x + part.shape[1]] = part
    return view


def whole_view(image: np.ndarray, turn: Turn, side: int) -> View:
    """The photo with a longer side of about so many pixels."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    across, down = (height, width) if turn in (90, 270) else (width, height)
    size = (
        max(_CELLS, -(-round(down * scale) // _CELLS) * _CELLS),
        max(_CELLS, -(-round(across * scale) // _CELLS) * _CELLS),
    )
    return cut_view(image, (0, 0, width, height), turn, size)


def roomy(box: Sequence[float]) -> tuple[float, float, float, float]:
    """A vehicle's box with some room around it."""
    x1, y1, x2, y2 = box
    across, down = (x2 - x1) * (ROOM - 1) / 2, (y2 - y1) * (ROOM - 1) / 2
    return x1 - across, y1 - down, x2 + across, y2 + down
