"""Covers a quadrilateral of a photo: blur, mosaic, fill or a logo in perspective. Pure functions on arrays."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from pydantic import Field, model_validator

from detection.common.config import StrictConfig, check_config
from detection.common.errors import UsageError

Way = Literal["blur", "mosaic", "fill", "logo"]
WHATS = ("plates", "faces")
# Cells that are left of a plate, across and down: no letter takes more than one of them. Of a face: no feature does.
_CELLS, _FACE_CELLS = (5, 2), (3, 3)
_TONE = 0.25
_LEAST_LOGO, _MOST_LOGO = 16, 4096
_TOGETHER = "A logo picture and the way 'logo' belong together: pass both or neither"


class HideStyle(StrictConfig):
    """What is hidden, and how.

    what: `plates`, `faces`. way: `blur`, `mosaic`, `fill` (the plate's own colour) or `logo` (a picture with
        transparency, which is set on the fill in perspective; faces get the fill alone).
    margin: how far beyond a plate or face is covered, as a part of its shorter side, on all sides.
    threshold: how sure a plate has to be on a vehicle, elsewhere: on nothing that was found. face_threshold: how sure a
        face has to be.
    near, face_near: from which score on one that was not hidden is shown to a person as nearly hidden.
    only_main: only the plates on the main vehicle; of faces all. metadata: what stays of what the file says beside its
        picture, see `detection.publishing.hiding.metadata`.
    """

    what: tuple[Literal["plates", "faces"], ...] = ("plates",)
    way: Way = "blur"
    margin: float = Field(0.3, ge=0, le=2)
    threshold: float = Field(0.4, gt=0, lt=1)
    elsewhere: float = Field(0.45, gt=0, lt=1)
    near: float = Field(0.2, gt=0, lt=1)
    face_threshold: float = Field(0.5, gt=0, lt=1)
    face_near: float = Field(0.35, gt=0, lt=1)
    only_main: bool = False
    logo: str | None = None
    metadata: Literal["strip", "keep", "safe"] = "safe"

    @model_validator(mode="after")
    def _fitting(self) -> HideStyle:
        if (self.way == "logo") != (self.logo is not None):
            raise ValueError(_TOGETHER)
        if not self.what:
            raise ValueError("Nothing is to be hidden: name plates, faces or both")
        return self

    def also(self, other: HideStyle | None) -> HideStyle:
        """This style for what the other one hides, too."""
        what = self.what if other is None else tuple(dict.fromkeys((*self.what, *other.what)))
        return self.model_copy(update={"what": what})

    def for_faces(self) -> HideStyle:
        """How faces are covered: a logo would make a mask of them, so the fill takes its place."""
        return self.model_copy(update={"way": "fill", "logo": None}) if self.way == "logo" else self


def hide_style(what: str, **values: Any) -> HideStyle:
    """A style by what is to be hidden, as in `plates,faces`, and the other fields by name. Raises `UsageError`."""
    names = tuple(name.strip() for name in what.split(",") if name.strip())
    unknown = next((name for name in names if name not in WHATS), None)
    if unknown is not None or not names:
        raise UsageError(f"'{unknown or what}' can't be hidden: known is {', '.join(WHATS)}.")
    if values.get("logo") is not None:
        read_logo(values["logo"])
        values = {"way": "logo", **values, "logo": os.path.abspath(values["logo"])}
    if (values.get("way") == "logo") != (values.get("logo") is not None):
        raise UsageError(f"{_TOGETHER}.")
    return check_config(HideStyle, {"what": names, **values})


def cover_face(image: np.ndarray, corners: np.ndarray, style: HideStyle) -> None:
    """As `cover`, for a face."""
    cover(image, corners, style.for_faces(), _FACE_CELLS)


def cover(image: np.ndarray, corners: np.ndarray, style: HideStyle, cells: tuple[int, int] = _CELLS) -> None:
    """Hides what lies within the corners, in place.

    image: HxWxC of uint8 or uint16, colours alone (grey, RGB or CMYK). corners: float 4x2 (x, y in pixels), from the
    top left of what is hidden, clockwise as it is read. cells: colours that blur and mosaic leave, across and down.
    """
    grown = grow(corners, style.margin)
    x1, y1 = np.floor(grown.min(axis=0)).astype(int) - 1
    x2, y2 = np.ceil(grown.max(axis=0)).astype(int) + 2
    x1, y1 = max(0, x1), max(0, y1)
    x2, y2 = min(image.shape[1], x2), min(image.shape[0], y2)
    if x2 <= x1 or y2 <= y1:
        return
    place = image[y1:y2, x1:x2]
    inside = _inside(grown - (x1, y1), place.shape[:2])
    hidden = _hidden(place, grown - (x1, y1), style, cells)
    place[:] = np.where(inside[..., None], hidden, place)


def grow(corners: np.ndarray, margin: float) -> np.ndarray:
    """Corners moved outwards by `margin` of the shape's height along both of its axes, and by a pixel at least."""
    corners = np.asarray(corners, np.float64)
    centre = corners.mean(axis=0)
    along = (corners[1] + corners[2] - corners[0] - corners[3]) / 2
    down = (corners[3] + corners[2] - corners[0] - corners[1]) / 2
    wide, high = max(1e-6, float(np.hypot(*along))), max(1e-6, float(np.hypot(*down)))
    step = max(1.0, margin * min(wide, high))
    shifts = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
    moves = shifts[:, :1] * along / wide * step + shifts[:, 1:] * down / high * step
    grown = corners + moves
    return grown if np.isfinite(grown).all() else np.tile(centre, (4, 1))


def _inside(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Whether each pixel of (height, width) `size` lies in the shape; of one that is bent, in its hull."""
    mask = np.zeros(size, np.uint8)
    hull = cv2.convexHull(np.round(corners * 16).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 1, lineType=cv2.LINE_8, shift=4)
    return mask.astype(bool)


def _hidden(place: np.ndarray, corners: np.ndarray, style: HideStyle, most: tuple[int, int]) -> np.ndarray:
    """What is shown in place of a part of a photo, of the same shape and dtype."""
    high, wide = place.shape[:2]
    if style.way in ("blur", "mosaic"):
        across, down = min(most[0], wide), min(most[1], high)
        cells = cv2.resize(place, (across, down), interpolation=cv2.INTER_AREA).reshape(down, across, -1)
        cells = _toned(cells)
        how = cv2.INTER_LINEAR if style.way == "blur" else cv2.INTER_NEAREST
        return cv2.resize(cells, (wide, high), interpolation=how).reshape(place.shape)
    filled = np.empty_like(place)
    filled[:] = _ground(place, corners)
    if style.way == "logo":
        assert style.logo is not None
        _set_on(filled, read_logo(style.logo), corners)
    return filled


def _toned(cells: np.ndarray) -> np.ndarray:
    """Bright colours darker and dark ones brighter: one sees that something is hidden, on plates that are pale, too."""
    most = float(np.iinfo(cells.dtype).max)
    values = cells.astype(np.float64)
    bright = values.mean() > most / 2
    return np.rint(values - _TONE * values if bright else values + _TONE * (most - values)).astype(cells.dtype)


def _ground(place: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The plate's own colour: the mean of the most frequent shade in its middle."""
    middle = place[_inside(corners.mean(axis=0) + (corners - corners.mean(axis=0)) * 0.7, place.shape[:2])]
    if not len(middle):
        middle = place.reshape(-1, place.shape[2])
    grey = middle.astype(np.float64).mean(axis=1)
    counts, edges = np.histogram(grey, bins=8)
    top = int(counts.argmax())
    return middle[(grey >= edges[top]) & (grey <= edges[top + 1])].mean(axis=0)


def _set_on(filled: np.ndarray, logo: np.ndarray, corners: np.ndarray) -> None:
    """Lays a logo (RGBA uint8) over the shape, as large as it fits into four fifths of it, in place."""
    high, wide = logo.shape[:2]
    along = (np.hypot(*(corners[1] - corners[0])) + np.hypot(*(corners[2] - corners[3]))) / 2
    down = (np.hypot(*(corners[3] - corners[0])) + np.hypot(*(corners[2] - corners[1]))) / 2
    scale = 0.8 * min(along / wide, down / high)
    across, upright = scale * wide / max(along, 1e-6) / 2, scale * high / max(down, 1e-6) / 2
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    shape = cv2.getPerspectiveTransform(square, corners.astype(np.float32))
    spots = np.array([[[0.5 + x * across, 0.5 + y * upright] for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]])
    places = cv2.perspectiveTransform(spots.astype(np.float64), shape)[0].astype(np.float32)
    matrix = cv2.getPerspectiveTransform(np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32), places)
    small = max(1.0, max(wide, high) / max(4.0, 0.8 * along))
    soft = cv2.GaussianBlur(logo, (0, 0), 0.4 * small) if small > 1.5 else logo
    laid = cv2.warpPerspective(soft, matrix, filled.shape[1::-1], flags=cv2.INTER_LINEAR)
    alpha = laid[..., 3:].astype(np.float64) / 255
    colours = laid[..., :3].astype(np.float64) * (np.iinfo(filled.dtype).max / 255)
    if filled.shape[2] == 4:  # CMYK
        colours = np.dstack([np.iinfo(filled.dtype).max - colours, np.zeros(colours.shape[:2])])
    if filled.shape[2] == 1:
        colours = colours.mean(axis=2, keepdims=True)
    filled[:] = np.rint(filled * (1 - alpha) + colours * alpha).astype(filled.dtype)


@functools.lru_cache(maxsize=4)
def read_logo(file: str) -> np.ndarray:
    """A logo as RGBA uint8. Raises `UsageError` for what is none."""
    from PIL import Image

    from detection.images.formats import open_image

    path = Path(file)
    try:
        with open_image(path.read_bytes()) as picture:
            if not picture.has_transparency_data:
                raise UsageError(f"The logo '{file}' has no transparency: save it as a PNG with a transparent ground.")
            wide, high = picture.size
            if not _LEAST_LOGO <= max(wide, high) <= _MOST_LOGO:
                raise UsageError(
                    f"The logo '{file}' is {wide} x {high} pixels: {_LEAST_LOGO} to {_MOST_LOGO} are needed."
                )
            return np.asarray(picture.convert("RGBA"))
    except UsageError:
        raise
    except OSError as error:
        why = error.strerror or "it is not a picture in a known format"
        raise UsageError(f"The logo '{file}' can't be read ({why}): pass a PNG with transparency.") from error
    except (ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"The logo '{file}' can't be read ({error}): pass a PNG with transparency.") from error
