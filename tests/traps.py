"""Awkward image files, each named for its trap. The readable ones all show the same scene, upright.

The scene is 48x64: a red top half, a blue bottom half, a green square in the top left corner. So a wrong colour
order, an unapplied turn and a lost scale are all seen.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64
RED, BLUE, GREEN = (220, 30, 20), (20, 30, 220), (20, 200, 40)
ORIENTATION = 0x0112
# What must be done to an upright array so that a viewer, applying the EXIF orientation, shows it upright again.
UNTURN: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


def scene() -> np.ndarray:
    """The scene as RGB uint8 48x64x3."""
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    image[: HEIGHT // 2], image[HEIGHT // 2 :] = RED, BLUE
    image[:16, :16] = GREEN
    return image


def encoded(array: np.ndarray, file_format: str = "JPEG", **options) -> bytes:
    """A Pillow-encoded file; JPEGs without chroma subsampling, so that colours stay near."""
    if file_format == "JPEG":
        options = {"quality": 95, "subsampling": 0} | options
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, file_format, **options)
    return buffer.getvalue()


def with_orientation(orientation: int, file_format: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(UNTURN[orientation](scene()), file_format, exif=exif)


def cmyk_jpeg(adobe: bool = True) -> bytes:
    """The scene in CMYK, inverted as Adobe writes it; without `adobe` the marker that says so is cut out."""
    buffer = io.BytesIO()
    Image.fromarray(scene()).convert("CMYK").save(buffer, "JPEG", quality=95, subsampling=0)
    data = buffer.getvalue()
    if adobe:
        return data
    start = data.index(b"\xff\xee")
    return data[:start] + data[start + 2 + struct.unpack(">H", data[start + 2 : start + 4])[0] :]


def png_16_bit() -> bytes:
    return cv2.imencode(".png", scene()[..., ::-1].astype(np.uint16) * 257)[1].tobytes()


def grey_16_bit(extension: str = ".png") -> bytes:
    return cv2.imencode(extension, grey_scene().astype(np.uint16) * 257)[1].tobytes()


def grey_scene() -> np.ndarray:
    """uint8 48x64, a ramp over the full range."""
    return np.tile(np.linspace(0, 255, WIDTH).round().astype(np.uint8), (HEIGHT, 1))


def rgba_scene() -> np.ndarray:
    """The scene with its bottom half transparent and black."""
    rgba = np.dstack([scene(), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    rgba[HEIGHT // 2 :] = 0
    return rgba


def palette_png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(scene()).quantize(8).save(buffer, "PNG")
    return buffer.getvalue()


def palette_with_alpha() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgba_scene()).quantize(8).save(buffer, "PNG")
    return buffer.getvalue()


def animated(file_format: str) -> bytes:
    """Two frames; the first is the scene."""
    buffer = io.BytesIO()
    second = Image.new("RGB", (WIDTH, HEIGHT), (0, 0, 0))
    options = {"lossless": True} if file_format == "WEBP" else {}
    first = Image.fromarray(scene())
    first.save(buffer, file_format, save_all=True, append_images=[second], duration=100, **options)
    return buffer.getvalue()


def claims_size(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a huge picture."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def broken_exif() -> bytes:
    data = encoded(scene())
    block = b"Exif\x00\x00" + b"II*\x00\xff\xff\xff\x7f" + b"\xff" * 20
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]


def readable() -> dict[str, bytes]:
    """Files that show the scene, by name."""
    files = {f"exif {number}.jpg": with_orientation(number) for number in UNTURN}
    files |= {f"exif {number}.png": with_orientation(number, "PNG") for number in (3, 6)}
    files |= {f"exif {number}.webp": with_orientation(number, "WEBP") for number in (8,)}
    files |= {f"exif {number}.tif": with_orientation(number, "TIFF") for number in (1, 5, 6)}
    return files | {
        "plain.jpg": encoded(scene()),
        "progressive.jpeg": encoded(scene(), progressive=True),
        "upper case.JPG": encoded(scene()),
        "plain.bmp": encoded(scene(), "BMP"),
        "plain.avif": encoded(scene(), "AVIF", quality=95, subsampling="4:4:4"),
        "cmyk.jpg": cmyk_jpeg(),
        "cmyk without a marker.jpg": cmyk_jpeg(adobe=False),
        "16 bit.png": png_16_bit(),
        "palette.png": palette_png(),
        "palette.gif": encoded(scene(), "GIF"),
        "animated.gif": animated("GIF"),
        "animated.webp": animated("WEBP"),
        "animated.png": animated("PNG"),
        "a png.jpg": encoded(scene(), "PNG"),
        "broken exif.jpg": broken_exif(),
        "trailing bytes.jpg": encoded(scene()) + b"more" * 100,
        "ümlaut 車 %20 'quote'.jpg": encoded(scene()),
        "line\nbreak, comma.jpg": encoded(scene()),
    }


def unreadable() -> dict[str, tuple[bytes, str]]:
    """Files that are no whole photo: by name the bytes, and what the reason must say."""
    jpeg, png = encoded(scene()), encoded(scene(), "PNG")
    webp = encoded(scene(), "WEBP")
    return {
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "without its end.jpg": (jpeg[:-20], "truncated"),
        "truncated progressive.jpg": (encoded(scene(), progressive=True)[:-60], "truncated"),
        "truncated.png": (png[:-40], "truncated"),
        "truncated.webp": (webp[: len(webp) // 2], "'truncated.webp'"),
        "truncated.gif": (animated("GIF")[:100], "'truncated.gif'"),
        "header only.jpg": (jpeg[:24], "'header only.jpg'"),
        "empty.jpg": (b"", "empty"),
        "text.jpg": (b"This is not a photo.\n" * 10, "not a photo"),
        "zeros.png": (bytes(5000), "not a photo"),
        "script.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a photo"),
        "phone.heic": (b"\x00\x00\x00\x18ftypheic" + bytes(200), "HEIC"),
        "bomb.png": (claims_size(20_000, 20_000), "megapixels"),
        "bigger bomb.png": (claims_size(2_000_000_000, 2_000_000_000), "megapixels"),
        "floating point.tif": (
            cv2.imencode(".tif", np.full((4, 4), np.nan, np.float32))[1].tobytes(),
            "floating-point",
        ),
    }


def write_traps(folder: Path) -> None:
    """Writes all of them into a folder, and a broken link."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in readable().items():
        (folder / name).write_bytes(data)
    for name, (data, _) in unreadable().items():
        (folder / name).write_bytes(data)
    (folder / "broken link.jpg").symlink_to(folder / "nowhere.jpg")
