"""Drawing primitives shared by cars and streets: anti-aliased polygons and lines, tints, soft noise.

Canvases are RGB uint8 [H, W, 3] and are changed in place; points are pixels, sub-pixel positions count.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Points = Sequence[tuple[float, float]]


def smooth(points: Points | np.ndarray, rounds: int = 2, closed: bool = False, cut: float = 0.25) -> np.ndarray:
    """Chaikin corner cutting: [N, 2] in, a rounder float64 polyline [M, 2] out; open lines keep their ends.

    `cut` is the share of every edge that is cut off at each end: small values keep nearly sharp corners.
    """
    p = np.asarray(points, float)
    for _ in range(rounds):
        q = np.roll(p, -1, 0) if closed else p[1:]
        a = p if closed else p[:-1]
        both = np.stack([(1 - cut) * a + cut * q, cut * a + (1 - cut) * q], 1).reshape(-1, 2)
        p = both if closed else np.concatenate([p[:1], both, p[-1:]])
    return p


def fill(canvas: np.ndarray, points: np.ndarray | Points, color) -> None:
    """Fill one polygon, sub-pixel and anti-aliased, in place."""
    pts = np.round(np.clip(np.asarray(points, float), -9e3, 9e3) * 16).astype(np.int32)
    cv2.fillPoly(canvas, [pts], tuple(float(c) for c in np.atleast_1d(color)), cv2.LINE_AA, 4)


def rect(canvas: np.ndarray, x0: float, y0: float, x1: float, y1: float, color) -> None:
    """Fill an upright rectangle, sub-pixel and anti-aliased, in place."""
    fill(canvas, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color)


def stroke(canvas: np.ndarray, points: np.ndarray | Points, color, thickness: float = 1, closed: bool = False) -> None:
    """Draw one polyline, sub-pixel and anti-aliased, in place; thickness in pixels, at least 1."""
    pts = np.round(np.clip(np.asarray(points, float), -9e3, 9e3) * 16).astype(np.int32)
    color = tuple(float(c) for c in np.atleast_1d(color))
    cv2.polylines(canvas, [pts], closed, color, max(1, round(thickness)), cv2.LINE_AA, 4)


def tint(color, factor: float, add: float = 0.0) -> np.ndarray:
    """A colour made lighter or darker: float [3] within 0..255."""
    return np.clip(np.asarray(color, float) * factor + add, 0, 255)


def cloudy(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Soft noise in 0..1, float32 [height, width], about `cells` blobs across."""
    rows = max(2, round(cells * height / width))
    return np.clip(
        cv2.resize(rng.random((rows, cells), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC), 0, 1
    )


def blend(canvas: np.ndarray, color, weight: np.ndarray) -> None:
    """Mix a colour into a canvas region in place; weight float32 [H, W] in 0..1."""
    part = canvas.astype(np.float32)
    part += (np.asarray(color, np.float32) - part) * weight[..., None]
    canvas[:] = part.astype(np.uint8)


def grain(canvas: np.ndarray, rng: np.random.Generator, strength: float) -> None:
    """Coarse speckle (asphalt, plaster) added in place."""
    h, w = canvas.shape[:2]
    if h < 2 or w < 2:
        return
    coarse = rng.integers(0, max(2, int(2 * strength)), (h // 2 + 1, w // 2 + 1), dtype=np.uint8)
    noise = cv2.cvtColor(cv2.resize(coarse, (w, h), interpolation=cv2.INTER_LINEAR), cv2.COLOR_GRAY2RGB)
    cv2.subtract(cv2.add(canvas, noise), np.full_like(canvas, int(strength)), dst=canvas)


def any_color(rng: np.random.Generator) -> np.ndarray:
    """A colour as cloth, doors and boards have it, mostly muted: float [3]."""
    color = rng.uniform(20, 225, 3)
    return color.mean() + (color - color.mean()) * rng.uniform(0.1, 0.75)


def weather(canvas: np.ndarray, rng: np.random.Generator, strength: float, horizon: float) -> None:
    """Uneven light and dirt at three scales, in place, little of it high in the sky; strength around 0.1 to 0.5."""
    h, w = canvas.shape[:2]
    small = sum(cloudy(rng, h // 4, w // 4, n) for n in (7, 24, 80)) / 3
    rows = strength * np.clip(np.linspace(0, h / max(horizon, 1), h // 4) * 1.6 - 0.5, 0.08, 1)[:, None]
    light = np.clip(200 * (1 + rows * (0.5 - small)), 0, 255).astype(np.uint8)
    cv2.multiply(canvas, cv2.cvtColor(cv2.resize(light, (w, h)), cv2.COLOR_GRAY2RGB), dst=canvas, scale=1 / 200)
