"""A vehicle as a table of its pixels: what each of them says of the paint. Pure."""

from __future__ import annotations

import cv2
import numpy as np

from detection.vehicle import Vehicle, turned_array

FEATURES = 20  # of a pixel
_VIEW = 256  # pixels of the longer side that the vehicle and its surroundings are shrunk to
_GRID = 64  # and of the vehicle alone, in which its pixels are counted
_SURROUNDINGS = 0.15  # of the box's sides, on each side
_LEAST = 20  # pixels; of a vehicle with fewer nothing is said
# The light is told by the brightest part of the surroundings, and taken back by half, and by so much at most: a lawn or
# a red wall is no light.
_BRIGHTEST, _TAKEN_BACK, _MOST = 60, 0.5, 0.12


def vehicle_view(photo: np.ndarray, vehicle: Vehicle) -> tuple[np.ndarray, np.ndarray]:
    """The vehicle with some of its surroundings, upright and small: RGB uint8 HxWx3 and its mask, bool HxW.

    photo: RGB uint8 HxWx3. vehicle: with its mask in pixels of the photo.
    """
    height, width = vehicle.mask.shape
    x1, y1, x2, y2 = vehicle.box
    across, down = (x2 - x1) * _SURROUNDINGS, (y2 - y1) * _SURROUNDINGS
    rows = slice(max(0, int(y1 - down)), min(height, int(np.ceil(y2 + down))))
    columns = slice(max(0, int(x1 - across)), min(width, int(np.ceil(x2 + across))))
    rgb, mask = photo[rows, columns], vehicle.mask[rows, columns]
    scale = _VIEW / max(*mask.shape, 1)
    if scale < 1:
        # A photo of 60 megapixels is thinned out first: each pixel of the view is still the mean of four or more.
        step = max(1, int(0.5 / scale))
        rgb, mask = rgb[::step, ::step], mask[::step, ::step]
        size = _scaled(mask, _VIEW / max(mask.shape))
        rgb, mask = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), _shrunk(mask, size) > 0.5
    return turned_array(rgb, vehicle.turned), turned_array(mask, vehicle.turned)


def vehicle_pixels(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """float32 [N, FEATURES], a row for each pixel well inside the mask; None where there are too few.

    rgb, mask: as `vehicle_view` gives them. Of a pixel: Lab, the same of its neighbourhood, how rough it is there,
    where in the vehicle it is (from the top, the middle, the edge); and of all pixels how bright and colourful they
    are, and the vehicle's proportions. So what looks at them can tell paint from glass, tyres, lamps and highlights.
    """
    if np.count_nonzero(mask) < _LEAST:
        return None
    down, across = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    place = slice(down[0], down[-1] + 1), slice(across[0], across[-1] + 1)
    rgb, mask = _balanced(rgb, mask)[place], mask[place]
    size = _scaled(mask, min(1.0, _GRID / max(mask.shape)))
    inside = _shrunk(mask, size)
    inside = inside > (0.9 if np.count_nonzero(inside > 0.9) >= _LEAST else 0.3)
    if np.count_nonzero(inside) < _LEAST:
        return None
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    rough = np.sqrt(cv2.resize((grey - cv2.blur(grey, (3, 3))) ** 2, size, interpolation=cv2.INTER_AREA))
    lab = cv2.cvtColor(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    weight = inside.astype(np.float32)
    wide = _mean(lab, weight, 9)[inside]
    light = lab[..., 0]
    varied = np.sqrt(np.maximum(_mean(light**2, weight, 5) - _mean(light, weight, 5) ** 2, 0))[inside]
    edge = cv2.distanceTransform(np.pad(inside.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1] / min(size)
    y = np.broadcast_to(np.linspace(-1, 1, size[1])[:, None], inside.shape)[inside]
    x = np.broadcast_to(2 * np.abs(np.linspace(-1, 1, size[0])) - 1, inside.shape)[inside]
    pixels = lab[inside]
    chroma = np.hypot(pixels[:, 1], pixels[:, 2])
    whole = [
        *(np.percentile(pixels[:, 0], [5, 25, 50, 75, 95]) / 50 - 1),
        *(np.percentile(chroma, [50, 90]) / 30),
        size[0] / size[1] / 2 - 1,
    ]
    columns = [pixels[:, 0] / 50 - 1, pixels[:, 1:] / 20, chroma / 20, wide[:, 0] / 50 - 1, wide[:, 1:] / 20]
    columns += [
        rough[inside] / 8,
        varied / 10,
        y,
        x,
        edge[inside] * 4,
        np.broadcast_to(whole, (len(pixels), len(whole))),
    ]
    return np.column_stack(columns).astype(np.float32)


def _balanced(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The view in a light that is a little whiter, by what is around the vehicle."""
    around = rgb[~mask][::2].astype(np.float32)
    if len(around) < _LEAST:
        return rgb
    brightness = around.mean(axis=1)
    light = np.maximum(around[brightness >= np.percentile(brightness, _BRIGHTEST)].mean(axis=0), 1)
    gain = np.clip((light.mean() / light) ** _TAKEN_BACK, 1 - _MOST, 1 + _MOST)
    return np.clip(rgb * gain.astype(np.float32), 0, 255).astype(np.uint8)


def _scaled(mask: np.ndarray, scale: float) -> tuple[int, int]:
    """Width and height."""
    return max(2, round(mask.shape[1] * scale)), max(2, round(mask.shape[0] * scale))


def _shrunk(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float32, how much of each pixel is the vehicle."""
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)


def _mean(values: np.ndarray, weight: np.ndarray, side: int) -> np.ndarray:
    """Of each pixel's neighbourhood, as far as it is inside."""
    weighed = values * (weight if values.ndim == 2 else weight[..., None])
    total = np.maximum(cv2.blur(weight, (side, side)), 1e-3)
    return cv2.blur(weighed, (side, side)) / (total if values.ndim == 2 else total[..., None])
