"""The edge of a found vehicle, made to follow the picture: a guided filter over a band along the mask's edge."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import cv2
import numpy as np

from detection.cutout.edge_network import EDGE_NETWORK
from detection.vehicle import Vehicle, mask_box, soft_box

Edge = Literal["guided", "trained"]
# A detector's mask has some hundred cells over the vehicle, so its edge is off by about a cell; the filter looks as
# far. Measured on held-out photos with radii of 2, 4 and 8 pixels for vehicles of some 400 pixels: 4 was best.
_CELLS = 112
# The vehicle is filtered at most this large (longer side, pixels): there a cell has four pixels. Beyond it the linear
# model that the filter finds is what is enlarged, not its result, so that the edge is as sharp as the photo.
_WORKING_SIDE = 448
# The network was trained on vehicles of some 250 pixels, and corrects so many pixels to each side of the mask's edge.
_TRAINED_SIDE, _TRAINED_REACH = 256, 6
_TRAINED_MARGIN = 12  # pixels that it sees around the vehicle
# Contrast (squared, of colours in 0..1) that counts as an edge of the picture.
_CONTRAST = 1e-3
# Pieces of less than this part of the largest one are no part of a vehicle that a pole or a person divides.
_SMALLEST_PIECE = 0.02


def finish_vehicle(image: np.ndarray, vehicle: Vehicle, edge: Edge = "guided") -> Vehicle:
    """The vehicle with its edge fitted to the photo, and soft there: mask, box and `alpha` are new.

    image: RGB uint8 HxWx3. vehicle: its mask is of the photo's size. A vehicle too small to gain is only cleared of
    stray pieces. edge: `guided` is He, Sun and Tang's guided filter (ECCV 2010) with the colours as its guide, and
    `trained` what a network makes of that. Raises ValueError when the mask is of another size.
    """
    if vehicle.mask.shape != image.shape[:2]:
        raise ValueError(f"The mask is {vehicle.mask.shape}, but the photo is {image.shape[:2]} (height, width).")
    mask = without_strays(vehicle.mask)
    box = mask_box(mask)
    if box is None:
        return vehicle
    x1, y1, x2, y2 = box
    side = max(x2 - x1, y2 - y1)
    scale = min(1.0, (_WORKING_SIDE if edge == "guided" else _TRAINED_SIDE) / side)
    radius = max(1, round(side * scale / _CELLS))
    margin = int(np.ceil((3 * radius if edge == "guided" else _TRAINED_MARGIN) / scale)) + 1
    height, width = mask.shape
    part = (slice(max(0, y1 - margin), min(height, y2 + margin)), slice(max(0, x1 - margin), min(width, x2 + margin)))
    alpha = np.zeros(mask.shape, np.uint8)
    make = guided_alpha if edge == "guided" else trained_alpha
    alpha[part] = make(image[part], mask[part], scale, radius)
    fitted = without_strays(alpha >= 128)
    alpha[(alpha >= 128) & ~fitted] = 0
    # A filter that leaves nothing has found no edge to follow.
    around = soft_box(alpha, 127.5)
    if around is None:
        return replace(vehicle, alpha=vehicle.mask.astype(np.uint8) * 255)
    return replace(vehicle, box=around, mask=fitted, alpha=alpha)


def without_strays(mask: np.ndarray) -> np.ndarray:
    """A bool HxW mask without pieces that are tiny beside its largest one."""
    box = mask_box(mask)
    if box is None:
        return mask
    x1, y1, x2, y2 = box
    inner = np.ascontiguousarray(mask[y1:y2, x1:x2]).view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inner, connectivity=8)
    if count <= 2:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    kept = areas >= _SMALLEST_PIECE * areas.max()
    if kept[1:].all():
        return mask
    cleared = mask.copy()
    cleared[y1:y2, x1:x2] = kept[labels]
    return cleared


def guided_alpha(image: np.ndarray, mask: np.ndarray, scale: float, radius: int) -> np.ndarray:
    """Alpha (uint8 HxW) of a bool mask: the filter's in a band along its edge, 0 or 255 elsewhere."""
    guide, hard = _shrunk(image, mask, scale)
    band = _band(hard, radius)
    return _fitted(image, mask, _linear_model(guide, hard, radius, band), band)


def trained_alpha(image: np.ndarray, mask: np.ndarray, scale: float, radius: int) -> np.ndarray:
    """The same, corrected by the network."""
    guide, hard = _shrunk(image, mask, scale)
    coarse = hard >= 128
    soft = EDGE_NETWORK.correct(guide, coarse, guided_alpha(guide, coarse, 1.0, radius))
    band = _band(hard, _TRAINED_REACH)
    wanted = np.where(band > 0, np.rint(soft * 255).astype(np.uint8), coarse * np.uint8(255))
    if scale < 1:
        return _fitted(image, mask, _linear_model(guide, wanted, 1, band), band)
    return _sharpened(wanted / np.float32(255))


def _shrunk(image: np.ndarray, mask: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """A photo (RGB uint8) and its bool mask, as uint8 up to 255, at the size at which the edge is looked for."""
    solid = mask.astype(np.uint8) * 255
    if scale >= 1:
        return image, solid
    small = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
    area = cv2.INTER_AREA
    return cv2.resize(image, small, interpolation=area), cv2.resize(solid, small, interpolation=area)


def _band(hard: np.ndarray, radius: int) -> np.ndarray:
    reach = 2 * radius + 1
    return cv2.morphologyEx(hard, cv2.MORPH_GRADIENT, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))


def _fitted(image: np.ndarray, mask: np.ndarray, model: tuple[np.ndarray, np.ndarray], band: np.ndarray) -> np.ndarray:
    """Alpha (uint8 HxW) of a photo by a linear model of its colours. Model and band may be smaller than the photo."""
    size = (mask.shape[1], mask.shape[0])
    slopes, offset = model
    if band.shape != mask.shape:
        slopes, offset, band = (
            cv2.resize(array, size, interpolation=cv2.INTER_LINEAR) for array in (slopes, offset, band)
        )
    near = np.flatnonzero(band)
    colours = image[np.unravel_index(near, band.shape)].astype(np.float32) / 255
    soft = np.einsum("ij,ij->i", colours, slopes.reshape(-1, 3)[near]) + offset.reshape(-1)[near]
    alpha = mask.astype(np.uint8) * 255
    alpha.reshape(-1)[near] = _sharpened(soft)
    return alpha


def _sharpened(soft: np.ndarray) -> np.ndarray:
    """Alpha (uint8) twice as steep as a soft one (float32, 0 to 1): the filter's edge is about as wide as its window,
    and a photo's is a pixel or two."""
    return np.clip(np.rint(((soft - 0.5) * 2 + 0.5) * 255), 0, 255).astype(np.uint8)


def _linear_model(guide: np.ndarray, hard: np.ndarray, radius: int, band: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (float32 HxWx3) and offset (HxW) such that slopes . colour + offset is nearest to the mask around.

    band: uint8 HxW, above 0 where they are asked for; a pixel further on they hold, too, beyond it they do not.
    """
    colours = guide.astype(np.float32) / 255
    wanted = hard.astype(np.float32) / 255
    r, g, b = cv2.split(colours)
    blurred = (
        _mean(array, radius)
        for array in (
            colours,
            cv2.merge([r * wanted, g * wanted, b * wanted]),
            cv2.merge([r * r, g * g, b * b]),
            cv2.merge([r * g, r * b, g * b]),
        )
    )
    # Windows that meet the band: an eighth of a photo. Of them the model is solved, and that is most of the work.
    side = 2 * (radius + 1) + 1
    some = np.flatnonzero(cv2.dilate(band, np.ones((side, side), np.uint8)))
    means, joint, squares, products = (array.reshape(-1, 3)[some] for array in blurred)
    mean = _mean(wanted, radius).reshape(-1)[some]
    mr, mg, mb = (np.ascontiguousarray(plane) for plane in means.T)
    rr, gg, bb = squares.T
    rg, rb, gb = products.T
    rr, gg, bb = rr - mr * mr + _CONTRAST, gg - mg * mg + _CONTRAST, bb - mb * mb + _CONTRAST
    rg, rb, gb = rg - mr * mg, rb - mr * mb, gb - mg * mb
    # The inverse of the symmetric 3x3 covariance of every window, by cofactors.
    c_rr, c_rg, c_rb = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    c_gg, c_gb, c_bb = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    determinant = rr * c_rr + rg * c_rg + rb * c_rb
    jr, jg, jb = ((plane - own * mean) / determinant for plane, own in zip(joint.T, (mr, mg, mb), strict=True))
    solved = np.stack(
        [
            c_rr * jr + c_rg * jg + c_rb * jb,
            c_rg * jr + c_gg * jg + c_gb * jb,
            c_rb * jr + c_gb * jg + c_bb * jb,
        ],
        axis=1,
    )
    slopes, offset = np.zeros_like(colours), np.zeros_like(wanted)
    slopes.reshape(-1, 3)[some] = solved
    offset.reshape(-1)[some] = mean - np.einsum("ij,ij->i", solved, means)
    return _mean(slopes, radius), _mean(offset, radius)


def _mean(array: np.ndarray, radius: int) -> np.ndarray:
    return cv2.blur(array, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)
