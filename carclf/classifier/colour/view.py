"""A vehicle seen small, and cut into cells: what the colour of its paint is told from. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from detection.vehicle import Vehicle, turned_array

LEAST = 20  # pixels; of a vehicle with fewer nothing is said
_VIEW = 256  # pixels of the longer side that the vehicle and its surroundings are shrunk to
_CELLS = 64  # and of the vehicle alone
_SURROUNDINGS = 0.15  # of the box's sides, on each side
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


@dataclass(frozen=True)
class Cells:
    """The vehicle alone, in a light that is a little whiter, shrunk to H x W cells.

    rgb: float32 HxWx3, 0 to 1. inside: bool HxW, the cells well inside the mask, `LEAST` or more. rough: float32 HxW,
    how the pixels within a cell differ, in grey levels. around: the brightness of the surroundings, their median, 90th
    and 10th percentile, 0 to 1.
    """

    rgb: np.ndarray
    inside: np.ndarray
    rough: np.ndarray
    around: tuple[float, float, float]

    @classmethod
    def of(cls, rgb: np.ndarray, mask: np.ndarray) -> Cells | None:
        """rgb, mask: as `vehicle_view` gives them. None where too little of the vehicle is seen."""
        if np.count_nonzero(mask) < LEAST:
            return None
        down, across = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        place = slice(down[0], down[-1] + 1), slice(across[0], across[-1] + 1)
        surroundings = rgb[~mask]
        rgb, mask = _balanced(rgb, surroundings)[place], mask[place]
        size = _scaled(mask, min(1.0, _CELLS / max(mask.shape)))
        share = _shrunk(mask, size)
        inside = share > (0.9 if np.count_nonzero(share > 0.9) >= LEAST else 0.3)
        if np.count_nonzero(inside) < LEAST:
            return None
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
        rough = np.sqrt(cv2.resize((grey - cv2.blur(grey, (3, 3))) ** 2, size, interpolation=cv2.INTER_AREA))
        small = cv2.resize(rgb.astype(np.float32), size, interpolation=cv2.INTER_AREA) / 255
        return cls(small, inside, rough, _brightness(surroundings))

    @cached_property
    def lab(self) -> np.ndarray:
        """float32 HxWx3: lightness 0 to 100, a and b."""
        return cv2.cvtColor(self.rgb, cv2.COLOR_RGB2LAB)

    @cached_property
    def tint(self) -> np.ndarray:
        """float32 HxWx2: log of red and of blue to green, which shows what a dark paint's chroma hides."""
        logs = np.log(self.rgb + 0.04)
        return np.stack([logs[..., 0] - logs[..., 1], logs[..., 2] - logs[..., 1]], axis=2)

    @cached_property
    def light(self) -> np.ndarray:
        """float32 HxW: log of the light that a cell gives, linear."""
        return np.log(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY) ** 2.2 + 0.01)

    @cached_property
    def height(self) -> np.ndarray:
        """float HxW: 0 at the vehicle's top, 1 at its foot."""
        return np.broadcast_to(np.linspace(0, 1, self.inside.shape[0])[:, None], self.inside.shape)

    @cached_property
    def aside(self) -> np.ndarray:
        """float HxW: 0 in its middle, 1 at either side."""
        return np.broadcast_to(np.abs(np.linspace(-1, 1, self.inside.shape[1])), self.inside.shape)


def _brightness(surroundings: np.ndarray) -> tuple[float, float, float]:
    if len(surroundings) <= LEAST:
        return 0.6, 0.9, 0.3
    middle = float(np.median(surroundings)) / 255
    high, low = np.percentile(surroundings.mean(axis=1), [90, 10]) / 255
    return middle, float(high), float(low)


def _balanced(rgb: np.ndarray, surroundings: np.ndarray) -> np.ndarray:
    """The view in a light that is a little whiter, by what is around the vehicle."""
    around = surroundings[::2].astype(np.float32)
    if len(around) < LEAST:
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
