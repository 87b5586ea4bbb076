"""What a photo's file says beside its picture: place, owner, serial numbers, previews. Works on the file's bytes.

Three ways: `strip` leaves how the picture is to be shown (orientation, colour profile) and nothing else; `safe` keeps
the camera and the date, too; `keep` keeps all but previews, which would show what was hidden.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Literal

from PIL import Image

Metadata = Literal["strip", "keep", "safe"]
_ORIENTATION, _EXIF_IFD, _GPS_IFD, _INTEROP_IFD = 0x0112, 0x8769, 0x8825, 0xA005
# Of EXIF what `safe` keeps. All else goes: makers' notes hold serial numbers, comments and names whatever was typed.
_SAFE = frozenset({0x0112, 0x011A, 0x011B, 0x0128, 0x0213, 0x010F, 0x0110, 0x0131, 0x0132, 0x0100, 0x0101})
_SAFE_INNER = frozenset(
    {0x829A, 0x829D, 0x8822, 0x8827, 0x8830, 0x9000, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9201, 0x9202, 0x9203}
    | {0x9204, 0x9205, 0x9207, 0x9208, 0x9209, 0x920A, 0x9290, 0x9291, 0x9292, 0xA001, 0xA002, 0xA003, 0xA402, 0xA403}
    | {0xA404, 0xA405, 0xA406, 0xA408, 0xA409, 0xA40A, 0xA433, 0xA434}
)
_EXIF, _XMP, _ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
_PNG = b"\x89PNG\r\n\x1a\n"
# Of PNG's chunks: those that the picture itself needs, and those that only say how it is shown.
_PNG_PICTURE = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"})
_PNG_SHOWN = frozenset({b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"pHYs", b"sBIT", b"bKGD"})
_XMP_PREVIEW = (b"xmpGImg", b"xap/1.0/g/img", b"photoshop:History")


class MetadataError(ValueError):
    """A file whose structure can't be followed, so what it says can't be taken out."""


def filtered(data: bytes, metadata: Metadata, file_format: str) -> bytes:
    """A file's bytes with its picture as it is, and of the rest what is to stay.

    file_format: JPEG, PNG, WEBP; others come back as they are. Raises `MetadataError`.
    """
    return carried(data, data, metadata, file_format)


def carried(picture: bytes, original: bytes, metadata: Metadata, file_format: str) -> bytes:
    """The file `picture` with what is to stay of what the file `original` of the same format says.

    Raises `MetadataError` for a file that does not keep to its format.
    """
    join = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp}.get(file_format)
    try:
        return picture if join is None else join(picture, original, metadata)
    except (struct.error, IndexError, KeyError, OSError) as error:  # OSError: of Pillow, for what is no picture
        raise MetadataError("its parts can't be told apart") from error


def filtered_exif(exif: bytes, metadata: Metadata) -> bytes:
    """An EXIF block (a TIFF, without the "Exif" header) without previews and what may not stay; perhaps empty.

    A block that can't be read is not kept.
    """
    try:
        old = Image.Exif()
        old.load(_EXIF + exif)
        new = Image.Exif()
        for tag, value in old.items():
            stays = metadata == "keep" or (tag in _SAFE and (metadata == "safe" or tag == _ORIENTATION))
            if stays and tag not in (_EXIF_IFD, _GPS_IFD, _INTEROP_IFD):
                new[tag] = value
        for ifd in (_EXIF_IFD, _GPS_IFD):
            if metadata == "strip" or (metadata == "safe" and ifd == _GPS_IFD):
                continue
            inner = {
                tag: value
                for tag, value in old.get_ifd(ifd).items()
                if metadata == "keep" or (ifd == _EXIF_IFD and tag in _SAFE_INNER)
            }
            inner.pop(_INTEROP_IFD, None)
            if inner:
                new.get_ifd(ifd).update(inner)
                new[ifd] = inner
        if not len(new):
            return b""
        return new.tobytes().removeprefix(_EXIF)
    except Exception:  # whatever a stranger's block does to the parser
        return b""


def _jpeg(picture: bytes, original: bytes, metadata: Metadata) -> bytes:
    kept = []
    for code, body in _segments(original)[0]:
        if code == 0xE1 and body.startswith(_EXIF):
            exif = filtered_exif(body[len(_EXIF) :], metadata)
            if exif and len(exif) < 65_000:
                kept.append((code, _EXIF + exif))
            continue
        said = code == 0xFE or (code == 0xE1 and body.startswith(_XMP) and _no_preview(body))
        if (code == 0xE2 and body.startswith(_ICC)) or (metadata == "keep" and said):
            kept.append((code, body))
    heads, rest = _segments(picture)
    # JFIF and Adobe's marker belong to how the picture is coded; of JFIF a preview goes.
    own = [(code, _bare_jfif(body)) for code, body in heads if code == 0xE0 and body.startswith(b"JFIF\0")]
    own += [(code, body) for code, body in heads if code == 0xEE and body.startswith(b"Adobe")]
    tables = [(code, body) for code, body in heads if not 0xE0 <= code <= 0xEF and code != 0xFE]
    parts = [b"\xff\xd8"]
    for code, body in (*own, *kept, *tables):
        parts.append(bytes((0xFF, code)) + struct.pack(">H", len(body) + 2) + body)
    return b"".join(parts) + _first_picture(rest)


def _segments(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Code and body of each segment before the first scan, and the rest from that scan's marker on."""
    if data[:2] != b"\xff\xd8":
        raise MetadataError("it does not begin as a JPEG")
    place = 2
    found: list[tuple[int, bytes]] = []
    while True:
        if data[place] != 0xFF:
            raise MetadataError("a marker is missing")
        while data[place + 1] == 0xFF:
            place += 1
        code = data[place + 1]
        if code == 0xDA:
            return found, data[place:]
        (length,) = struct.unpack(">H", data[place + 2 : place + 4])
        if length < 2 or place + 2 + length > len(data):
            raise MetadataError("a segment is cut off")
        found.append((code, data[place + 4 : place + 2 + length]))
        place += 2 + length


def _first_picture(rest: bytes) -> bytes:
    """From the first scan to the end of the picture: phones append others, and what they please, behind it."""
    place = 0
    while (place := rest.find(b"\xff", place)) >= 0 and place + 1 < len(rest):
        code = rest[place + 1]
        if code == 0xD9:
            return rest[: place + 2]
        if code == 0xFF:
            place += 1
        elif code == 0 or 0xD0 <= code <= 0xD7:
            place += 2
        else:  # a table or a scan between scans
            (length,) = struct.unpack(">H", rest[place + 2 : place + 4])
            place += 2 + length
    return rest + b"\xff\xd9"


def _bare_jfif(body: bytes) -> bytes:
    return body[:12] + b"\0\0"


def _no_preview(body: bytes) -> bool:
    return not any(word in body for word in _XMP_PREVIEW)


def _png(picture: bytes, original: bytes, metadata: Metadata) -> bytes:
    kept: list[tuple[bytes, bytes]] = []
    for kind, body in _chunks(original):
        if kind in _PNG_SHOWN and kind not in (b"bKGD", b"sBIT"):  # those two follow the kind of pixels
            kept.append((kind, body))
        elif kind == b"eXIf":
            if exif := filtered_exif(body, metadata):
                kept.append((kind, exif))
        elif metadata == "keep" and kind in (b"tEXt", b"zTXt", b"iTXt", b"tIME") and _no_preview(body):
            kept.append((kind, body))
    pictures = [one for one in _chunks(picture) if one[0] in _PNG_PICTURE]
    return _PNG + b"".join(_chunk(*one) for one in (*pictures[:1], *kept, *pictures[1:]))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not data.startswith(_PNG):
        raise MetadataError("it does not begin as a PNG")
    place = len(_PNG)
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        if len(body) != length:
            raise MetadataError("a chunk is cut off")
        yield kind, body
        if kind == b"IEND":
            return
        place += 12 + length


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _webp(picture: bytes, original: bytes, metadata: Metadata) -> bytes:
    said = dict(riff_chunks(original))
    kept = {b"ICCP": said[b"ICCP"]} if b"ICCP" in said else {}
    if exif := filtered_exif(said.get(b"EXIF", b"").removeprefix(_EXIF), metadata) if b"EXIF" in said else b"":
        kept[b"EXIF"] = exif
    if metadata == "keep" and b"XMP " in said and _no_preview(said[b"XMP "]):
        kept[b"XMP "] = said[b"XMP "]
    own = [(kind, body) for kind, body in riff_chunks(picture) if kind not in (b"VP8X", b"ICCP", b"EXIF", b"XMP ")]
    with Image.open(io.BytesIO(picture), formats=("WEBP",)) as opened:
        width, height = opened.size
        alpha, several = opened.mode == "RGBA", getattr(opened, "n_frames", 1) > 1
    flags = 0x20 * (b"ICCP" in kept) | 0x10 * alpha | 0x08 * (b"EXIF" in kept) | 0x04 * (b"XMP " in kept) | 2 * several
    head = struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    parts = [(b"VP8X", head)] if flags else []
    parts += [(b"ICCP", kept[b"ICCP"])] if b"ICCP" in kept else []
    parts += own + [(kind, kept[kind]) for kind in (b"EXIF", b"XMP ") if kind in kept]
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1) for kind, data in parts
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of each chunk of a WebP. Raises `MetadataError`."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise MetadataError("it does not begin as a WebP")
    place = 12
    end = min(len(data), 8 + struct.unpack("<I", data[4:8])[0])
    while place + 8 <= end:
        kind, length = struct.unpack("<4sI", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        if len(body) != length:
            raise MetadataError("a chunk is cut off")
        yield kind, body
        place += 8 + length + (length & 1)
