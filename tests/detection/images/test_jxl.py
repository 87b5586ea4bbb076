"""JPEG XL: turned once, in sRGB, never decoded where its header says too much."""

from __future__ import annotations

import io
import random
import sys

import numpy as np
import pytest
from PIL import Image

from detection.images.find import IMAGE_SUFFIXES, holds_image
from detection.images.formats import jxl_size
from detection.images.raw import is_raw
from detection.images.read import ImageError, declared_size, decode_image, image_size, load_image
from tests import traps
from tests.detection.images.test_heic import exif, shows
from tests.detection.images.test_loader import photo, wide_profile


@pytest.fixture
def jxl():
    """Makes the bytes of JPEG XL photos."""
    pytest.importorskip("pillow_jxl")

    def make(pixels: np.ndarray, **options) -> bytes:
        return traps.encoded(pixels, "JXL", **options)

    return make


class Bits:
    """Numbers to bytes, the lowest bit first."""

    def __init__(self, value: int = 0, count: int = 0):
        self.value, self.count = value, count

    def put(self, *fields: tuple[int, int]) -> Bits:
        """fields: value, number of bits"""
        for value, count in fields:
            self.value |= value << self.count
            self.count += count
        return self

    def bytes(self) -> bytes:
        return self.value.to_bytes((self.count + 7) // 8, "little")


def with_header(data: bytes, orientation: int = 1, p3: bool = False) -> bytes:
    """A photo of 8 bits whose header says nothing but its size (64x48), with an orientation, and in Display P3."""
    rest = int.from_bytes(data[2:4], "little")
    assert (rest & 1, rest >> 9) == (1, 0b11), "the header is not the shortest"
    bits = Bits(rest & 0x1FF, 9).put((0, 1), (1, 1), (orientation - 1, 3), (0, 3), (0, 3), (1, 1), (0, 2), (1, 1))
    if p3:  # RGB, D65, primaries 11, transfer 13, perceptual
        bits.put((0, 1), (0, 1), (0, 2), (1, 2), (2, 2), (9, 4), (0, 1), (2, 2), (11, 4), (0, 2))
    else:
        bits.put((1, 1))
    return data[:2] + bits.put((1, 1), (0, 2), (1, 1)).bytes() + data[4:]


def test_jpeg_xl_is_a_photo(jxl, tmp_path):
    for name, data in {"a.jxl": jxl(traps.scene()), "b": jxl(traps.scene(), use_container=True)}.items():
        (tmp_path / name).write_bytes(data)
        assert shows(load_image(tmp_path / name), traps.scene())
        assert image_size(tmp_path / name) == declared_size(data) == (traps.WIDTH, traps.HEIGHT)
    assert holds_image(tmp_path / "b")
    assert not is_raw(jxl(photo(), use_container=True), "x.dng")


@pytest.mark.parametrize("side", [(8, 8), (9, 7), (256, 256), (400, 300), (160, 90), (513, 200), (9000, 16)])
def test_the_size_in_the_header(jxl, side):
    pixels = np.zeros((side[1], side[0], 3), np.uint8)
    for options in ({}, {"use_container": True}):
        data = jxl(pixels, effort=1, **options)
        assert jxl_size(data) == side
        with pytest.raises(ImageError, match="megapixels"):
            decode_image(data, max_pixels=side[0] * side[1] - 1)


def test_a_bomb_is_not_decoded(jxl, monkeypatch):
    jxl(photo())
    monkeypatch.setattr("pillow_jxl.JpegXLImagePlugin.Decoder", lambda **_: pytest.fail("decoded"))
    # 1 + 2**30 - 1 rows, as many columns
    data = b"\xff\x0a" + Bits().put((0, 1), (3, 2), (2**30 - 1, 30), (1, 3)).bytes() + bytes(40)
    assert declared_size(data) == (2**30, 2**30)
    with pytest.raises(ImageError, match="megapixels"):
        decode_image(data)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_xl_is_turned_once(jxl, tmp_path, orientation):
    upright = decode_image(traps.encoded(traps.scene(), "JPEG", exif=exif(orientation), quality=95))
    assert shows(decode_image(with_header(jxl(traps.scene()), orientation)), upright)
    # EXIF beside it has no say.
    assert shows(decode_image(jxl(traps.scene(), exif=exif(orientation))), traps.scene())
    # But of a JPEG that was packed, it is all there is.
    (tmp_path / "x.jpg").write_bytes(
        traps.encoded(traps.scene(), "JPEG", exif=exif(orientation), icc_profile=wide_profile())
    )
    with Image.open(tmp_path / "x.jpg") as packed:
        packed.save(tmp_path / "x.jxl", lossless_jpeg=True)
    np.testing.assert_array_equal(load_image(tmp_path / "x.jxl"), load_image(tmp_path / "x.jpg"))
    assert image_size(tmp_path / "x.jxl") == upright.shape[1::-1]


def test_the_profile_of_a_jpeg_xl_is_applied(jxl):
    data = jxl(traps.scene(), quality=95)
    in_p3 = with_header(data, p3=True)
    assert np.abs(decode_image(in_p3).astype(int) - decode_image(data)).mean() <= 0.5
    with Image.open(io.BytesIO(in_p3)) as image:
        assert np.abs(np.asarray(image, int) - decode_image(data)).max() > 20  # other numbers for the same colours


def test_damaged_jpeg_xl_is_told(jxl):
    data, rng = jxl(photo()), random.Random(7)
    for _ in range(30):
        place = rng.randrange(2, len(data) - 100)
        for damaged in (data[:place], data[:place] + bytes(100) + data[place + 100 :]):
            with pytest.raises(ImageError, match=r"^'x.jxl' (is|has) "):
                decode_image(damaged, "x.jxl")


def test_without_the_reader_there_is_advice(tmp_path, monkeypatch):
    assert {".jxl", ".heic"} <= IMAGE_SUFFIXES
    for kind, module in {"JXL": "pillow_jxl", "HEIF": "pi_heif"}.items():
        monkeypatch.delitem(Image.OPEN, kind, raising=False)
        monkeypatch.setitem(sys.modules, module, None)
    for name, data, package in (
        ("x.jxl", b"\xff\x0a" + bytes(100), "pillow-jxl-plugin"),
        ("x.heic", b"\0\0\0\x18ftypheic" + bytes(100), "pi-heif"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(
            ImageError, match=f"which can't be read here: convert it to JPEG, or `pip install {package}`"
        ):
            load_image(tmp_path / name)
