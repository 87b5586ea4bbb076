"""Pixels of more than 8 bits as 8 bits: 16-bit files, integers of 32 bits, floating point.

Cameras of 10, 12 and 14 bits are often saved in 16-bit files as they are; taken for 16 bits they would be black. So
the largest value in the picture tells the range: the smallest usual one that holds it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from detection.images.find import TIFF_STARTS

_RANGES = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))
_BITS_PER_SAMPLE = 258
_STRIP_PIXELS = 4_000_000


def white_of(image: Image.Image) -> float:
    """The value that is white in a loaded image of mode I, I;16* or F. Raises `ValueError` where none can be told."""
    if image.mode == "F":
        return _white_of_floats(np.concatenate([_sample(part) for part in _parts(image)]))
    extrema = np.array(image.getextrema(), np.int64)  # of one band
    low, high = int(extrema[0]), int(extrema[1])
    if low < 0 and high - low > 2**31 - 1:  # unsigned 32-bit values, of which Pillow shows the upper half as negative
        return float(2**32 - 1)
    return float(_range_of(high))


def to_grey(pixels: np.ndarray, white: float) -> np.ndarray:
    """Values of any type, HxW or HxWxC, as uint8 of the same shape: 0 is black, `white` is 255, rounded to nearest."""
    if white > 2**31:
        pixels = pixels.astype(np.int32).view(np.uint32)
    if pixels.dtype == np.uint16:
        table = (np.clip(np.arange(65536), 0, white) * 255 / white + 0.5).astype(np.uint8)
        return table[pixels]
    values = np.nan_to_num(pixels.astype(np.float64), nan=0.0, posinf=white, neginf=0.0)
    return (np.clip(values, 0, white) * (255 / white) + 0.5).astype(np.uint8)


def with_its_range(image: Image.Image, data: bytes) -> Image.Image:
    """A loaded colour image of a 16-bit file with its full range; the same image where it has that already.

    Pillow keeps the upper byte of each 16-bit colour, which is nearly nothing of 10 or 12 bits. data: the file.
    """
    if not has_16_bits(image, data):
        return image
    bands = np.array(image.getextrema(), np.int64)[: len(image.mode.removesuffix("A"))]
    if bands[:, 1].max() > _RANGES[-2] >> 8:
        return image
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[1::-1] != image.size:
        raise ValueError("a 16-bit file with values of fewer bits; save it with 8 bits")
    colours = pixels[..., 2::-1]
    small = to_grey(colours, _range_of(int(colours.max())))
    if pixels.shape[2] == 4:  # transparency is kept in the full range, or in the range of the colours
        alpha = pixels[..., 3]
        small = np.dstack([small, to_grey(alpha, _range_of(int(alpha.max())))])
    return Image.fromarray(small)


def decode_odd_tiff(data: bytes, max_pixels: int) -> np.ndarray | None:
    """A colour TIFF of floating-point or 32-bit values, which Pillow can't read, as RGB uint8 HxWx3; else None.

    Raises `ValueError` for values without a white, `OverflowError` above `max_pixels`.
    """
    if not data.startswith(TIFF_STARTS):
        return None
    width, height, bits = _tiff_header(data)
    if not width or not height or not bits or set(bits) - {16, 32, 64} or len(bits) not in (3, 4):
        return None
    if width * height > max_pixels:
        raise OverflowError
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3:
        return None
    colours = pixels[..., 2::-1]
    white = _white_of_floats(colours.reshape(-1)) if colours.dtype.kind == "f" else _range_of(int(colours.max()))
    return to_grey(colours, white)


def has_16_bits(image: Image.Image, data: bytes) -> bool:
    """Whether the colours of a PNG or TIFF that Pillow has opened with 8 bits have 16 in the file. data: the file."""
    if image.mode not in ("RGB", "RGBA", "RGBX", "LA"):
        return False
    if image.format == "PNG":
        return data[24] == 16
    return image.format == "TIFF" and 16 in _tiff_header(data)[2]


def _tiff_header(data: bytes) -> tuple[int, int, tuple[int, ...]]:
    """Width, height and bits per sample of a TIFF's first picture."""
    stream = io.BytesIO(data)
    directory = TiffImagePlugin.ImageFileDirectory_v2(stream.read(8))
    stream.seek(directory.next)
    directory.load(stream)
    bits = directory.get(_BITS_PER_SAMPLE, ())
    return directory.get(256, 0), directory.get(257, 0), bits if isinstance(bits, tuple) else (bits,)


def _range_of(high: int) -> int:
    """The smallest usual range, or of any number of bits, that holds the value."""
    return next((top for top in _RANGES if high <= top), 2 ** high.bit_length() - 1)


def _white_of_floats(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError("its floating-point pixels are no numbers")
    # A few highlights above white are usual where 1 is white.
    low, usual, high = float(finite.min()), float(np.percentile(finite[:: max(1, finite.size // 1_000_000)], 99)), 0.0
    high = float(finite.max())
    if low < -0.05 * max(usual, 1.0) or high > 2**32:
        raise ValueError(
            f"its floating-point pixels go from {low:.4g} to {high:.4g}, so their white is unknown;"
            " save it with 8 or 16 bits"
        )
    return 1.0 if usual <= 1.0 else float(_range_of(int(np.ceil(usual))))


def _sample(part: np.ndarray) -> np.ndarray:
    return part.reshape(-1)[:: max(1, part.size // 500_000)]


def _parts(image: Image.Image) -> Iterator[np.ndarray]:
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield np.asarray(image.crop((0, top, image.width, min(image.height, top + rows))))
