"""A photo's file with parts of its picture covered: the same format and size, all other pixels as near as it allows."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from PIL import Image

from detection.images.depth import has_16_bits
from detection.images.formats import has_own_orientation, open_image, turn_of
from detection.images.read import ImageError
from detection.publishing.hiding.cover import HideStyle, cover, cover_face
from detection.publishing.hiding.metadata import MetadataError, carried, filtered, filtered_exif, riff_chunks

_WRITABLE = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF")
_KEPT = ("RGB", "RGBA", "L", "CMYK", "I;16")  # modes whose pixels are changed as they are
_ORIENTATION = 0x0112
# Tags of a TIFF that say how its pixels lie in the file: size, bits, compression, strips, tiles and the like.
_OF_PIXELS = (0x100, 0x101, 0x102, 0x103, 0x106, 0x111, 0x115, 0x116, 0x117, 0x11C, 0x13D, 0x142, 0x143, 0x144, 0x145)
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
                f"'{name}' is of the format {file_format}, which can't be written anew: convert it to JPEG or PNG."
            )
        if getattr(image, "n_frames", 1) > 1 and file_format != "MPO":
            raise ImageError(f"'{name}' holds several pictures: save the first one as a file of its own.")
        kind = "JPEG" if file_format == "MPO" else file_format
        try:
            if not quads and not faces and kind in ("JPEG", "PNG", "WEBP", "BMP"):
                written = filtered(data, style.metadata, kind)
            else:
                written = carried(_covered(image, data, kind, quads, style, faces), data, style.metadata, kind)
            if _look(written) != _look(data):
                raise MetadataError("its size or how it is to be turned would be another one")
            return written
        except MetadataError as error:
            raise ImageError(
                f"'{name}' can't be written anew, since {error}: save it again with another program."
            ) from error


def _look(data: bytes) -> tuple[tuple[int, int], int]:
    """Width, height and EXIF orientation of a file's picture; of a TIFF upright, since Pillow turns it."""
    with open_image(data) as image:
        if image.format == "TIFF":
            image.load()
            return image.size, 1
        return image.size, _orientation(image)


def _covered(
    image: Image.Image,
    data: bytes,
    kind: str,
    quads: Sequence[np.ndarray],
    style: HideStyle,
    faces: Sequence[np.ndarray],
) -> bytes:
    """The picture with its quadrilaterals covered, encoded as it was, without metadata (a TIFF with what stays)."""
    deep = has_16_bits(image, data)
    if kind == "TIFF":
        if deep:
            raise MetadataError("its colours have 16 bits, which is written anew as PNG alone")
        icc, dpi = image.info.get("icc_profile"), image.info.get("dpi")
        compression, tags = image.info.get("compression"), image.getexif().tobytes()
    orientation = 1 if kind == "TIFF" else _orientation(image)  # Pillow turns a TIFF
    turned_size = image.size if orientation < 5 else image.size[::-1]
    shapes = [
        (how, unturned(np.asarray(corners, np.float64), orientation, turned_size))
        for how, found in ((cover, quads), (cover_face, faces))
        for corners in found
    ]
    if deep:
        return _covered_deep(data, shapes, style)
    saved = _like_the_original(image, data, kind)
    with turn_of(image.width * image.height):
        image.load()
    mode = _plain_mode(image)
    plain = image if image.mode == mode else image.convert(mode)
    pixels = np.array(plain)
    flat = pixels[..., None] if pixels.ndim == 2 else pixels
    colours = flat[..., :3] if mode == "RGBA" else flat
    for how, shape in shapes:
        how(colours, shape, style)
    encoded = io.BytesIO()
    if kind == "TIFF":
        upright = Image.Exif()
        upright.load(tags)
        for tag in (_ORIENTATION, *_OF_PIXELS):  # which are written upright, and in strips of their own
            upright.pop(tag, None)
        kept = filtered_exif(upright.tobytes().removeprefix(b"Exif\0\0"), style.metadata)
        saved = {"compression": compression if compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits") else None}
        saved |= {"icc_profile": icc, "exif": kept or None}
        saved |= {} if dpi is None else {"dpi": dpi}
        saved = {key: value for key, value in saved.items() if value is not None}
    _picture(pixels, mode).save(encoded, kind, **saved)
    return encoded.getvalue()


def _covered_deep(data: bytes, shapes: Sequence[tuple[Callable, np.ndarray]], style: HideStyle) -> bytes:
    """A PNG with 16 bits per colour, which Pillow would write with 8."""
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16 or stored.ndim != 3:
        raise MetadataError("its 16-bit colours are of a rare kind")
    pixels = stored[..., 2::-1].copy()  # RGB
    for how, shape in shapes:
        how(pixels, shape, style)
    stored[..., :3] = pixels[..., ::-1]
    return cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, 6])[1].tobytes()


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


def _like_the_original(image: Image.Image, data: bytes, kind: str) -> dict:
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
        lossless = any(chunk == b"VP8L" for chunk, _ in riff_chunks(data))
        return {"lossless": lossless, "quality": _WEBP_QUALITY, "method": 4, "exact": True}
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
