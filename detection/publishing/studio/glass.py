"""Windows through which the old scene is seen: where they surely are, and toned towards the new backdrop. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from detection.vehicle import filled_box

_WORKING_SIDE = 320
# All of these were chosen on photos of fit and choose with drawn panes (benchmarks/studio.py glass).
_LOWEST = 0.6  # no pane reaches farther down the car, as a part of its height
_MIDDLE = 0.38  # the middle of each lies above this part
_DARKER = 0.62  # a pane is darker than this part of the paint's lightness
_DARK_PAINT = 70.0  # of 255: on paint that is darker than this nothing is sure
_COLOUR = 24.0  # a pane has hardly any colour of its own: distance from grey in Lab
_LEAST, _MOST = 0.008, 0.2  # of the car's area
_SOLID = 0.72  # of its convex hull: a pane is a simple shape
_BORDER = 0.3  # so much of its outline at most lies on the car's own: pillars and roof are between
# What is seen through a pane is replaced by so much of the backdrop behind, which is so dark through two panes.
_REPLACED, _THROUGH = 0.55, 0.42


@dataclass(frozen=True, eq=False)
class Glass:
    """alpha: how surely each pixel of the cut-out is a pane (uint8 HxW, 255 is glass). share: of the car's area."""

    alpha: np.ndarray
    share: float


def find_glass(image: np.ndarray, mask: np.ndarray) -> Glass | None:
    """The panes of a car that are surely some; None where nothing is sure.

    image: RGB uint8 HxWx3 of the upright car. mask: bool HxW of it, not empty.
    A pane is dark, without colour, in the upper half, and framed by roof, pillars and doors.
    """
    height, width = mask.shape
    x1, y1, x2, y2 = filled_box(mask)
    scale = min(1.0, _WORKING_SIDE / max(x2 - x1, y2 - y1))
    size = max(8, round((x2 - x1) * scale)), max(8, round((y2 - y1) * scale))
    small = cv2.resize(image[y1:y2, x1:x2], size, interpolation=cv2.INTER_AREA)
    car = cv2.resize(mask[y1:y2, x1:x2].astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 127
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    lightness, colour = lab[..., 0], np.hypot(lab[..., 1] - 128, lab[..., 2] - 128)
    band = slice(round(0.42 * size[1]), round(0.72 * size[1]))
    body = lightness[band][car[band]]
    if len(body) < 50:
        return None
    paint = float(np.percentile(body, 65))
    if paint < _DARK_PAINT:
        return None
    inner = _eroded(car, max(1, round(0.01 * size[0])))
    dark = (lightness < _DARKER * paint) & (colour < _COLOUR) & inner
    dark[round(_LOWEST * size[1]) :] = False
    opened = cv2.morphologyEx(dark.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    closed = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) & inner.astype(np.uint8)
    edge = _eroded(car, max(1, round(0.01 * size[0])) + 1)
    panes = np.zeros(car.shape, np.uint8)
    count, labels, stats, middles = cv2.connectedComponentsWithStats(closed, connectivity=4)
    area = int(np.count_nonzero(car))
    for index in range(1, count):
        pane = labels == index
        if not _LEAST * area <= stats[index, cv2.CC_STAT_AREA] <= _MOST * area:
            continue
        outline = _outline(pane)
        if middles[index][1] > _MIDDLE * size[1] or not _is_pane(outline, edge):
            continue
        # What is bright within a pane is a reflection. A pixel less: the seal round it is no glass.
        whole = cv2.drawContours(np.zeros_like(panes), [outline], -1, 1, cv2.FILLED)
        panes[_eroded(whole, 1)] = 255
    share = np.count_nonzero(panes) / area
    if not share:
        return None
    alpha = np.zeros((height, width), np.uint8)
    large = cv2.resize(panes, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)
    alpha[y1:y2, x1:x2] = cv2.GaussianBlur(large, (0, 0), max(0.6, 0.5 / scale))
    return Glass(alpha, share)


def through_glass(image: np.ndarray, glass: Glass, behind: np.ndarray) -> np.ndarray:
    """The RGB uint8 HxWx3 picture with the new scene behind its panes. behind: float R, G, B of the backdrop there.

    What changes slowly over a pane is the scene; reflections, seats and frames are finer, and stay.
    """
    part = glass.alpha.astype(np.float32) / 255
    sigma = max(1.0, 0.02 * image.shape[1])
    weight = cv2.GaussianBlur(part, (0, 0), sigma)[..., None]
    values = image.astype(np.float32)
    scene = cv2.GaussianBlur(values * part[..., None], (0, 0), sigma) / np.maximum(weight, 1e-3)
    target = np.asarray(behind, np.float32) * _THROUGH
    changed = values + _REPLACED * (target - scene)
    mixed = values + (changed - values) * part[..., None]
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def _outline(pane: np.ndarray) -> np.ndarray:
    contours, _ = cv2.findContours(pane.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return max(contours, key=len)


def _is_pane(outline: np.ndarray, edge: np.ndarray) -> bool:
    """Whether an outline (Nx1x2) is that of a simple shape, and hardly ever lies where `edge` (bool HxW) is not."""
    hull = cv2.contourArea(cv2.convexHull(outline))
    if hull <= 0 or cv2.contourArea(outline) < _SOLID * hull:
        return False
    points = outline.reshape(-1, 2)
    return float((~edge[points[:, 1], points[:, 0]]).mean()) <= _BORDER


def _eroded(mask: np.ndarray, reach: int) -> np.ndarray:
    """Without a border of so many pixels, at the frame too."""
    padded = np.pad(mask.astype(np.uint8), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.erode(padded, kernel, borderValue=0)[1:-1, 1:-1].astype(bool)
