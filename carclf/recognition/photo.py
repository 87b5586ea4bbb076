"""Everything that may be handed in as a photo."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from detection.common.errors import UsageError
from detection.common.places.address import without_secrets
from detection.common.places.paths import path_of
from detection.common.places.place import Place
from detection.images.read import ImageError, decode_image, load_image, pillow_to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image
    from typing_extensions import TypeIs

    Photo = str | os.PathLike | bytes | bytearray | memoryview | np.ndarray | Image


_BYTES = (bytes, bytearray, memoryview)


def is_photo(value: object) -> TypeIs[Photo]:
    """Whether it is one photo, not a collection of them."""
    return isinstance(value, (str, os.PathLike, np.ndarray, *_BYTES)) or _is_pillow(value)


def photo_name(photo: Photo) -> str:
    """The path as it was given; of what has none, what it is, in angle brackets."""
    if isinstance(photo, (str, os.PathLike)):
        return without_secrets(os.fspath(photo))
    if isinstance(photo, _BYTES):
        return "<bytes>"
    return "<array>" if isinstance(photo, np.ndarray) else "<image>"


def read_photo(photo: Photo) -> np.ndarray:
    """RGB uint8 HxWx3 of a path, the bytes of a file, a Pillow image, or an array of that kind, which is not copied.

    Raises `ImageError` for a photo that can't be read, `UsageError` for what is no photo at all.
    """
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or photo.size == 0:
            raise UsageError(
                f"A photo given as an array must be RGB uint8 of height x width x 3, "
                f"not {photo.dtype} of {' x '.join(map(str, photo.shape))}."
            )
        return photo
    if isinstance(photo, _BYTES):
        return decode_image(bytes(photo))
    if isinstance(photo, (str, os.PathLike)):
        path = path_of(photo)
        if not isinstance(path, Place) and not path.exists():
            raise ImageError("no such file")
        return load_image(path)
    if _is_pillow(photo):
        return pillow_to_rgb(photo)
    raise UsageError(f"A photo is a path, bytes, a Pillow image or an RGB uint8 array, not {type(photo).__name__}.")


def _is_pillow(value: object) -> TypeIs[Image]:
    from PIL.Image import Image

    return isinstance(value, Image)
