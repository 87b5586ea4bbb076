"""How well the edge of a mask follows the edge of the truth. Pure functions on arrays."""

from __future__ import annotations

import cv2
import numpy as np


def boundary_f_score(truth: np.ndarray, mask: np.ndarray, side: int = 512, tolerance: float = 2.0) -> float:
    """F-score of boundary pixels: 1 where the two edges lie within `tolerance` pixels of each other everywhere.

    truth, mask: bool HxW of one shape, resized so that their longer side is `side` pixels before they are compared.
    The photo's frame is no edge: a car that it cuts off ends there in both. Two masks without any edge score 1, an
    edge against none 0. Raises ValueError for masks of different shapes.

    >>> square = np.zeros((100, 100), bool)
    >>> square[20:80, 20:80] = True
    >>> boundary_f_score(square, square)
    1.0
    """
    if truth.shape != mask.shape:
        raise ValueError(f"The masks are of different shapes: {truth.shape} and {mask.shape}.")
    edges = [_boundary(_resized(one, side)) for one in (truth, mask)]
    counts = [np.count_nonzero(edge) for edge in edges]
    if not all(counts):
        return float(not any(counts))
    recall, precision = (_near(one, other, tolerance) for one, other in (edges, edges[::-1]))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _resized(mask: np.ndarray, side: int) -> np.ndarray:
    scale = side / max(mask.shape)
    size = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(mask.astype(np.float32), size, interpolation=method) >= 0.5


def _boundary(mask: np.ndarray) -> np.ndarray:
    """The mask's pixels that touch its outside by a side or a corner, bool HxW."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    return mask & (inner == 0)


def _near(edge: np.ndarray, other: np.ndarray, tolerance: float) -> float:
    """The share of `edge` pixels that lie within `tolerance` pixels of an `other` one."""
    distance = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(np.mean(distance[edge] <= tolerance + 1e-3))
