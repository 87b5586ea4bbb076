"""What Pillow may open a photo as, and the readers that are loaded only once there is such a photo: HEIC, JPEG XL."""

from __future__ import annotations

import contextlib
import io
import threading

from PIL import Image

from detection.images.find import JXL_CONTAINER

# Formats that Pillow may open, whatever the suffix. Its others include EPS, which runs an external program.
# JPEG takes in MPO, the several pictures in one file that some phones write.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "AVIF")
# Pillow's own limit against decompression bombs; `max_pixels` can only be lower.
MAX_PIXELS = 2 * 89_478_485
# Decoding takes up to 17 bytes per pixel (an animated WebP), and a few kilobytes may be 179 megapixels: so only one
# photo above this size is decoded at a time, however many threads read.
_LARGE_PIXELS = 32_000_000
_one_large_photo = threading.Lock()
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_CODESTREAM = b"\xff\x0a"
_SIZE_BITS = (9, 13, 18, 30)
_RATIOS = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def open_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The bytes as an image of Pillow, whose pixels are still to be loaded.

    JPEG XL alone is decoded here, so its header's size is compared with `max_pixels` first: Pillow's
    `DecompressionBombError` is raised above it. Raises many types for what is no photo.
    """
    kind = _kind(data)
    if not kind or not _register(kind):
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    pixels = 0
    if kind == "JXL":
        width, height = jxl_size(data)
        pixels = width * height
        if pixels > min(max_pixels, MAX_PIXELS):
            raise Image.DecompressionBombError
    with turn_of(pixels):
        return Image.open(io.BytesIO(data), formats=(*_FORMATS, kind))


def turn_of(pixels: int) -> contextlib.AbstractContextManager:
    """What to hold while a photo of so many pixels is decoded: a large one waits for other large ones."""
    return _one_large_photo if pixels > _LARGE_PIXELS else contextlib.nullcontext()


def has_own_orientation(image: Image.Image) -> bool:
    """Whether the decoder has turned an opened image, so that EXIF, which its standard does not heed, is no matter.

    A JPEG that was packed as JPEG XL comes out as it was, to be turned by its EXIF.
    """
    return image.format == "HEIF" or (image.format == "JXL" and not getattr(image, "jpeg", False))


def complaint_of_reader(data: bytes, name: str) -> str:
    """A sentence on a HEIC or JPEG XL photo that could not be opened; "" for all others."""
    kind = _kind(data)
    if not kind:
        return ""
    called, package = {"HEIF": ("HEIC", "pi-heif"), "JXL": ("JPEG XL", "pillow-jxl-plugin")}[kind]
    if kind in Image.OPEN:
        return f"'{name}' is a {called} photo that can't be decoded: it is damaged, or of a rare kind."
    return f"'{name}' is a {called} photo, which can't be read here: convert it to JPEG, or `pip install {package}`."


def is_jxl(data: bytes) -> bool:
    return data.startswith((_CODESTREAM, JXL_CONTAINER))


def jxl_size(data: bytes) -> tuple[int, int]:
    """Width and height from the header, before any turn. Raises `ValueError` for a broken one."""
    bits = _Bits(_codestream(data))
    small = bits.take(1)
    height = bits.side(small)
    ratio = bits.take(3)
    if ratio == 0:
        return bits.side(small), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _kind(data: bytes) -> str:
    """Pillow's name of the format that needs a reader of its own; "" for all others."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        return "HEIF"
    return "JXL" if is_jxl(data) else ""


def _register(kind: str) -> bool:
    """Whether Pillow reads the format, after an attempt to make it."""
    if kind not in Image.OPEN:
        try:
            if kind == "HEIF":
                from pi_heif import register_heif_opener

                register_heif_opener()
            else:
                from pillow_jxl import JpegXLImagePlugin

                JpegXLImagePlugin.DECODE_THREADS = 0  # photos are read in several threads already
        except ImportError:
            return False
    return True


class _Bits:
    """Numbers from bytes, the lowest bit first."""

    def __init__(self, data: bytes):
        self._rest = int.from_bytes(data[:16], "little")

    def take(self, count: int) -> int:
        value = self._rest & ((1 << count) - 1)
        self._rest >>= count
        return value

    def side(self, small: int) -> int:
        return 8 * (1 + self.take(5)) if small else 1 + self.take(_SIZE_BITS[self.take(2)])


def _codestream(data: bytes) -> bytes:
    """The beginning of the coded picture, without its mark. Raises `ValueError`."""
    if data.startswith(_CODESTREAM):
        return data[2:34]
    place = 0
    while place + 8 <= len(data):
        length, head = int.from_bytes(data[place : place + 4], "big"), 8
        if length == 1:
            length, head = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        kind = data[place + 4 : place + 8]
        if kind in (b"jxlc", b"jxlp"):
            start = place + head + (4 if kind == b"jxlp" else 0)  # a part has a number
            if data.startswith(_CODESTREAM, start):
                return data[start + 2 : start + 34]
            break
        if length < head:
            break
        place += length
    raise ValueError("its header is damaged")
