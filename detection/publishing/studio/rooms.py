"""Five rooms that cars are shown in, drawn by code: no picture files, the same at every size.

Each function takes width and height of the picture and where the floor begins (pixels from the top), and returns RGB
float32 HxWx3, 0 to 255.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

Grid = tuple[np.ndarray, np.ndarray]


def studio_white(width: int, height: int, floor: float) -> np.ndarray:
    """An infinity cove: wall and floor are one white sheet, and only the bend between them is a little darker."""
    x, y = _grid(width, height)
    bend = floor / height
    grey = 246 + 8 * _pool(x, y, 0.5, bend - 0.22, 0.55, 0.34)
    grey -= 15 * np.exp(-(((y - bend - 0.015) / 0.055) ** 2)) * (y < bend + 0.015)
    grey -= 15 * np.exp(-(((y - bend - 0.015) / 0.16) ** 2)) * (y >= bend + 0.015)
    grey -= 16 * np.abs(x - 0.5) ** 2 * 2 + 10 * np.clip(y - 0.86, 0, 1)
    return _tinted(np.clip(grey, 0, 255), (1.0, 1.0, 1.003))


def studio_grey(width: int, height: int, floor: float) -> np.ndarray:
    """A grey cove with a light on the wall behind the car and one on the floor before it."""
    x, y = _grid(width, height)
    bend = floor / height
    wall = 74 + 92 * _pool(x, y, 0.5, bend - 0.14, 0.48, 0.36)
    ground = 112 + 70 * _pool(x, y, 0.5, bend + 0.24, 0.5, 0.2)
    part = _step(y, bend, 0.03)
    grey = wall * (1 - part) + ground * part
    grey -= 12 * np.exp(-(((y - bend) / 0.035) ** 2))
    return _tinted(grey, (0.985, 1.0, 1.025))


def showroom(width: int, height: int, floor: float) -> np.ndarray:
    """A bright hall: panelled wall, long lamps, and a polished floor of large tiles that mirrors both."""
    x, y = _grid(width, height)
    bend = floor / height
    wall = 196 + 26 * (y / max(bend, 1e-3)) - 26 * np.abs(x - 0.5) ** 2 * 4
    seams = np.abs((x * 8.0 + 0.5) % 1.0 - 0.5) / 8.0
    wall -= 15 * np.exp(-((seams / 0.0016) ** 2))
    wall += 5 * np.exp(-(((seams - 0.004) / 0.002) ** 2))
    for left, right in ((0.1, 0.36), (0.4, 0.6), (0.64, 0.9)):
        lamp = _step(x, left, 0.004) * (1 - _step(x, right, 0.004))
        lamp = lamp * np.exp(-(np.abs((y - bend * 0.16) / 0.008) ** 6))
        wall += 60 * lamp
        wall += 26 * _pool(x, y, (left + right) / 2, bend * 0.2, 0.22, 0.12)
    skirting = _step(y, bend - 0.02, 0.001) * (1 - _step(y, bend, 0.001))
    wall -= 70 * skirting
    rgb = _tinted(np.clip(wall, 0, 255), (1.0, 0.995, 0.98))
    first = min(height - 1, max(1, round(floor)))
    rows = height - first
    mirrored = rgb[max(0, first - rows) : first][::-1]
    if len(mirrored) < rows:
        mirrored = np.concatenate([mirrored, np.repeat(mirrored[-1:], rows - len(mirrored), axis=0)])
    mirrored = cv2.GaussianBlur(mirrored, (0, 0), sigmaX=max(0.5, width / 300), sigmaY=max(0.5, height / 45))
    depth = _depth(height, first)
    base = 150 + 26 * depth[:, None] - 34 * np.abs(x[first:] - 0.5) ** 2 * 4
    tiles = _tiled(x[first:], depth, 0.9)
    ground = _tinted(base - 16 * tiles, (0.99, 1.0, 1.01))
    shine = (0.42 - 0.22 * depth)[:, None, None]
    rgb[first:] = ground * (1 - shine) + mirrored * shine
    return rgb


def dusk(width: int, height: int, floor: float) -> np.ndarray:
    """An open place after sunset: a sky from night blue to orange, far hills, dark asphalt in the sky's light."""
    x, y = _grid(width, height)
    bend = floor / height
    stops = np.array([0.0, 0.45, 0.75, 0.92, 1.0], np.float32)
    colours = np.array([[38, 52, 92], [84, 92, 134], [168, 130, 138], [230, 166, 118], [246, 196, 138]], np.float32)
    level = np.clip(y / max(bend, 1e-3), 0, 1)
    rgb = np.dstack([np.interp(level, stops, colours[:, channel]) for channel in range(3)]).astype(np.float32)
    glow = _pool(x, y, 0.62, bend, 0.4, 0.2)[..., None]
    rgb += glow * np.array([26, 18, 4], np.float32)
    clouds = _noise("clouds", width, height, (3, 26)) - 0.5
    rgb += (clouds * 26 * np.exp(-(((level - 0.62) / 0.3) ** 2)))[..., None] * np.array([1.0, 0.75, 0.6], np.float32)
    for number, (lift, colour) in enumerate(((0.055, (122, 96, 108)), (0.028, (70, 62, 78)))):
        ridge = bend - lift * (0.55 + 0.45 * np.sin(x[0] * (5 + 4 * number) + 2.2 * number + 0.8))
        ridge -= 0.006 * np.sin(x[0] * 23 + number)
        part = _step(y, ridge[None, :], 0.0025)[..., None]
        rgb = rgb * (1 - part) + np.array(colour, np.float32) * part
    first = min(height - 1, max(1, round(floor)))
    depth = _depth(height, first)[:, None]
    grain = _noise("asphalt", width, height - first, (220, 160)) - 0.5
    ground = np.dstack([70 + 4 * depth, 68 + 2 * depth, 76 + 0 * depth]) + np.zeros((1, width, 1))
    warm = _pool(x[first:], y[first:], 0.56, bend, 0.5, 0.13)[..., None]
    ground = ground + warm * np.array([92, 62, 38], np.float32) + (grain * (5 + 9 * depth))[..., None]
    ground -= (20 * np.clip(depth - 0.55, 0, 1) + 22 * np.abs(x[first:] - 0.5) ** 2 * 2)[..., None]
    part = _step(y[first:], bend + 0.004, 0.003)[..., None]
    rgb[first:] = rgb[first:] * (1 - part) + ground * part
    return rgb


def concrete(width: int, height: int, floor: float) -> np.ndarray:
    """A wall of cast concrete with the marks of its formwork, lit from above, and a smooth floor."""
    x, y = _grid(width, height)
    bend = floor / height
    ratio = width / height
    wall = 136 + 40 * _pool(x, y, 0.5, bend - 0.3, 0.5, 0.34)
    wall += 20 * (_noise("stain", width, height, (5, 4)) - 0.5) + 14 * (_noise("wall", width, height, (40, 34)) - 0.5)
    wall += 7 * (_noise("pores", width, height, (500, 380)) - 0.5)
    panel = 0.34  # of the height: panels are twice as long as they are high
    up = (bend - y) / panel
    along = (x - 0.5) * ratio / (2 * panel) + 0.5
    for place, size in ((up, panel), (along, 2 * panel)):
        seam = np.abs((place + 0.5) % 1.0 - 0.5) * size
        wall -= 30 * np.exp(-((seam / 0.0022) ** 2))
        wall += 9 * np.exp(-(((seam - 0.0045) / 0.0025) ** 2))
    holes = np.hypot(((along * 2) % 1.0 - 0.5) * panel, (up % 1.0 - 0.5) * panel)
    wall -= 42 * (1 - _step(holes, 0.0085, 0.0015)) - 8 * np.exp(-(((holes - 0.011) / 0.002) ** 2))
    first = min(height - 1, max(1, round(floor)))
    depth = _depth(height, first)[:, None]
    ground = 150 + 24 * _pool(x[first:], y[first:], 0.5, bend + 0.22, 0.55, 0.2) - 8 * depth
    ground += 16 * (_noise("floor", width, height - first, (7, 9)) - 0.5)
    ground += 5 * (_noise("dust", width, height - first, (300, 200)) - 0.5)
    ground -= 26 * np.exp(-np.clip(y[first:] - bend, 0, None) / 0.012)
    grey = wall
    part = _step(y[first:], bend, 0.0015)
    grey[first:] = wall[first:] * (1 - part) + ground * part
    return _tinted(grey, (1.0, 0.992, 0.975))


ROOMS: Mapping[str, Callable[[int, int, float], np.ndarray]] = {
    "studio-white": studio_white,
    "studio-grey": studio_grey,
    "showroom": showroom,
    "dusk": dusk,
    "concrete": concrete,
}


def dithered(picture: np.ndarray) -> np.ndarray:
    """A float picture as uint8, with noise below one level: soft gradients would show steps without."""
    noise = np.random.default_rng(0).random((*picture.shape[:2], 1), np.float32)
    return np.clip(np.floor(picture + noise), 0, 255).astype(np.uint8)


def _grid(width: int, height: int) -> Grid:
    """x and y of each pixel, 0 to 1: float32 HxW each."""
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    return x.astype(np.float32), y.astype(np.float32)


def _pool(x: np.ndarray, y: np.ndarray, at_x: float, at_y: float, wide: float, high: float) -> np.ndarray:
    """A pool of light: 1 in its middle, falling off as a bell."""
    return np.exp(-(((x - at_x) / wide) ** 2) - ((y - at_y) / high) ** 2)


def _step(value: np.ndarray, edge: float | np.ndarray, width: float) -> np.ndarray:
    """0 below the edge, 1 above it, smooth between."""
    part = np.clip((value - edge) / (2 * width) + 0.5, 0, 1)
    return part * part * (3 - 2 * part)


def _tinted(grey: np.ndarray, tint: tuple[float, float, float]) -> np.ndarray:
    return np.clip(grey[..., None] * np.array(tint, np.float32), 0, 255).astype(np.float32)


def _depth(height: int, first: int) -> np.ndarray:
    """How near each row of the floor is: 0 where it begins, 1 at the lower border. float32, height - first long."""
    return ((np.arange(first, height) - first + 0.5) / max(1, height - first)).astype(np.float32)


def _tiled(x: np.ndarray, depth: np.ndarray, across: float) -> np.ndarray:
    """The joints of a tiled floor in perspective, 0 to 1: they meet far behind where the floor begins."""
    far = 0.3
    away = 1.0 / (depth + far)
    along = (away[:, None] * (1 + far)) * across * 1.4
    side = (x - 0.5) * away[:, None] * (1 + far) * across * 1.6 + 0.5
    # As thin as a pixel far away; where tiles are smaller than that, there is nothing to be seen.
    slope = np.abs(np.gradient(along, axis=0)) if len(depth) > 1 else np.ones_like(along)
    lines = np.exp(-((np.abs((along + 0.5) % 1.0 - 0.5) / np.maximum(0.006, slope)) ** 2))
    step = away[:, None] * (1 + far) * across * 1.6 / max(1, x.shape[1])
    lines = np.maximum(lines, np.exp(-((np.abs((side + 0.5) % 1.0 - 0.5) / np.maximum(0.004, step)) ** 2)))
    return lines * np.clip(depth[:, None] * 3 + 0.25, 0, 1)


def _noise(name: str, width: int, height: int, cells: tuple[int, int]) -> np.ndarray:
    """Smooth noise, 0 to 1, with about as many cells across and down; the same for a name at every size."""
    across, down = cells
    seed = int.from_bytes(name.encode(), "little") % (1 << 32)
    small = np.random.default_rng(seed).random((down + 3, across + 3), np.float32)
    x = (np.arange(width, dtype=np.float32) + 0.5) / width * across + 1
    y = (np.arange(height, dtype=np.float32) + 0.5) / max(1, height) * down + 1
    maps = np.meshgrid(x, y)
    return cv2.remap(small, maps[0], maps[1], cv2.INTER_CUBIC)
