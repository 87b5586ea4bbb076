"""What stands behind the car: a drawn room, a colour, a gradient or a picture, its floor where the car needs it."""

from __future__ import annotations

import functools
import hashlib
from difflib import get_close_matches

import cv2
import numpy as np
from PIL import ImageColor

from detection.common.errors import UsageError
from detection.common.places.paths import path_of
from detection.images.read import ImageError, decode_image
from detection.publishing.studio.rooms import ROOMS, dithered

_HORIZON = 0.6  # where the floor of a picture begins unless it is told: two fifths of floor is what studios show
# Floors are placed on steps of this part of the height, so that a stock shares a few drawn backdrops.
_STEPS = 100


def is_picture(name: str) -> bool:
    """Whether a backdrop's name is that of a picture's file: neither a room nor a colour nor two of them."""
    return name not in ROOMS and _colours(name) is None


def check_backdrop(name: str, size: tuple[int, int]) -> str:
    """Sees that a backdrop can be used for pictures of (width, height) `size`; returns the digest of a picture's file,
    empty for what is drawn. Raises `UsageError`."""
    if not is_picture(name):
        return ""
    digest = _digest(_read(name))
    width, height = size
    picture = _picture(name, digest)
    if picture.shape[1] < width or picture.shape[0] < height:
        raise UsageError(
            f"The backdrop '{name}' is {picture.shape[1]} x {picture.shape[0]} pixels, smaller than the pictures "
            f"({width} x {height}): take a larger one, or a smaller --size."
        )
    return digest


def backdrop(
    name: str, size: tuple[int, int], floor: float, digest: str = "", horizon: float | None = None
) -> np.ndarray:
    """The backdrop as RGB uint8 HxWx3; read-only, as it is shared.

    size: (width, height). floor: where it begins behind the car, in pixels from the top. Colours and gradients have no
    floor. digest: of a picture's file, which must still be the same; empty for any. horizon: where the floor of a
    picture begins, as a part of its height. Raises `UsageError`.
    """
    step = round(min(0.95, max(0.05, floor / size[1])) * _STEPS)
    return _drawn(name, size, step, digest, _HORIZON if horizon is None else horizon)


@functools.lru_cache(maxsize=8)
def _drawn(name: str, size: tuple[int, int], step: int, digest: str, horizon: float) -> np.ndarray:
    width, height = size
    floor = step * height / _STEPS
    colours = _colours(name)
    if name in ROOMS:
        drawn = dithered(ROOMS[name](width, height, floor))
    elif colours is not None:
        top, bottom = (np.array(colour, np.float32) for colour in colours)
        part = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
        plain = np.broadcast_to(top + (bottom - top) * part, (height, width, 3))
        drawn = np.rint(plain).astype(np.uint8) if colours[0] == colours[1] else dithered(plain)
    else:
        drawn = _fitted(_picture(name, digest), size, floor, horizon)
    drawn.setflags(write=False)
    return drawn


def _fitted(picture: np.ndarray, size: tuple[int, int], floor: float, horizon: float) -> np.ndarray:
    """A picture as large as it covers the size, and of it the part whose floor begins nearest to where it should."""
    width, height = size
    scale = max(width / picture.shape[1], height / picture.shape[0])
    across, down = max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale))
    covering = cv2.resize(picture, (across, down), interpolation=cv2.INTER_AREA) if scale < 1 else picture
    left = (across - width) // 2
    top = min(max(0, round(horizon * down - floor)), down - height)
    return np.ascontiguousarray(covering[top : top + height, left : left + width])


@functools.lru_cache(maxsize=2)
def _picture(name: str, digest: str) -> np.ndarray:
    data = _read(name)
    if digest and _digest(data) != digest:
        raise UsageError(f"The backdrop '{name}' has changed during the run: start again with --restart.")
    try:
        return decode_image(data, name)
    except ImageError as error:
        raise UsageError(f"The backdrop can't be used: {error}") from error


def _read(name: str) -> bytes:
    """The bytes of a picture. Raises `UsageError` that tells what a backdrop can be."""
    try:
        return path_of(name).read_bytes()
    except (OSError, ValueError) as error:
        near = get_close_matches(name, ROOMS, n=1)
        hint = f"did you mean {near[0]}" if near else f"known are {', '.join(ROOMS)}"
        raise UsageError(
            f"The backdrop '{name}' is neither a room nor a colour nor a picture that can be read: {hint}; or give a "
            "colour as in #d8dade, two as in white:#888888, or a file."
        ) from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _colours(name: str) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Top and bottom colour that a name tells; None where it tells none."""
    parts = name.split(":")
    if len(parts) > 2:
        return None
    try:
        found = [ImageColor.getrgb(part.strip())[:3] for part in parts]
    except ValueError:
        return None
    return found[0], found[-1]
