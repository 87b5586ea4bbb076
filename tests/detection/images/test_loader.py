"""Colour profiles, damaged JPEGs and more than 8 bits, in the one loader."""

from __future__ import annotations

import io
import random

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from detection.images import colour
from detection.images.read import ImageError, decode_image, shrink
from tests import traps


def wide_profile(gamma: float = 1.8) -> bytes:
    """An RGB profile unlike sRGB: its tone curves, replaced by one of another gamma."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(int.from_bytes(profile[128:132], "big")):
        entry = 132 + 12 * number
        if profile[entry : entry + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            place = int.from_bytes(profile[entry + 4 : entry + 8], "big")
            profile[place : place + 14] = (
                b"curv" + bytes(4) + (1).to_bytes(4, "big") + int(gamma * 256).to_bytes(2, "big")
            )
            profile[entry + 8 : entry + 12] = (14).to_bytes(4, "big")
    return bytes(profile)


def photo() -> np.ndarray:
    """uint8 240x320x3, soft and with a little noise, like a photo."""
    rng = np.random.default_rng(5)
    small = rng.integers(0, 256, (12, 16, 3), np.uint8)
    return cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC) // 2 + rng.integers(
        0, 60, (240, 320, 3), np.uint8
    )


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_colour_profile_is_applied(file_format, monkeypatch):
    pixels = np.full((40, 40, 3), (100, 150, 50), np.uint8)
    data = traps.encoded(pixels, file_format, icc_profile=wide_profile())
    image = decode_image(data)
    expected = 255 * np.array([100, 150, 50]) / 255
    linear = (expected / 255) ** 1.8
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(image[20, 20] - expected).max() <= 5
    monkeypatch.setattr("detection.images.read._STRIP_PIXELS", 7 * 40)
    np.testing.assert_array_equal(decode_image(data), image)


@pytest.mark.parametrize(
    "profile", [b"broken" * 50, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()]
)
def test_a_broken_profile_and_srgb_change_nothing(profile):
    assert colour.profile_mode(profile) == ""
    plain = decode_image(traps.encoded(photo()))
    np.testing.assert_array_equal(decode_image(traps.encoded(photo(), icc_profile=profile)), plain)


def test_a_broken_profile_is_told_once(caplog):
    profile = b"no profile" * 50
    for name in ("one.jpg", "two.jpg"):
        decode_image(traps.encoded(photo(), icc_profile=profile), name)
    assert [record.message for record in caplog.records] == [
        "The colour profile of 'one.jpg' is broken and was ignored: its colours may be off. "
        "Further photos with the same profile are not named."
    ]


def test_a_profile_of_other_channels_is_ignored():
    grey = traps.encoded(traps.grey_scene(), icc_profile=wide_profile())
    assert np.abs(decode_image(grey)[..., 0].astype(int) - traps.grey_scene()).max() <= 3


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"subsampling": 2}])
def test_jpegs_have_the_pixels_that_pillow_gives(options):
    data = traps.encoded(photo(), **options)
    np.testing.assert_array_equal(decode_image(data), np.array(Image.open(io.BytesIO(data))))
    small = Image.open(io.BytesIO(data))
    small.draft(None, (80, 80))
    np.testing.assert_array_equal(decode_image(data, max_side=80), shrink(np.array(small), 80))


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("kind", ["sector", "cut", "zeros", "zeros with an end"])
def test_damaged_jpegs_are_told(options, kind):
    data = traps.encoded(photo(), **options)
    rng = random.Random(3)
    start, told = data.index(b"\xff\xda") + 20, 0
    for _ in range(20):
        place = rng.randrange(start, len(data) - 700)
        damaged = {
            "sector": data[:place] + bytes(512) + data[place + 512 :],
            "cut": data[:place] + b"\xff\xd9",
            "zeros": data[:place] + bytes(len(data) - place),
            "zeros with an end": data[:place] + bytes(len(data) - place - 2) + b"\xff\xd9",
        }[kind]
        try:
            decode_image(damaged, "x.jpg")
        except ImageError as error:
            told += "'x.jpg' is " in str(error)
    assert told == 20


@pytest.mark.parametrize("options", [{"optimize": True}, {"progressive": True}, {"optimize": True, "quality": 5}, {}])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_plain_surface_is_not_damage(options, level):
    pixels = np.full((1200, 1600, 3), level, np.uint8)
    pixels[500:740, 600:920] = photo()
    assert decode_image(traps.encoded(pixels, **options)).shape == (1200, 1600, 3)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("grey", [True, False])
def test_fewer_bits_in_16_are_as_bright(bits, suffix, grey):
    pixels = traps.grey_scene() if grey else photo()
    pixels = np.clip(pixels, 0, 255)
    pixels[0, 0] = 255
    values = (pixels.astype(np.float64) * (2**bits - 1) / 255).round().astype(np.uint16)
    shown = values if grey else np.ascontiguousarray(values[..., ::-1])
    image = decode_image(cv2.imencode(suffix, shown)[1].tobytes())
    expected = np.repeat(pixels[..., None], 3, axis=2) if grey else pixels
    assert np.abs(image.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("top", [1.0, 255.0, 4095.0])
@pytest.mark.parametrize("grey", [True, False])
def test_floating_point(top, grey):
    values = (traps.grey_scene() if grey else photo()).astype(np.float32) * np.float32(top / 255)
    values[:20] = top
    values[0, 0], values[0, 1] = np.nan, np.inf
    data = cv2.imencode(".tif", values if grey else np.ascontiguousarray(values[..., ::-1]))[1].tobytes()
    image = decode_image(data)
    expected = np.nan_to_num(values, nan=0, posinf=top) * (255 / top)
    assert np.abs(image.astype(int) - (expected[..., None] if grey else expected)).max() <= 1


def test_floating_point_without_a_white():
    data = cv2.imencode(".tif", np.linspace(-9, 9, 64, dtype=np.float32).reshape(8, 8))[1].tobytes()
    with pytest.raises(ImageError, match="white is unknown"):
        decode_image(data)


@pytest.mark.parametrize("top", [255, 1023, 65535, 2**31 - 1])
def test_integers_of_32_bits(top):
    buffer = io.BytesIO()
    values = (traps.grey_scene().astype(np.float64) * (top / 255)).astype(np.int32)
    Image.fromarray(values).save(buffer, "TIFF")
    assert np.abs(decode_image(buffer.getvalue())[..., 0].astype(int) - traps.grey_scene()).max() <= 1
