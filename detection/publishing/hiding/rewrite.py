"""A photo's file with parts of its picture covered: the same format and size, all other pixels as near as it allows."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from detection.images.formats import has_own_orientation, open_image, turn_of
from detection.images.read import ImageError
from detection.publishing.hiding.cover import HideStyle, cover, cover_face
from detection.publishing.hiding.metadata import MetadataError, carried, filtered, filtered_exif

_WRITABLE = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF")
_KEPT = ("RGB", "RGBA", "L", "CMYK", "I;16")  # modes whose pixels are changed as they are
_ORIENTATION = 0x0112
_WEBP_QUALITY = 95


def rewritten(
    data: bytes, name: str, quads: Sequence[np.ndarray], style: HideStyle, faces: Sequence[np.ndarray] = ()
) -> bytes:
    """The bytes of a photo's file with the quadrilaterals covered, and of what it says only what is to stay.

    quads, faces: float 4x2 each, in pixels of the photo as `load_image` gives it, turned by its EXIF orientation.
    Without any, the picture's own data stay as they are. Raises `ImageError` for a file that can't be written in its
    own format: nothing must come out that shows what it should not.
    """
    try:
        opened = open_image(data)
    except Exception as error:  # a camera's raw file, for one, which Pillow takes for none
        raise ImageError(f"'{name}' can't be written anew in its own format: convert it to JPEG or PNG.") from error
    with opened as image:
        file_format = image.format or ""
        if file_format not in _WRITABLE:
            raise ImageError(
                f"'{name}' is a {file_format or 'photo'} that can't be written anew: convert it to JPEG or PNG."
            )
        if getattr(image, "n_frames", 1) > 1 and file_format != "MPO":
            raise ImageError(f"'{name}' holds several pictures: save the first one as a file of its own.")
        kind = "JPEG" if file_format == "MPO" else file_format
        try:
            if not quads and not faces and kind in ("JPEG", "PNG", "WEBP", "BMP"):
                return filtered(data, style.metadata, kind)
            picture = _covered(image, kind, quads, style, faces)
            return carried(picture, data, style.metadata, kind)
        except MetadataError as error:
            raise ImageError(
                f"'{name}' can't be written anew, since {error}: save it again with another program."
            ) from error


def _covered(
    image: Image.Image, kind: str, quads: Sequence[np.ndarray], style: HideStyle, faces: Sequence[np.ndarray]
) -> bytes:
    """The picture with its quadrilaterals covered, encoded as it was, without metadata (a TIFF with what stays)."""
    orientation = 1
    if kind == "TIFF":  # its own tags, before Pillow turns it
        icc, dpi = image.info.get("icc_profile"), image.info.get("dpi")
        compression, exif = image.info.get("compression"), image.getexif().tobytes()
    else:
        orientation = _orientation(image)
    saved = _like_the_original(image, kind)
    with turn_of(image.width * image.height):
        image.load()
    turned_size = image.size if orientation < 5 else image.size[::-1]
    mode = _plain_mode(image)
    plain = image if image.mode == mode else image.convert(mode)
    pixels = np.array(plain)
    flat = pixels[..., None] if pixels.ndim == 2 else pixels
    colours = flat[..., :3] if mode == "RGBA" else flat
    for how, shapes in ((cover, quads), (cover_face, faces)):
        for shape in shapes:
            how(colours, unturned(np.asarray(shape, np.float64), orientation, turned_size), style)
    encoded = io.BytesIO()
    if kind == "TIFF":
        kept = filtered_exif(exif.removeprefix(b"Exif\0\0"), style.metadata)
        saved = {"compression": compression if compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits") else None}
        saved |= {"icc_profile": icc, "exif": kept or None}
        saved |= {} if dpi is None else {"dpi": dpi}
        saved = {key: value for key, value in saved.items() if value is not None}
    _picture(pixels, mode).save(encoded, kind, **saved)
    return encoded.getvalue()


def _plain_mode(image: Image.Image) -> str:
    """The mode in which a picture's pixels are changed: its own where that can be."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16B"):
        raise MetadataError("its pixels have 32 bits or a rare order")
    if image.mode in _KEPT and not (image.mode in ("RGB", "L") and image.has_transparency_data):
        return image.mode
    if image.has_transparency_data:
        return "RGBA"
    return "L" if image.mode == "1" else "RGB"


def _picture(pixels: np.ndarray, mode: str) -> Image.Image:
    if mode == "CMYK":
        height, width = pixels.shape[:2]
        return Image.frombytes("CMYK", (width, height), np.ascontiguousarray(pixels).tobytes())
    return Image.fromarray(pixels)


def _like_the_original(image: Image.Image, kind: str) -> dict:
    """Options of Pillow by which a file is encoded as this one was."""
    if kind == "JPEG":
        from PIL import JpegImagePlugin

        sampling = JpegImagePlugin.get_sampling(image)
        tables = getattr(image, "quantization", None)
        how: dict = {"qtables": tables} if tables else {"quality": 95}
        return (
            how
            | ({"subsampling": sampling} if sampling >= 0 else {})
            | {"progressive": bool(image.info.get("progressive")), "optimize": True}
        )
    if kind == "PNG":
        return {"compress_level": 6}
    if kind == "WEBP":
        return {"quality": _WEBP_QUALITY, "method": 4}
    return {}


def _orientation(image: Image.Image) -> int:
    if has_own_orientation(image):
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # as `load_image` has it: a photo with a broken EXIF block is still a photo
        return 1
    return value if value in range(1, 9) else 1


def unturned(points: np.ndarray, orientation: int, size: tuple[int, int]) -> np.ndarray:
    """Points (..., 2; x, y) of a photo that was turned by its EXIF orientation, in the picture as it is stored.

    size: (width, height) of the turned photo.

    >>> unturned(np.array([[10.0, 20.0]]), 6, (100, 200)).tolist()
    [[20.0, 90.0]]
    """
    x, y = points[..., 0], points[..., 1]
    width, height = size
    # The inverse of `load_image`'s turns, last one first: flip down, flip across, transpose.
    if orientation in (3, 4, 7, 8):
        y = height - y
    if orientation in (2, 3, 6, 7):
        x = width - x
    return np.stack([y, x] if orientation in (5, 6, 7, 8) else [x, y], axis=-1)
