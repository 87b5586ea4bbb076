"""When a photo was taken, as its file says."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from detection.images.formats import open_image

_EXIF, _ORIGINAL = 0x8769, 0x9003
_LARGEST = 1 << 28  # bytes of a file; beyond it the time is not worth reading it once more


def taken_at(path: Path) -> datetime | None:
    """DateTimeOriginal of EXIF, without a time zone, which it seldom has; None where it is missing or senseless."""
    try:
        if path.stat().st_size > _LARGEST:
            return None
        with open_image(path.read_bytes()) as image:
            text = image.getexif().get_ifd(_EXIF).get(_ORIGINAL, "")
        return datetime.strptime(str(text)[:19], "%Y:%m:%d %H:%M:%S")
    except Exception:  # Pillow's plugins raise a dozen types, and a photo without a time is an answer
        return None
