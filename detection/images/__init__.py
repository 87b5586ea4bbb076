"""Photos as arrays: finding, reading, writing, comparing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detection.common.lazy import hand_on

if TYPE_CHECKING:
    from detection.images.find import IMAGE_SUFFIXES, find_images, image_names
    from detection.images.read import ImageError, decode_image, image_size, load_image, shrink
    from detection.images.write import save_image

_HOMES = {
    "ImageError": "detection.images.read",
    "decode_image": "detection.images.read",
    "load_image": "detection.images.read",
    "image_size": "detection.images.read",
    "shrink": "detection.images.read",
    "save_image": "detection.images.write",
    "find_images": "detection.images.find",
    "image_names": "detection.images.find",
    "IMAGE_SUFFIXES": "detection.images.find",
}
__all__ = [
    "IMAGE_SUFFIXES",
    "ImageError",
    "decode_image",
    "find_images",
    "image_names",
    "image_size",
    "load_image",
    "save_image",
    "shrink",
]

__getattr__, __dir__ = hand_on(__name__, _HOMES)
