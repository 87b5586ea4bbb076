"""The one image loader and writer: every kind of photo becomes RGB uint8, every bad file one clear sentence.

Pillow decodes everything but the data of JPEGs, which `detection.images.jpeg` reads with the same libjpeg-turbo,
because it tells of damage. OpenCV takes truncated JPEGs without a word and prints complaints to the terminal.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import logging
import os
import stat
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from detection.common.errors import UsageError
from detection.common.places.paths import path_of
from detection.common.places.place import Place
from detection.images.colour import profile_mode, tell_broken, to_srgb
from detection.images.depth import decode_odd_tiff, to_grey, white_of, with_its_range
from detection.images.formats import (
    MAX_PIXELS,
    complaint_of_reader,
    has_own_orientation,
    is_jxl,
    jxl_size,
    open_image,
    turn_of,
)
from detection.images.jpeg import DamagedError, decode_jpeg
from detection.images.raw import RawError, is_raw, raw_size, read_raw

_TRUNCATED = "'{}' is truncated: the file ends before the picture does."
_MAX_BYTES = 2 * 1024**3
# Larger pictures become arrays in strips of this size; as a whole they would need their memory twice on the way.
_STRIP_PIXELS = 4_000_000
# The shortest code is one bit for a block of 8x8 pixels, so a JPEG with fewer bytes has lost its end, or its header
# lies. libjpeg would fill the rest with grey and take it for whole.
_JPEG_PIXELS_A_BYTE = 8 * 64
_EXIF_ORIENTATION = 0x0112


# Odd EXIF blocks and large photos make Pillow warn on stderr, in the middle of a progress bar. Per-call
# `catch_warnings` is not safe with several reader threads, so this is set once, for Pillow's modules alone.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())
# Pillow's libtiff prints what is wrong with a file to stderr by itself; there is no other way to stop it.
with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)


class ImageError(ValueError):
    """A file that is not a readable photo; the message is one sentence that names the file and says why."""


def load_image(
    path: str | Path, *, max_side: int | None = None, max_pixels: int = MAX_PIXELS, digest: str = ""
) -> np.ndarray:
    """Reads a photo as RGB uint8 HxWx3, turned as its EXIF orientation says, transparency on white.

    Of animations the first frame; values of more than 8 bits are scaled to 8; CMYK, grey and palette become RGB; a
    colour profile is applied, so the numbers are sRGB. With `max_side` the photo is shrunk so that its longer side is
    at most that, and a JPEG is decoded at reduced size already.
    Raises `ImageError` for everything that is not a whole, readable photo of at most `max_pixels` pixels, and for a
    file whose SHA-256 does not begin with `digest` (hexadecimal).
    """
    path = _path(path)
    data = _read(path)
    if digest and not hashlib.sha256(data).hexdigest().startswith(digest):
        raise ImageError(f"'{path.name}' has changed: it is not the photo any more that it was.")
    return decode_image(data, path.name, max_side=max_side, max_pixels=max_pixels)


def decode_image(
    data: bytes, name: str = "the photo", *, max_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """As `load_image`, of the bytes of a file; `name` is what messages call it."""
    try:
        if is_raw(data, name):
            preview, orientation = read_raw(data, max_pixels)
            if isinstance(preview, bytes):
                array = _decode(preview, name, max_side, max_pixels, orientation)
            else:
                array = _turn(preview, orientation)
        else:
            array = _decode(data, name, max_side, max_pixels)
    except ImageError:
        raise
    except RawError as error:
        raise ImageError(f"'{name}' is a camera's raw file, {error}.") from error
    except (Image.DecompressionBombError, OverflowError):
        raise _too_large(name, max_pixels) from None
    except DamagedError as error:
        raise ImageError(f"'{name}' is damaged: {error}.") from error
    except Exception as error:  # Pillow's plugins raise a dozen types on damaged files
        raise ImageError(_complaint(name, data, error)) from error
    return array if max_side is None else shrink(array, max_side)


def _decode(
    data: bytes, name: str, max_side: int | None, max_pixels: int, orientation: int | None = None
) -> np.ndarray:
    """The picture in a file's bytes, turned by its own orientation unless one is given. Raises many types."""
    try:
        image = open_image(data, max_pixels)
    except UnidentifiedImageError:
        array = decode_odd_tiff(data, max_pixels)
        if array is None:
            raise
        return array
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise OverflowError
    is_jpeg = image.format in ("JPEG", "MPO")
    if is_jpeg and pixels > _JPEG_PIXELS_A_BYTE * len(data):
        raise ImageError(_TRUNCATED.format(name))
    if max_side is not None:
        image.draft(None, (max_side, max_side))
    profile = image.info.get("icc_profile")
    tell_broken(profile, name)
    with turn_of(image.width * image.height):
        decoded = decode_jpeg(data, image.mode, image.width, image.height) if is_jpeg else None
        if decoded is None:
            image.load()
            orientation = orientation or _orientation(image)
            array = _to_rgb(with_its_range(image, data), profile)
        else:
            orientation = orientation or _orientation(image)
            array = decoded
            if profile_mode(profile):
                grey = image.mode == "L"
                array = _to_rgb(Image.fromarray(array[..., 0] if grey else array), profile)
        del image, decoded
        return _turn(array, orientation)


def pillow_to_rgb(image: Image.Image) -> np.ndarray:
    """A Pillow image of any mode as RGB uint8 HxWx3, turned and laid on white like a file's. Raises `ImageError`."""
    try:
        image.load()
        return _turn(_to_rgb(image, image.info.get("icc_profile")), _orientation(image))
    except Exception as error:
        raise ImageError(_complaint("the image", b"", error)) from error


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height of a photo as `load_image` gives it, from its header. Raises `ImageError`."""
    path = _path(path)
    data = _read(path)
    try:
        if is_raw(data, path.name):
            height, width = decode_image(data, path.name).shape[:2]
            return width, height
        with open_image(data) as image:
            if image.format == "TIFF":  # turned by Pillow itself, and not by every version at the same moment
                image.load()
            width, height = image.size
            return (height, width) if _orientation(image) in (5, 6, 7, 8) else (width, height)
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(_complaint(path.name, data, error)) from error


def declared_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that the header of a photo's bytes declares, before any EXIF turn; None where it can't be read.

    Nothing is decoded, so this is safe for a file that is small and declares a picture that is not.
    """
    try:
        if is_jxl(data):
            return jxl_size(data)
        if is_raw(data):
            return raw_size(data)
        with open_image(data) as image:
            return image.size
    except Image.DecompressionBombError:
        return MAX_PIXELS, 2  # Pillow keeps the size to itself
    except Exception:  # Pillow's plugins raise a dozen types on damaged files
        return None


def shrink(image: np.ndarray, max_side: int) -> np.ndarray:
    """The image with its longer side at most `max_side` pixels, by area averaging; returned as it is when it fits."""
    height, width = image.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _path(path: str | Path) -> Path:
    try:
        return path_of(path)
    except UsageError as error:
        raise ImageError(str(error)) from error


def _read(path: Path) -> bytes:
    """The file's bytes, in one read. Raises `ImageError` for anything but a regular file of sensible size."""
    try:
        status = path.stat() if isinstance(path, Place) else os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"'{path.name}' is a folder, not a photo.")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise ImageError(f"'{path.name}' is not a regular file.")
        if status.st_size > _MAX_BYTES:
            raise ImageError(f"'{path.name}' is larger than {_MAX_BYTES >> 30} GiB.")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"'{path.name}' can't be read: {error.strerror or error}.") from error
    except ValueError as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{str(path)!r} is not a file name: {error}.") from error
    if not data:
        raise ImageError(f"'{path.name}' is empty (0 bytes).")
    return data


def _to_rgb(image: Image.Image, profile: bytes | None = None) -> np.ndarray:
    """A loaded Pillow image of any mode as RGB uint8 HxWx3 in sRGB, as the colour profile means it."""
    white = white_of(image) if image.mode[0] in "IF" else 0.0
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // width)
    if rows >= height:
        return _strip_to_rgb(image, profile, white)
    array = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        array[top:bottom] = _strip_to_rgb(image.crop((0, top, width, bottom)), profile, white)
    return array


def _strip_to_rgb(image: Image.Image, profile: bytes | None, white: float) -> np.ndarray:
    if white:  # more than 8 bits of grey, in several byte orders
        image = Image.fromarray(to_grey(np.asarray(image), white))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        flat = Image.new("RGB", image.size, (255, 255, 255))
        flat.paste(image, mask=image.getchannel("A"))
        image = flat
    mode = profile_mode(profile)
    if mode == "CMYK" or image.mode in ("CMYK", "L"):
        image = to_srgb(image, profile)
    if image.mode != "RGB":
        image = image.convert("RGB")
    elif mode == "RGB":
        image = to_srgb(image, profile)
    elif mode == "L":
        red, green, blue = image.split()
        if red.tobytes() == green.tobytes() == blue.tobytes():  # grey that was made RGB on the way
            image = to_srgb(red, profile)
    return np.array(image)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation 1-8 that is still to be applied; 1 for a broken or missing entry.

    Asked after loading: Pillow has turned TIFFs by then and removed theirs. HEIC, AVIF and JPEG XL have an orientation
    of their own, and their standards say that EXIF and XMP do not count. The decoders have turned HEIC and JPEG XL;
    Pillow gives AVIF's own as that of EXIF.
    """
    if has_own_orientation(image):
        return 1
    if image.format == "AVIF":
        image.info.pop("xmp", None)
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a photo with a broken EXIF block is still a photo
        return 1
    return value if value in range(1, 9) else 1


def _turn(array: np.ndarray, orientation: int) -> np.ndarray:
    """Applies an EXIF orientation to an HxWx3 array."""
    if orientation in (5, 6, 7, 8):
        array = array.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def _too_large(name: str, max_pixels: int) -> ImageError:
    limit = min(max_pixels, MAX_PIXELS) / 1e6
    return ImageError(f"'{name}' has more than {limit:.4g} megapixels: shrink it first.")


def _complaint(name: str, data: bytes, error: Exception) -> str:
    """One sentence for a decoder's error, the same on every run (Pillow's own may hold a memory address)."""
    if sentence := complaint_of_reader(data, name):
        return sentence
    if isinstance(error, UnidentifiedImageError):
        return f"'{name}' is not a photo in a known format, or its header is damaged."
    if "truncated" in str(error).lower():
        return _TRUNCATED.format(name)
    if isinstance(error, MemoryError):
        return f"'{name}' does not fit into memory."
    detail = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return f"'{name}' can't be decoded: {detail}."
