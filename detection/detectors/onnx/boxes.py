"""What a Mask R-CNN does with boxes between its networks, on arrays: decoding, clipping, suppression, levels."""

from __future__ import annotations

import math

import numpy as np

# Larger factors than this are noise, and exp() of them would overflow; Detectron2's own limit.
_MOST_GROWTH = math.log(1000 / 16)
_AT_ONCE = 128  # boxes that are compared with each other at a time


def apply_deltas(deltas: np.ndarray, boxes: np.ndarray, weights: tuple[float, float, float, float]) -> np.ndarray:
    """Boxes (float32 Nx4, xyxy) moved and scaled by what a network says (float32 Nx4: dx, dy, dw, dh by `weights`)."""
    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + 0.5 * size
    steps = deltas / np.array(weights, np.float32)
    centre = centre + steps[:, :2] * size
    size = np.exp(np.minimum(steps[:, 2:], np.float32(_MOST_GROWTH))) * size
    return np.concatenate([centre - 0.5 * size, centre + 0.5 * size], axis=1)


def clip_boxes(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The parts of boxes (Nx4, xyxy) that lie in a photo of (height, width) `size`.

    >>> clip_boxes(np.array([[-5.0, 2.0, 30.0, 8.0]]), (10, 20)).tolist()
    [[0.0, 2.0, 20.0, 8.0]]
    """
    height, width = size
    return np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))


def widen_boxes(boxes: np.ndarray, margin: float, size: tuple[int, int]) -> np.ndarray:
    """Boxes (Nx4, xyxy) grown on each side by `margin` of their width and height, clipped to (height, width)."""
    grown = (boxes[:, 2:] - boxes[:, :2]) * np.asarray(margin, boxes.dtype)
    return clip_boxes(np.concatenate([boxes[:, :2] - grown, boxes[:, 2:] + grown], axis=1), size)


def suppress(boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, threshold: float, most: int) -> np.ndarray:
    """Indices of the at most `most` boxes that stay, best score first.

    A box goes when it overlaps a better one of its group by an IoU above `threshold`. boxes: Nx4 xyxy; scores: [N];
    groups: int [N], a pyramid level or a class.

    >>> near = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]], np.float32)
    >>> suppress(near, np.array([0.8, 0.9, 0.1]), np.zeros(3, int), 0.5, 10).tolist()
    [1, 2]
    """
    order = np.argsort(-scores, kind="stable")
    boxes, groups = boxes[order], groups[order]
    kept: list[int] = []
    # Some at a time: most often enough stay of the first ones.
    for start in range(0, len(order), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        some, of = boxes[part], groups[part]
        alive = np.logical_not(_overlaps(boxes[kept], groups[kept], some, of, threshold).any(axis=0))
        spared = np.logical_not(_overlaps(some, of, some, of, threshold))
        for index in range(len(some)):
            if len(kept) == most:
                return order[kept]
            if alive[index]:
                kept.append(start + index)
                alive &= spared[index]
    return order[kept]


def _overlaps(
    boxes: np.ndarray, groups: np.ndarray, others: np.ndarray, of: np.ndarray, threshold: float
) -> np.ndarray:
    """Whether each box (Nx4) and each of the others (Mx4) are of one group and overlap by more: bool NxM."""
    left, top, right, bottom = boxes.T[:, :, None]
    x1, y1, x2, y2 = others.T
    shared = np.maximum(np.minimum(right, x2) - np.maximum(left, x1), 0)
    shared *= np.maximum(np.minimum(bottom, y2) - np.maximum(top, y1), 0)
    areas = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top)
    return (shared > threshold * (areas - shared)) & (groups[:, None] == of)


def box_levels(boxes: np.ndarray, canonical_size: float, canonical_level: int, levels: tuple[int, int]) -> np.ndarray:
    """Which pyramid level (int [N], from 0 at the first of `levels`) each box is read from, by its area.

    boxes: float32 Nx4 xyxy. canonical_size: side in pixels of a box that belongs to `canonical_level`.
    levels: the first and the last; each halves the features of the one before.
    """
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    level = np.floor(canonical_level + np.log2(sides / np.float32(canonical_size) + np.float32(1e-8)))
    return np.clip(level, *levels).astype(np.int64) - levels[0]


def best_anchors(
    logits: np.ndarray, deltas: np.ndarray, anchors: np.ndarray, stride: int, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes (float32 Kx4, xyxy) and logits ([K], best first) of a pyramid level's `most` best anchors.

    logits: AxHxW, deltas: 4AxHxW of the level. anchors: Ax4 round the centre of the first cell, xyxy in pixels.
    stride: pixels per cell.
    """
    count, height, width = logits.shape
    flat = logits.transpose(1, 2, 0).reshape(-1)
    if len(flat) > most:
        chosen = np.argpartition(-flat, most - 1)[:most]
    else:
        chosen = np.arange(len(flat))
    chosen = chosen[np.argsort(-flat[chosen], kind="stable")]
    row, column, kind = np.unravel_index(chosen, (height, width, count))
    corner = np.stack([column, row, column, row], axis=1).astype(np.float32) * np.float32(stride)
    moves = deltas.reshape(count, 4, height, width)[kind, :, row, column]
    return apply_deltas(moves, corner + anchors[kind].astype(np.float32), (1.0, 1.0, 1.0, 1.0)), flat[chosen]
