"""The one image writer."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from detection.common.errors import UsageError
from detection.common.files import replace_file
from detection.common.places.paths import place_of

_WRITABLE = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
_LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}


def save_image(path: str | Path, array: np.ndarray, quality: int = 95) -> None:
    """Writes RGB uint8 HxWx3, or RGBA HxWx4, as .jpg, .png or .webp by the suffix; whole or not at all.

    `quality` (1-100) is for JPEG and WebP. Raises `UsageError` for another suffix or transparency in a JPEG, OSError
    when the file can't be written or the format can't hold an image of that size.
    """
    path = place_of(path) or Path(path)
    file_format = _WRITABLE.get(path.suffix.lower())
    if file_format is None:
        raise UsageError(f"'{path.name}' can't be written: the suffix must be one of {', '.join(_WRITABLE)}.")
    if file_format == "JPEG" and array.shape[2] == 4:
        raise UsageError(f"'{path.name}' can't hold transparency: use .png or .webp.")
    height, width = array.shape[:2]
    longest = _LONGEST_SIDE.get(file_format)
    if longest is not None and max(height, width) > longest:  # libjpeg would say so on stderr
        raise OSError(f"'{path.name}' can't hold {width} x {height} pixels: the limit of {file_format} is {longest}.")
    # zlib level 3 is a third of the time of Pillow's 6 for a few percent more bytes.
    options = {"compress_level": 3} if file_format == "PNG" else {"quality": quality}
    encoded = io.BytesIO()
    try:
        Image.fromarray(np.ascontiguousarray(array)).save(encoded, file_format, **options)
    except ValueError as error:
        raise OSError(f"'{path.name}' can't be encoded: {error}") from error
    replace_file(path, encoded.getbuffer())
