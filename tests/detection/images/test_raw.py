"""Camera raw files, of which the test writes the simplest kind."""

from __future__ import annotations

import random
import struct
import sys

import cv2
import numpy as np
import pytest

from detection.images.find import IMAGE_SUFFIXES, holds_image
from detection.images.read import ImageError, declared_size, decode_image, image_size, load_image
from tests import traps
from tests.detection.images.test_heic import exif, shows

BYTE, TEXT, SHORT, LONG, RATIONAL, SIGNED = 1, 2, 3, 4, 5, 10
_ROOM = 1024
SIDE = (640, 480)


def picture(width: int, height: int) -> np.ndarray:
    """The scene of `traps`, larger."""
    return cv2.resize(traps.scene(), (width, height), interpolation=cv2.INTER_NEAREST)


def directory(at: int, tags: dict[int, tuple[int, object]]) -> bytes:
    fields, beside = b"", b""
    for tag, (kind, value) in sorted(tags.items()):
        values = value if isinstance(value, (list, bytes)) else [value]
        if isinstance(values, bytes):
            packed, count = values, len(values)
        else:
            form = {BYTE: "B", SHORT: "H", LONG: "I", RATIONAL: "I", SIGNED: "i"}[kind]
            packed = struct.pack(f"<{len(values)}{form}", *values)
            count = len(values) // (2 if kind in (RATIONAL, SIGNED) else 1)
        if len(packed) > 4:
            place = at + 2 + 12 * len(tags) + 4 + len(beside)
            beside += packed + bytes(len(packed) % 2)
            packed = struct.pack("<I", place)
        fields += struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0")
    return (struct.pack("<H", len(tags)) + fields + bytes(4) + beside).ljust(_ROOM, b"\0")


def dng(preview: bytes = b"", size: tuple[int, int] = (0, 0), orientation: int = 1, bits: int = 16) -> bytes:
    """A DNG of the scene, 640x480 behind a filter RGGB, with a JPEG of a size as its preview."""
    width, height = SIDE
    scene = (picture(width, height).astype(np.float64) / 255) ** 2.2 * 60000
    mosaic = scene[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = scene[::2, ::2, 0], scene[1::2, 1::2, 2]
    sensor = mosaic.astype("<u2").tobytes()
    start = 8 + 2 * _ROOM
    one = [1, 1, 0, 1, 0, 1]
    main = {
        254: (LONG, 0), 256: (LONG, width), 257: (LONG, height), 258: (SHORT, bits), 259: (SHORT, 1),
        262: (SHORT, 32803), 271: (TEXT, b"Maker\0"), 272: (TEXT, b"Model\0"), 273: (LONG, start),
        274: (SHORT, orientation), 277: (SHORT, 1), 278: (LONG, height), 279: (LONG, len(sensor)), 284: (SHORT, 1),
        33421: (SHORT, [2, 2]), 33422: (BYTE, [0, 1, 1, 2]), 50706: (BYTE, [1, 4, 0, 0]),
        50708: (TEXT, b"Maker Model\0"), 50714: (SHORT, 0), 50717: (LONG, 65535),
        50721: (SIGNED, [*one, 0, 1, *one, 0, 1, 1, 1]), 50728: (RATIONAL, [1] * 6), 50778: (SHORT, 21),
    }  # fmt: skip
    second = {
        254: (LONG, 1), 256: (LONG, size[0]), 257: (LONG, size[1]), 258: (SHORT, [8, 8, 8]), 259: (SHORT, 7),
        262: (SHORT, 6), 273: (LONG, start + len(sensor)), 277: (SHORT, 3), 278: (LONG, size[1]),
        279: (LONG, len(preview)),
    }  # fmt: skip
    if preview:
        main[330] = (LONG, 8 + _ROOM)
    return b"II*\0\x08\0\0\0" + directory(8, main) + directory(8 + _ROOM, second) + sensor + preview


def with_preview(width: int, height: int, orientation: int = 1, **options) -> bytes:
    jpeg = traps.encoded(255 - picture(width, height), "JPEG", quality=95, **options)
    return dng(jpeg, (width, height), orientation)


needs_rawpy = pytest.mark.usefixtures("rawpy")


@pytest.fixture
def rawpy():
    return pytest.importorskip("rawpy")


@needs_rawpy
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("own", [False, True])
def test_a_preview_is_taken_and_turned_once(tmp_path, orientation, own):
    options = {"exif": exif(orientation)} if own else {}
    data = with_preview(1200, 900, orientation, **options)
    # The preview has the colours of the negative, so it is told from a development.
    upright = decode_image(traps.encoded(255 - picture(1200, 900), "JPEG", quality=95, exif=exif(orientation)))
    (tmp_path / "x.DNG").write_bytes(data)
    np.testing.assert_array_equal(load_image(tmp_path / "x.DNG"), upright)
    np.testing.assert_array_equal(decode_image(data), upright)  # no name: known by its content
    assert image_size(tmp_path / "x.DNG") == upright.shape[1::-1]
    assert max(load_image(tmp_path / "x.DNG", max_side=100).shape) == 100
    assert declared_size(data) == SIDE


@needs_rawpy
def test_a_preview_that_stands_already_is_not_turned():
    upright = 255 - picture(900, 1200)
    jpeg = traps.encoded(upright, "JPEG", quality=95)
    np.testing.assert_array_equal(decode_image(dng(jpeg, (900, 1200), orientation=6)), decode_image(jpeg))


@needs_rawpy
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("preview", [None, (64, 48), (240, 180)])
def test_without_a_good_preview_it_is_developed(orientation, preview):
    data = dng(orientation=orientation) if preview is None else with_preview(*preview, orientation)
    upright = decode_image(traps.encoded(picture(320, 240), "JPEG", quality=95, exif=exif(orientation)))
    assert shows(decode_image(data, "x.dng"), upright, tolerance=150)
    turned = np.ascontiguousarray(upright[::-1, ::-1])
    assert not shows(decode_image(data, "x.dng"), turned, tolerance=150)


@needs_rawpy
def test_a_preview_of_half_the_size_is_as_good_as_a_development():
    image = decode_image(with_preview(320, 240))
    assert shows(image, 255 - picture(320, 240))


@needs_rawpy
def test_limits():
    with pytest.raises(ImageError, match="'x.dng' has more than 0.1 megapixels"):
        decode_image(dng(), "x.dng", max_pixels=100_000)
    with pytest.raises(ImageError, match="'x.dng' has more than 0.5 megapixels"):
        decode_image(with_preview(1200, 900), "x.dng", max_pixels=500_000)


@needs_rawpy
def test_a_damaged_raw_file_is_one_sentence():
    data = with_preview(1200, 900)
    rng, told = random.Random(4), 0
    cuts = [data[:100], data[: 8 + 2 * _ROOM + 5000], data[:-20000]]
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(4):
            damaged[rng.randrange(8, 8 + 2 * _ROOM)] = rng.randrange(256)
        cuts.append(bytes(damaged))
    for damaged in cuts:
        try:
            decode_image(damaged, "x.dng")
        except ImageError as error:
            told += str(error).startswith("'x.dng' ")
    assert told >= 3


@pytest.mark.parametrize("suffix", [".dng", ".CR2", ".nef", ".3fr"])
def test_what_is_no_raw_file_is_told(tmp_path, suffix):
    assert suffix.lower() in IMAGE_SUFFIXES
    for data in (traps.encoded(traps.scene(), "TIFF"), b"FUJIFILMCCD-RAW" + bytes(300), b"II*\0\x10\0\0\0CR\2\0"):
        (tmp_path / f"x{suffix}").write_bytes(data)
        with pytest.raises(ImageError, match="raw file"):
            load_image(tmp_path / f"x{suffix}")


def test_a_jpeg_with_the_suffix_of_a_raw_file_is_a_jpeg(tmp_path):
    (tmp_path / "x.dng").write_bytes(traps.encoded(traps.scene()))
    np.testing.assert_array_equal(load_image(tmp_path / "x.dng"), decode_image(traps.encoded(traps.scene())))


def test_without_rawpy_there_is_advice(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    (tmp_path / "scan").write_bytes(dng())
    assert holds_image(tmp_path / "scan")
    with pytest.raises(
        ImageError, match="'scan' is a camera's raw file, which can't be read here: `pip install rawpy`"
    ):
        load_image(tmp_path / "scan")
    assert declared_size(dng()) is None
