"""Where a car stands in the picture: the same length for each view, on the same line, in the middle. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detection.vehicle import filled_box

# A car seen from the side is this many times as long as it is high, and more; one seen from the front, or the back,
# less than that. Chosen on the scenes of Stanford Cars that say which view they are (benchmarks/studio.py views).
_SIDE, _END = 2.2, 1.5
# How long the car is in the picture, as a part of its width.
LENGTHS = {"side": 0.84, "corner": 0.76, "end": 0.5}
_HIGHEST = 0.58  # of the picture's height
_WHEELS = 0.8  # where the wheels stand, as a part of the height from the top
_FLOOR = 0.42  # how far above the wheels the floor begins, as a part of the car's height
# A side of the photo cuts the car where so much of the car's extent lies on it. A car may touch the photo's border
# with its roof or its bumper and be whole.
_CUT = {"left": 0.3, "right": 0.3, "top": 0.5, "bottom": 0.45}


@dataclass(frozen=True)
class Frame:
    """How a cut-out lies in a picture of `size` (width, height): its pixels times `scale`, its corner at `left`, `top`.

    wheels, floor: rows, in pixels, on which the wheels stand and where the floor begins behind the car. view: side,
    corner or end. limited: how much larger the car would have to be for the size that was asked, 1 where it is.
    """

    size: tuple[int, int]
    scale: float
    left: float
    top: float
    wheels: float
    floor: float
    view: str
    cut: tuple[str, ...] = ()
    limited: float = 1.0


def view_of(mask: np.ndarray) -> str:
    """side, corner or end (front or back), by the shape of a car's bool HxW mask."""
    x1, y1, x2, y2 = filled_box(mask)
    ratio = (x2 - x1) / (y2 - y1)
    return "side" if ratio >= _SIDE else "corner" if ratio >= _END else "end"


def cut_sides(mask: np.ndarray) -> tuple[str, ...]:
    """The sides of the photo that cut off the car, by its bool HxW mask in the whole photo."""
    x1, y1, x2, y2 = filled_box(mask)
    lines = {
        "left": (mask[:, 0], y2 - y1),
        "right": (mask[:, -1], y2 - y1),
        "top": (mask[0], x2 - x1),
        "bottom": (mask[-1], x2 - x1),
    }
    return tuple(side for side, (line, extent) in lines.items() if np.count_nonzero(line) >= _CUT[side] * extent)


def framed(mask: np.ndarray, cut: tuple[str, ...], size: tuple[int, int], max_upscale: float) -> Frame:
    """The frame of a cut-out.

    mask: bool HxW of the cut-out, in its pixels. cut: sides at which the photo cuts the car; there it stays at the
    picture's border. size: (width, height) that is asked; where the car would be enlarged more than `max_upscale`
    times, the whole picture is smaller.
    """
    x1, y1, x2, y2 = filled_box(mask)
    across, down = x2 - x1, y2 - y1
    view = view_of(mask)
    width, height = size
    margin = (1 - LENGTHS[view]) / 2
    room = width * (1 - margin * (("left" not in cut) + ("right" not in cut)))
    scale = room / across
    if not {"left", "right"} <= set(cut):
        bottom = height if "bottom" in cut else height * _WHEELS
        highest = bottom if "top" in cut else min(bottom - 0.04 * height, _HIGHEST * height + bottom - _WHEELS * height)
        scale = min(scale, highest / down)
    limited = max(1.0, scale / max_upscale)
    if limited > 1:
        width, height = max(1, round(width / limited)), max(1, round(height / limited))
        scale = max_upscale
    bottom = float(height if "bottom" in cut else height * _WHEELS)
    # One side is cut: the car stays there. None, or both: it stands in the middle.
    left = (width - across * scale) / 2
    if "left" in cut and "right" not in cut:
        left = 0.0
    if "right" in cut and "left" not in cut:
        left = width - across * scale
    top = bottom - down * scale
    floor = bottom - _FLOOR * down * scale if "bottom" not in cut else height * (_WHEELS - 0.2)
    return Frame((width, height), scale, left - x1 * scale, top - y1 * scale, bottom, floor, view, cut, limited)
