"""What the side of a car is told from: its outline, its edges and its colours, each place by place. Pure."""

from __future__ import annotations

import cv2
import numpy as np

LEAST = 24  # pixels of the car's shorter side; of a smaller one nothing is said
_WIDTH, _HEIGHT = 96, 64  # pixels that every car is squeezed to, so that wheels and lamps come to like places
_CELLS = (12, 8)  # of the edges and of the colours, across and down: red lamps are at the rear
_OUTLINE = (24, 16)  # of the mask
_DIRECTIONS = 9  # of edges, over half a turn
_CEILING = 0.2  # no direction counts more than this in its neighbourhood (Dalal and Triggs 2005)
_BEHIND = 128  # grey in place of what is not the car
FEATURES = _CELLS[0] * _CELLS[1] * (_DIRECTIONS + 3) + _OUTLINE[0] * _OUTLINE[1] + 1


def features_of(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """float32 [FEATURES] of a vehicle, RGB uint8 HxWx3 and bool HxW as `vehicle_view` gives them.

    None where too little of it is seen.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows) or min(rows[-1] - rows[0], columns[-1] - columns[0]) < LEAST:
        return None
    place = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    car, inside = rgb[place].copy(), mask[place]
    car[~inside] = _BEHIND
    small = cv2.resize(car, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
    edges = _edges(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32))
    outline = cv2.resize(inside.astype(np.float32), _OUTLINE, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / 100
    lab = cv2.resize(lab - lab.mean(axis=(0, 1)), _CELLS, interpolation=cv2.INTER_AREA)
    shape = np.log(inside.shape[1] / inside.shape[0])
    return np.concatenate([edges.ravel(), outline.ravel(), lab.ravel(), [shape]]).astype(np.float32)


def _edges(grey: np.ndarray) -> np.ndarray:
    """Histograms of the directions of edges, float32 HxWx9 of cells, each neighbourhood's contrast made even. grey:
    float32."""
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=1), cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=1)
    size, angle = cv2.cartToPolar(across, down)
    steps = np.mod(angle, np.float32(np.pi)) * np.float32(_DIRECTIONS / np.pi)
    first = np.minimum(steps.astype(np.int32), _DIRECTIONS - 1)
    part = (steps - first) * size
    rows, columns = np.arange(_HEIGHT)[:, None], np.arange(_WIDTH)
    shares = np.zeros((*grey.shape, _DIRECTIONS), np.float32)
    shares[rows, columns, first] = size - part
    shares[rows, columns, (first + 1) % _DIRECTIONS] += part
    cells = cv2.resize(shares, _CELLS, interpolation=cv2.INTER_AREA)
    energy = cv2.blur((cells**2).sum(axis=2), (3, 3)) * 9
    return np.minimum(cells / np.sqrt(energy + 1)[..., None], _CEILING)
