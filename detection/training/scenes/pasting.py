"""A vehicle cut out of one photo and put into another, for training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from detection.cutout.cut import soften
from detection.vehicle import filled_box


@dataclass(frozen=True, eq=False)
class Patch:
    """What is to be put over a photo: colours (float32 HxWx3, RGB 0-255) and alpha (float32 HxWx1, 0-1)."""

    colours: np.ndarray
    alpha: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """Bool HxW: where the patch is more than half there."""
        return self.alpha[..., 0] > 0.5

    def behind(self, mask: np.ndarray) -> Patch:
        """The same patch behind what the mask (bool HxW) covers."""
        return replace(self, alpha=self.alpha * ~mask[..., None])

    def onto(self, image: np.ndarray) -> np.ndarray:
        """The photo (RGB uint8 HxWx3) with the patch over it, as a new array."""
        return np.clip(image * (1 - self.alpha) + self.colours * self.alpha, 0, 255).astype(np.uint8)


def place_cutout(
    car: np.ndarray,
    mask: np.ndarray,
    length: float,
    centre: tuple[float, float | None],
    image: np.ndarray,
    rng: np.random.Generator,
    bottom: float | None = None,
) -> Patch:
    """A patch of the size of `image` with the vehicle of another photo in it.

    car: RGB uint8 photo, mask: its vehicle. length: of the vehicle in pixels of `image`, less where it would be too
    high. centre: x, y there; with y None it stands on the line y = `bottom`.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = filled_box(mask)
    scale = min(length / (x2 - x1), 1.2 * height / (y2 - y1))
    x, y = centre
    if y is None:
        y = bottom - scale * (y2 - y1) / 2
    flip = -1.0 if rng.random() < 0.5 else 1.0
    matrix = np.array([[flip * scale * rng.uniform(0.9, 1.1), 0, 0], [0, scale, 0]], np.float64)
    matrix[:, 2] = np.array([x, y]) - matrix[:, :2] @ [(x1 + x2) / 2, (y1 + y2) / 2]
    if scale < 0.5:
        # warpAffine samples four pixels only: shrink first, or a small car turns into noise.
        small = max(1, round(2 * scale * car.shape[1])), max(1, round(2 * scale * car.shape[0]))
        fx, fy = small[0] / car.shape[1], small[1] / car.shape[0]
        matrix = matrix @ np.diag([1 / fx, 1 / fy, 1.0])
        car = cv2.resize(car, small, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask.astype(np.uint8) * 255, small, interpolation=cv2.INTER_AREA) > 127
        scale /= fx
        if not mask.any():
            return Patch(np.zeros((height, width, 3), np.float32), np.zeros((height, width, 1), np.float32))
    # The vehicle's own colours beyond its edge: a rim of its old background would give the edge away.
    soft, colours = soften(car, mask, rng.uniform(0.4, 1.2) / min(scale, 1))
    flags = cv2.INTER_AREA if scale < 0.6 else cv2.INTER_LINEAR
    shown = cv2.warpAffine(colours, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(soft, matrix, (width, height), flags=cv2.INTER_LINEAR)[..., None] / np.float32(255)
    # Light differs between two photos: meet half-way, so that the seam alone does not give the vehicle away.
    gain = rng.uniform(0.0, 0.6) * (image.mean() - car[mask].mean())
    return Patch(np.clip(shown.astype(np.float32) + np.float32(gain), 0, 255), alpha)
