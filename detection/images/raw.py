"""Camera raw files, by LibRaw (the optional rawpy): their embedded preview, or else a development at half size.

The preview is what the camera's own display shows: made by the maker's colours, and read in a tenth of the time.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, TiffImagePlugin

from detection.images.find import RAW_STARTS, RAW_SUFFIXES, TIFF_STARTS, is_photo_head

if TYPE_CHECKING:
    from rawpy import RawPy

# A preview with a longer side of this is enough for the detector and the classifier; a smaller one is the worse choice
# unless a development at half size would be no larger.
_GOOD_PREVIEW = 1000
_SMALLEST_PREVIEW = 200
# LibRaw's turns, as EXIF orientations.
_ORIENTATIONS = (1, 2, 4, 3, 5, 8, 6, 7)
_MISSING = "which can't be read here: `pip install rawpy`, or save it as JPEG or 16-bit TIFF"
_DAMAGED = "which can't be decoded: it is damaged, or of a kind that LibRaw does not know; save it as JPEG or TIFF"
_EXIF_ORIENTATION, _DNG_VERSION, _SUBFILE_TYPE, _SUB_IFDS = 0x0112, 0xC612, 0x00FE, 0x014A
# A development takes some 16 bytes per pixel of the sensor, and LibRaw uses all cores for it.
_one_development = threading.Lock()


class RawError(ValueError):
    """A raw file that can't be read; the message goes on after "is a camera's raw file,"."""


def is_raw(data: bytes, name: str = "") -> bool:
    """Whether a file is a camera's raw file, by its content and, where that leaves it open, by the suffix of its name.

    Most begin like a TIFF, of which Pillow would show the thumbnail. A JPEG that is called .dng is a JPEG.
    """
    suffixed = Path(name).suffix.lower() in RAW_SUFFIXES
    if data.startswith(TIFF_STARTS):
        return suffixed or data[8:10] == b"CR" or _has_raw_tags(data)
    return data.startswith(RAW_STARTS) or data[4:12] == b"ftypcrx " or (suffixed and not is_photo_head(data))


def read_raw(data: bytes, max_pixels: int) -> tuple[bytes | np.ndarray, int]:
    """The preview as the bytes of a JPEG, or pixels as RGB uint8 HxWx3, and the EXIF orientation to turn them by.

    The orientation takes the place of any that the JPEG has. Raises `RawError`, and `OverflowError` where more than
    `max_pixels` would have to be developed.
    """
    with _opened(data) as raw:
        found, side = _preview(raw)
        longest = max(raw.sizes.width, raw.sizes.height)
        if found is None or (side < _GOOD_PREVIEW and side < longest // 2):
            if raw.sizes.raw_width * raw.sizes.raw_height > max_pixels:
                raise OverflowError
            try:
                with _one_development:
                    return raw.postprocess(half_size=True, use_camera_wb=True), 1  # turned by LibRaw
            except MemoryError:
                raise
            except Exception as error:  # a dozen types
                if found is None or side < _SMALLEST_PREVIEW:
                    raise RawError(_DAMAGED) from error
        return found, _orientation_of(raw, found)


def raw_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a raw photo before any turn, without decoding it; None where it can't be read."""
    try:
        with _opened(data) as raw:
            return raw.sizes.raw_width, raw.sizes.raw_height
    except RawError:
        return None


def _opened(data: bytes) -> RawPy:
    try:
        import rawpy
    except ImportError as error:
        raise RawError(_MISSING) from error
    try:
        return rawpy.imread(io.BytesIO(data))
    except Exception as error:  # a dozen types
        raise RawError(_DAMAGED) from error


def _preview(raw: RawPy) -> tuple[bytes | np.ndarray | None, int]:
    """The largest preview and its longer side; None, 0 without one that can be read."""
    try:
        found = raw.extract_thumb().data
        if isinstance(found, np.ndarray):
            return (found, max(found.shape[:2])) if found.ndim == 3 and found.shape[2] == 3 else (None, 0)
        with Image.open(io.BytesIO(found), formats=("JPEG", "MPO")) as image:
            return found, max(image.size)
    except Exception:  # there may be none, or one of a rare kind, or a damaged one
        return None, 0


def _orientation_of(raw: RawPy, found: bytes | np.ndarray) -> int:
    """The orientation that makes the preview lie as the raw photo does: its own, the raw photo's, or none.

    Some programs turn the preview's pixels and leave the raw photo's orientation as it is.
    """
    of_raw = _ORIENTATIONS[raw.sizes.flip] if 0 <= raw.sizes.flip < 8 else 1
    own = 0
    if isinstance(found, bytes):
        with Image.open(io.BytesIO(found), formats=("JPEG", "MPO")) as image:
            width, height = image.size
            try:
                own = image.getexif().get(_EXIF_ORIENTATION, 0)
            except Exception:  # a broken EXIF block
                own = 0
    else:
        height, width = found.shape[:2]
    choices = [one for one in (own, of_raw, 1) if one in range(1, 9)]
    if width == height or raw.sizes.width == raw.sizes.height:
        return choices[0]
    wide = (raw.sizes.width > raw.sizes.height) != (of_raw >= 5)
    return next((one for one in choices if ((width > height) != (one >= 5)) == wide), choices[0])


def _has_raw_tags(data: bytes) -> bool:
    """Whether the first picture of a TIFF says that it is a DNG, or a thumbnail with the photo beside it."""
    try:
        stream = io.BytesIO(data)
        directory = TiffImagePlugin.ImageFileDirectory_v2(stream.read(8))
        stream.seek(directory.next)
        directory.load(stream)
        return _DNG_VERSION in directory or (directory.get(_SUBFILE_TYPE, 0) == 1 and _SUB_IFDS in directory)
    except Exception:  # broken in one of many ways: not known to be raw
        return False
