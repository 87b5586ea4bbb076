"""JPEG data to pixels, and whether they are whole.

libjpeg makes a picture of anything and only warns of damage, and Pillow does not pass the warnings on. simplejpeg wraps
libjpeg-turbo too and gives the same pixels, but raises what libjpeg warns of. It is faster as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import simplejpeg

# Twelve thousand whole photos hold at most 20 zero bytes in a row.
_ZEROS = bytes(64)
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_DHT, _EOI, _SOS = 0xC4, 0xD9, 0xDA
# What libjpeg says where the data of the picture are damaged; other warnings concern headers and do no harm.
_DAMAGE = (
    "Corrupt JPEG data",
    "Invalid JPEG file",
    "Bogus",
    "Unsupported marker",
    "was not defined",
    "Unsupported JPEG",
)


class DamagedError(ValueError):
    """The data of a JPEG are not whole; the message says how, without the file's name."""


def decode_jpeg(data: bytes, mode: str, width: int, height: int) -> np.ndarray | None:
    """The picture in a JPEG's bytes as RGB uint8 HxWx3; None where Pillow has to decode it.

    mode: as Pillow opened it; CMYK is only looked at for damage. width, height: the size to decode at, the picture's
    own or what Pillow's `draft` made of it. Raises `DamagedError`.
    """
    if mode not in ("RGB", "L", "CMYK"):
        return None
    look_for_gaps(data)
    try:
        array = simplejpeg.decode_jpeg(
            data, "CMYK" if mode == "CMYK" else "RGB", min_width=width, min_height=height, strict=True
        )
    except ValueError as error:
        detail = " ".join(str(error).split())
        # At a missing end Pillow decides: the last bytes may be all that lacks.
        if any(word in detail for word in _DAMAGE):
            raise DamagedError(detail.removeprefix("Corrupt JPEG data: ").replace("0x", "FF").rstrip(".")) from error
        return None
    return array if mode != "CMYK" and array.shape == (height, width, 3) else None


def look_for_gaps(data: bytes) -> None:
    """Raises `DamagedError` for what the decoder does not notice: a run of zeros, and passes that are missing."""
    place = data.find(_ZEROS)
    progressive = any(data.find(bytes((0xFF, code))) >= 0 for code in _PROGRESSIVE)
    if place < 0 and not progressive:
        return
    # By class and number of a Huffman table: the symbol whose code is all zeros.
    firsts: dict[int, int] = {}
    components: list[int] = []
    fine: set[tuple[int, int]] = set()  # component and coefficient that came with all their bits
    for code, start, segment, end in _segments(data):
        if code in _SOF:
            progressive = code in _PROGRESSIVE
            components = list(segment[6::3][: segment[5]])
        elif code == _DHT:
            firsts |= _first_symbols(segment)
        elif code == _SOS:
            count = segment[0]
            first, last, bits = segment[1 + 2 * count : 4 + 2 * count]
            if bits & 15 == 0:
                fine |= {(which, at) for which in segment[1 : 2 * count : 2] for at in range(first, last + 1)}
            numbers = segment[2 : 2 * count + 1 : 2]
            flat = all(firsts.get(16 | (number & 15), 0) & 15 == 0 for number in numbers)
            if first == 0:
                flat = flat and all(firsts.get(number >> 4, 0) == 0 for number in numbers)
            # Zeros may be a plain surface: in passes without detail, and where the shortest codes are those of "as
            # before" and "no more detail" in all components.
            if last != 0 and not flat and data.find(_ZEROS, start, end) >= 0:
                raise DamagedError("a part of its data is filled with zeros")
    if progressive and len(fine) < 64 * len(components):
        raise DamagedError("passes of the progressive picture are missing")


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes, int]]:
    """Each marker up to the end of the first picture: code, start of a scan's data, segment, their end."""
    place = 2
    while match := _MARKER.search(data, place):
        code, place = data[match.start(1)], match.end()
        if code == _EOI:
            return
        length = int.from_bytes(data[place : place + 2], "big")
        segment = data[place + 2 : place + length]
        place += max(2, length)
        end = place
        if code == _SOS:
            following = _MARKER.search(data, place)
            end = following.start() if following else len(data)
        yield code, place, segment, end
        place = end


def _first_symbols(segment: bytes) -> dict[int, int]:
    found, place = {}, 0
    while place + 17 <= len(segment):
        count = sum(segment[place + 1 : place + 17])
        if count and place + 17 < len(segment):
            found[segment[place]] = segment[place + 17]
        place += 17 + count
    return found
