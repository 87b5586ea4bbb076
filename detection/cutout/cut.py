"""Cutting the main vehicle out of its photo: crop, padding, soft edge, background. Pure functions on arrays."""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from detection.common.config import StrictConfig
from detection.vehicle import Vehicle, mask_box

_COLOURS = {"white": 255, "black": 0, "gray": 128}
# A blurred background is computed at this size, with this sigma: about a tenth of the crop, nothing recognizable left.
_BLUR_SIDE = 64
_BLUR_SIGMA = 6.0
# A colour is known where its source fills at least this part of the window.
_LEAST_SOURCE = 0.01


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
    fitted = None if vehicle.alpha is None else vehicle.alpha[wide]
    alpha, colours = (part[inner] for part in soften(image[wide], mask[wide], style.feather, fitted))
    if style.background == "transparent":
        # White below full transparency: viewers that ignore alpha show a white background.
        colours = np.where(alpha[..., None] == 0, np.uint8(255), colours)
        return np.dstack([colours, alpha])
    crop, crop_mask = image[y1:y2, x1:x2], mask[y1:y2, x1:x2]
    return _composite(colours, alpha, _background(crop, crop_mask, style.background))


def soften(
    image: np.ndarray, mask: np.ndarray, feather: float, alpha: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Soft alpha (uint8 HxW) of a bool mask, and the colours (RGB uint8 HxWx3) to be blended with it.

    alpha: the fitted edge (uint8 HxW) where there is one; it is softened further by the feather. A feather of 0 is a
    hard edge. Along the edge the colours are the vehicle's alone: the photo's own would leave a fringe of the old
    background, dark on white after a photo in front of dark trees.
    """
    solid = mask.astype(np.uint8) * 255
    if feather == 0:
        return solid, image
    soft = _blur(solid if alpha is None else alpha, feather)
    return soft, _own_colours(image, solid, soft, alpha, feather)


def _own_colours(
    image: np.ndarray, solid: np.ndarray, soft: np.ndarray, alpha: np.ndarray | None, feather: float
) -> np.ndarray:
    """The photo with the colours along the edge freed of the background that is mixed into them.

    A pixel of the edge holds alpha parts of vehicle and the rest of background. Both are estimated from what is
    surely the one or the other nearby; where alpha was fitted to the photo, the vehicle's part is then corrected so
    that the mixture gives the pixel (the idea of Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021),
    less so towards the outside, where the pixel is mostly background. A hard mask says nothing of the mixture: there
    the estimate alone stands, on the mask's outermost pixel too.
    """
    fitted = solid if alpha is None else alpha
    sure = _eroded(fitted >= 250)
    if not sure.any():
        sure = (solid > 0).astype(np.uint8)
    band = np.flatnonzero((soft > 0) & (sure == 0))
    if not len(band):
        return image
    colours = image.copy()
    by_pixel = colours.reshape(-1, 3)
    pixels = by_pixel[band].astype(np.float32)
    own, known = _spread(image, sure, band, feather + 1.0)
    if alpha is not None:
        other, seen = _spread(image, _eroded(alpha <= 5), band, feather + 1.0)
        part = (alpha.reshape(-1)[band].astype(np.float32) / 255)[:, None]
        mixed = part * own + (1 - part) * np.where(seen[:, None], other, pixels)
        own += part**2 * (pixels - mixed)
    # Where no vehicle is surely near (an antenna one pixel wide), the photo's own colour stays.
    by_pixel[band] = np.where(known[:, None], np.clip(np.rint(own), 0, 255), pixels).astype(np.uint8)
    return colours


def _eroded(mask: np.ndarray) -> np.ndarray:
    return cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8))


def _spread(image: np.ndarray, source: np.ndarray, band: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Colours (float32 Nx3) at the band's N pixels (their places in a row), spread there from the source (uint8 0 or 1,
    HxW).

    And bool N: whether there was any source near. A wider blur answers where the narrow one sees nothing.
    """
    colours = np.zeros((len(band), 3), np.float32)
    known = np.zeros(len(band), bool)
    lit = cv2.bitwise_and(image, image, mask=source)
    for reach in (math.ceil(2 * sigma), math.ceil(6 * sigma)):
        weight = _means(source, reach, band)[:, 0]
        found = ~known & (weight >= _LEAST_SOURCE)
        if found.any():
            colours[found] = _means(lit, reach, band)[found] / weight[found, None]
            known |= found
        if known.all():
            break
    return colours, known


def _means(array: np.ndarray, reach: int, places: np.ndarray) -> np.ndarray:
    """Means (float32 NxC) of a uint8 HxW or HxWxC array over the windows round N of its pixels."""
    side = 2 * reach + 1
    # Whole sums are exact in float32, and take OpenCV half the time of means.
    sums = cv2.boxFilter(array, cv2.CV_32F, (side, side), normalize=False, borderType=cv2.BORDER_REPLICATE)
    return (sums.reshape(array.shape[0] * array.shape[1], -1)[places] * np.float64(1 / side**2)).astype(np.float32)


def _blur(array: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian blur. Beyond the border its pixels are repeated: a car that the frame cuts off continues there."""
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
    result = np.empty_like(colours)
    result[:] = background
    cv2.copyTo(np.ascontiguousarray(colours), (alpha == 255).astype(np.uint8), result)
    edge = np.nonzero((alpha > 0) & (alpha < 255))
    part = alpha[edge].astype(np.float32)[:, None] / 255
    behind = result[edge]
    result[edge] = np.rint(colours[edge] * part + behind * (1 - part)).astype(np.uint8)
    return result
