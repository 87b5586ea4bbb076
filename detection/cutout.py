"""Cutting the main vehicle out of its photo: crop, padding, soft edge, background. Pure functions on arrays."""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from detection.config import StrictConfig
from detection.vehicle import Vehicle, mask_box

_COLOURS = {"white": 255, "black": 0, "gray": 128}
# A blurred background is computed at this size, with this sigma: about a tenth of the crop, nothing recognizable left.
_BLUR_SIDE = 64
_BLUR_SIGMA = 6.0


class CutoutStyle(StrictConfig):
    """How a vehicle is cut out. Stored with every classifier, so that prediction cuts as training did.

    padding: margin round the mask's box, as a part of the box's longer side, clipped to the frame.
    background: `white`, `black`, `gray` (128); `mean` (mean colour of the background in the crop); `blur` (the photo,
        strongly blurred); `keep` (the photo itself, cropped); `transparent` (RGBA).
    feather: sigma in pixels of the Gaussian that softens the mask's edge; 0 is a hard edge.
    no_car: what a folder run does with a photo without a vehicle: `keep` writes the whole photo, `skip` nothing,
        `quarantine` a copy of the file in a folder of its own.
    """

    padding: float = Field(0.05, ge=0, le=10)
    background: Literal["white", "black", "gray", "mean", "blur", "keep", "transparent"] = "white"
    feather: float = Field(1.0, ge=0, le=100)
    no_car: Literal["keep", "skip", "quarantine"] = "keep"


def crop_box(mask: np.ndarray, padding: float) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 (exclusive) of the mask's box with padding, clipped to the frame; ValueError for an empty mask.

    >>> mask = np.zeros((10, 20), bool); mask[4:6, 4:14] = True
    >>> crop_box(mask, 0.2)
    (2, 2, 16, 8)
    """
    box = mask_box(mask)
    if box is None:
        raise ValueError("The mask is empty: there is nothing to cut out.")
    x1, y1, x2, y2 = box
    margin = round(padding * max(x2 - x1, y2 - y1))
    height, width = mask.shape
    return max(0, x1 - margin), max(0, y1 - margin), min(width, x2 + margin), min(height, y2 + margin)


def cut_out(image: np.ndarray, vehicle: Vehicle, style: CutoutStyle) -> np.ndarray:
    """The vehicle's part of an RGB uint8 HxWx3 photo with its background replaced.

    Returns a new RGB uint8 array of the crop's size (`crop_box`), RGBA with straight alpha for `transparent`.
    Raises ValueError when the mask is empty or not of the photo's size.
    """
    mask = vehicle.mask
    if mask.shape != image.shape[:2]:
        raise ValueError(f"The mask is {mask.shape}, but the photo is {image.shape[:2]} (height, width).")
    x1, y1, x2, y2 = crop_box(mask, style.padding)
    if style.background == "keep":
        return image[y1:y2, x1:x2].copy()
    # The blur looks beyond the crop, so that the edge is soft alike everywhere but at the frame itself.
    reach = math.ceil(3 * style.feather) + 1
    left, top = max(0, x1 - reach), max(0, y1 - reach)
    wide = (slice(top, y2 + reach), slice(left, x2 + reach))
    inner = (slice(y1 - top, y2 - top), slice(x1 - left, x2 - left))
    alpha, colours = (part[inner] for part in soften(image[wide], mask[wide], style.feather))
    if style.background == "transparent":
        # White below full transparency: viewers that ignore alpha show a white background.
        colours = np.where(alpha[..., None] == 0, np.uint8(255), colours)
        return np.dstack([colours, alpha])
    crop, crop_mask = image[y1:y2, x1:x2], mask[y1:y2, x1:x2]
    return _composite(colours, alpha, _background(crop, crop_mask, style.background))


def soften(image: np.ndarray, mask: np.ndarray, feather: float) -> tuple[np.ndarray, np.ndarray]:
    """Soft alpha (uint8 HxW) of a bool mask, and the colours (RGB uint8 HxWx3) to be blended with it.

    Outside the mask, and on its outermost pixel, which holds a mixture, the colours are those of the vehicle next to
    it (a normalized blur of its inside). Blending the photo's own colours there would leave a fringe of the old
    background: dark on white after a photo in front of dark trees.
    """
    solid = mask.astype(np.uint8)
    if feather == 0:
        return solid * 255, image
    alpha = _blur(solid * 255, feather)
    inside = cv2.erode(solid, np.ones((3, 3), np.uint8))
    if not inside.any():
        inside = solid
    # A little wider than the feather: the eroded inside must still reach where alpha does.
    sigma = feather + 1.0
    weight = _blur(inside * 255, sigma)
    spread = _blur(image * inside[..., None], sigma)
    # Where no inside pixel is near (an antenna one pixel wide), the photo's own colour stays.
    band = (alpha > 0) & (inside == 0) & (weight >= 8)
    colours = image.copy()
    values = spread[band].astype(np.float32) * (255.0 / weight[band].astype(np.float32))[:, None]
    colours[band] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return alpha, colours


def _blur(array: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian blur; at the array's border the picture is taken to go on, as a car does that leaves the frame."""
    return cv2.GaussianBlur(array, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)


def _background(crop: np.ndarray, mask: np.ndarray, name: str) -> np.ndarray:
    """What lies behind the vehicle: RGB uint8 of the crop's size, or of size 1x1 for one colour."""
    if name in _COLOURS:
        return np.full((1, 1, 3), _COLOURS[name], np.uint8)
    if name == "mean":
        # The mean of the whole crop when the vehicle fills it: the background is then not seen anyway.
        outside = crop[~mask] if not mask.all() else crop.reshape(-1, 3)
        return np.rint(outside.mean(axis=0, dtype=np.float64)).astype(np.uint8).reshape(1, 1, 3)
    height, width = crop.shape[:2]
    scale = min(1.0, _BLUR_SIDE / max(height, width))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    reduced = cv2.resize(crop, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(_blur(reduced, _BLUR_SIGMA), (width, height), interpolation=cv2.INTER_LINEAR)


def _composite(colours: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Colours over a background by alpha, all uint8. Only the soft edge is computed: it is a few percent of a crop."""
    result = np.where(alpha[..., None] == 255, colours, background)
    edge = (alpha > 0) & (alpha < 255)
    part = alpha[edge].astype(np.float32)[:, None] / 255
    behind = np.broadcast_to(background, colours.shape)[edge]
    result[edge] = np.rint(colours[edge] * part + behind * (1 - part)).astype(np.uint8)
    return result
