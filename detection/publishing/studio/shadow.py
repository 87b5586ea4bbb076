"""The shadow of a car on its floor, and its faint mirror image there. Pure."""

from __future__ import annotations

import cv2
import numpy as np

from detection.publishing.studio.ground import Ground

_WORKING_SIDE = 900  # soft shadows need no more
_DARKEST = 0.93
_STEPS = 7
# How strong each part is, 0 to 1, and how soft, as parts of the car's length (across, down).
_AROUND, _AROUND_SOFT = 0.32, (0.04, 0.016)
_BELOW, _BELOW_SOFT = 0.6, (0.02, 0.009)
_TYRE, _TYRE_SOFT = 0.85, 0.0045
_CAST = 0.34
_INSET, _ROUND = 0.02, 0.12  # of the length: how far within the car its footprint ends, and where its corners begin
_REACH = {"left": (0.14, 0.012), "right": (-0.14, 0.012), "top": (0.0, 0.0)}


def shadow_of(ground: Ground, size: tuple[int, int], light: str) -> np.ndarray:
    """How much of the floor's light is taken, 0 to 1: float32 HxW of (width, height) `size`.

    Soft round the car, darker below its body, darkest where a tyre stands; and thrown away from the light.
    """
    width, height = size
    scale = min(1.0, _WORKING_SIDE / max(size))
    small = max(1, round(width * scale)), max(1, round(height * scale))
    length = ground.length * scale
    across, down = small[0] / width, small[1] / height
    x = (np.arange(ground.left, ground.right) + 0.5) * across
    line = ground.line * down
    tall = ground.height * down
    inner = (x >= x[0] + _INSET * length) & (x <= x[-1] - _INSET * length)
    x, line = x[inner], line[inner]
    # Cars have round corners, seen from above, too: at its ends the footprint draws in.
    from_end = np.minimum(x - x[0], x[-1] - x) / (_ROUND * length) if len(x) else x
    drawn_in = 1 - np.sqrt(1 - (1 - np.clip(from_end, 0, 1)) ** 2)
    lower = line - drawn_in * 0.09 * tall
    footprint = _below(small, x, lower, line - (0.2 - 0.1 * drawn_in) * tall)
    around = _soft(footprint, length, *_AROUND_SOFT) * _AROUND
    core = _below(small, x, lower - 0.008 * length, line - (0.16 - 0.06 * drawn_in) * tall)
    below = _soft(core, length, *_BELOW_SOFT)
    parts = [around, below * _BELOW, _tyres(ground, small, across, down, length) * _TYRE]
    reach_x, reach_y = (step * length for step in _REACH[light])
    if reach_x:
        cast = np.zeros_like(footprint)
        for number in range(1, _STEPS + 1):
            part = number / _STEPS
            shift = np.array([[1, 0, reach_x * part], [0, 1, reach_y * part]], np.float64)
            moved = cv2.warpAffine(footprint, shift, small)
            cast = np.maximum(cast, _soft(moved, length, 0.008 + 0.03 * part, 0.005 + 0.012 * part) * (1 - 0.6 * part))
        parts.append(cast * _CAST)
    light_left = np.ones_like(footprint)
    for shade in parts:
        light_left *= 1 - np.clip(shade, 0, 1)
    taken = np.minimum(1 - light_left, _DARKEST)
    return taken if small == size else cv2.resize(taken, size, interpolation=cv2.INTER_LINEAR)


def mirrored(layer: np.ndarray, ground: Ground) -> np.ndarray:
    """The car's mirror image in the floor: float32 HxWx4 of its layer (premultiplied RGBA), fading with depth."""
    height, width = layer.shape[:2]
    line = np.interp(np.arange(width), np.arange(ground.left, ground.right), ground.line).astype(np.float32)
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.broadcast_to(np.arange(width, dtype=np.float32)[None, :], (height, width))
    image = cv2.remap(layer, columns.copy(), 2 * line[None, :] - 1 - rows, cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(
        image, (0, 0), sigmaX=max(0.3, 0.0015 * ground.length), sigmaY=max(0.3, 0.004 * ground.length)
    )
    depth = np.clip((rows - line[None, :]) / max(1.0, 0.55 * ground.height), 0, 1)
    return soft * ((1 - depth) ** 1.5 * (rows >= line[None, :] - 1))[..., None]


def _below(size: tuple[int, int], x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """1 between two lines, float32 HxW; its edge is smooth to a part of a pixel."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    if len(x) >= 2:
        outline = np.concatenate([np.column_stack([x, lower]), np.column_stack([x, upper])[::-1]])
        cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def _tyres(ground: Ground, size: tuple[int, int], across: float, down: float, length: float) -> np.ndarray:
    mask = np.zeros((size[1], size[0]), np.uint8)
    for x1, x2, y in ground.tyres:
        half = max(0.012 * length, (x2 - x1) / 2 * across + 0.006 * length)
        centre = ((x1 + x2) / 2 * across, y * down - 0.002 * length)
        axes = half, 0.0075 * length
        box = [round(value * 16) for value in (*centre, *axes)]
        cv2.ellipse(mask, (box[0], box[1]), (box[2], box[3]), 0, 0, 360, 255, -1, cv2.LINE_AA, 4)
    soft = max(0.4, _TYRE_SOFT * length)
    return cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), soft)


def _soft(mask: np.ndarray, length: float, across: float, down: float) -> np.ndarray:
    return cv2.GaussianBlur(mask, (0, 0), sigmaX=max(0.4, across * length), sigmaY=max(0.4, down * length))
