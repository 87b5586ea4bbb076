"""Colours as sRGB: the profile in a photo says what its numbers mean, and everything after the loader takes sRGB."""

from __future__ import annotations

import io
import logging
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

# A profile that moves no colour by more than this many of 255 levels is sRGB for us, whatever its name.
_SAME = 2
_BROKEN = "broken"
_log = logging.getLogger(__name__)
_told: set[int] = set()
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image (RGB, L or CMYK) as its profile means it, as RGB in sRGB; as it is without a need or a usable profile.

    A grey profile is taken for an RGB image too, by its grey. Slices of an image may be given one by one.
    """
    if not profile:
        return image
    mode, transform = _transform(profile)
    if transform is None or mode != image.mode:
        return image
    return transform.apply(image)


def profile_mode(profile: bytes | None) -> str:
    """The mode that the profile is for: RGB, L or CMYK; "" without a usable profile, or one that changes nothing."""
    if not profile:
        return ""
    mode, transform = _transform(profile)
    return "" if transform is None else mode


def tell_broken(profile: bytes | None, name: str) -> None:
    """A line in the log on a profile that is ignored; one for each profile, as thousands of photos may share it."""
    if profile and _transform(profile)[0] == _BROKEN and hash(profile) not in _told:
        _told.add(hash(profile))
        _log.warning(
            "The colour profile of '%s' is broken and was ignored: its colours may be off. Further photos with the "
            "same profile are not named.",
            name,
        )


@lru_cache(maxsize=16)
def _transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The mode that a profile is for and its way to sRGB, which is None for sRGB itself ("") and for broken ones."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES[source.profile.xcolor_space]
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        cube = _cube(mode)
        moved = np.asarray(transform.apply(cube), int) - np.asarray(cube.convert("RGB"), int)
    except Exception:  # lcms and Pillow raise several types; a photo with a broken profile is still a photo
        return _BROKEN, None
    return ("", None) if mode != "CMYK" and np.abs(moved).max() <= _SAME else (mode, transform)


def _cube(mode: str) -> Image.Image:
    """Colours from all over the range, as an image of one row."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    colours = np.stack(np.meshgrid(*[steps] * len(mode)), axis=-1).reshape(1, -1, len(mode))
    return Image.frombuffer(mode, colours.shape[1::-1], colours.tobytes(), "raw", mode, 0, 1)
