"""Which part of a photo a training example shows, and how it is brought to the example's size."""

from __future__ import annotations

import cv2
import numpy as np

from detection.vehicle import filled_box


def fit_aspect(width: float, height: float, size: tuple[int, int], rng) -> tuple[float, float]:
    """Grows one side of a window so that it has the proportions of `size`, up to a small squeeze."""
    aspect = size[1] / size[0] * np.exp(rng.uniform(-0.16, 0.16))
    return (height * aspect, height) if width < height * aspect else (width, width / aspect)


def draw_window(masks, shape: tuple[int, int], size: tuple[int, int], rng, zoomed: bool) -> tuple[float, ...]:
    """The part of the photo to show (x1, y1, x2, y2; may reach over the frame), with at least one car in it."""
    height, width = shape
    areas = np.array([mask.sum() for mask in masks], np.float64)
    focus = masks[int(rng.choice(len(masks), p=areas / areas.sum()))]
    x1, y1, x2, y2 = filled_box(focus)
    mode = rng.random()
    if not zoomed and mode < 0.35:
        w, h = fit_aspect(width * rng.uniform(0.9, 1.1), height * rng.uniform(0.9, 1.1), size, rng)
        cx, cy = width / 2 + rng.uniform(-0.08, 0.08) * width, height / 2 + rng.uniform(-0.08, 0.08) * height
        return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    if mode < 0.6:
        # As tight as the Stanford crops, sometimes cutting a little off.
        grow = rng.uniform(-0.06, 0.12, 4) * [x2 - x1, y2 - y1, x2 - x1, y2 - y1]
        x1, y1, x2, y2 = x1 - grow[0], y1 - grow[1], x2 + grow[2], y2 + grow[3]
        w, h = fit_aspect(x2 - x1, y2 - y1, size, rng)
    else:
        share = np.exp(rng.uniform(np.log(0.3), np.log(1.1)))
        w, h = fit_aspect((x2 - x1) / share, (y2 - y1) / min(1.1, share * 1.4), size, rng)
    if zoomed:
        w, h = min(w, 5 * (x2 - x1)), min(h, 5 * (y2 - y1))
        w, h = fit_aspect(w, h, size, rng)
    # Beyond the photo there is only filling: a third of it is enough.
    shrink = min(1.0, 1.33 * max(width / w, height / h))
    w, h = w * shrink, h * shrink
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    slack_x, slack_y = max(0.0, (w - (x2 - x1)) / 2), max(0.0, (h - (y2 - y1)) / 2)
    cx += rng.uniform(-1, 1) * (slack_x + 0.1 * (x2 - x1)) * 0.9
    cy += rng.uniform(-1, 1) * (slack_y + 0.06 * (y2 - y1)) * 0.9
    left, top = cx - w / 2, cy - h / 2
    # Where the photo is large enough, show photo rather than filling.
    left = min(max(left, 0), width - w) if w <= width else left
    top = min(max(top, 0), height - h) if h <= height else top
    return left, top, left + w, top + h


def warp_matrix(window, size: tuple[int, int], rng) -> np.ndarray:
    """2x3 matrix from photo to example: the window to the frame, half the time mirrored, sometimes turned a little."""
    x1, y1, x2, y2 = window
    height, width = size
    sx, sy = width / (x2 - x1), height / (y2 - y1)
    matrix = np.array([[sx, 0, -x1 * sx], [0, sy, -y1 * sy], [0, 0, 1]], np.float64)
    if rng.random() < 0.5:
        matrix = np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]], np.float64) @ matrix
    if rng.random() < 0.3:
        turn = np.eye(3)
        turn[:2] = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-7, 7), 1.0)
        matrix = turn @ matrix
    return matrix[:2]


def warp_photo(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], rng) -> np.ndarray:
    height, width = size
    fill = (127, 127, 127) if rng.random() < 0.5 else tuple(int(value) for value in rng.integers(0, 256, 3))
    border = cv2.BORDER_REPLICATE if rng.random() < 0.25 else cv2.BORDER_CONSTANT
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if scale < 0.7:
        # warpAffine samples four pixels only: shrink first, or thin lines turn into noise.
        shrunk = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        fx, fy = shrunk.shape[1] / image.shape[1], shrunk.shape[0] / image.shape[0]
        matrix = matrix @ np.diag([1 / fx, 1 / fy, 1.0])
        image = shrunk
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=fill)


def warp_mask(mask: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    soft = cv2.warpAffine(mask.astype(np.uint8) * 255, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return soft > 127
