"""Files written anew: format, size, the other pixels, and what the file says beside its picture."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from detection.images.read import ImageError, decode_image, load_image
from detection.publishing.hiding.cover import HideStyle
from detection.publishing.hiding.metadata import MetadataError, filtered
from detection.publishing.hiding.rewrite import rewritten, unturned

QUAD = np.array([[40, 30], [90, 30], [90, 45], [40, 45]], np.float32)
SECRETS = (b"SERIAL123", b"Jane Owner", b"PREVIEW", b"NOTESMAKER")


def scene(size=(128, 96)) -> Image.Image:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def exif(orientation: int = 1) -> bytes:
    """Camera and date; owner, serial number, maker's note and place, and a preview behind all."""
    tags = Image.Exif()
    tags[0x0112], tags[0x010F], tags[0x013B] = orientation, "Maker", "Jane Owner"
    tags[0x0132] = "2026:01:02 03:04:05"
    inner = {0x9003: "2026:01:02 03:04:05", 0xA431: "SERIAL123", 0x927C: b"NOTESMAKER", 0xA430: "Jane Owner"}
    tags.get_ifd(0x8769).update(inner)
    tags.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 30.0), 3: "E", 4: (11.0, 34.0, 30.0)})
    return tags.tobytes() + b"PREVIEW"


def encoded(kind: str, image: Image.Image | None = None, **options) -> bytes:
    data = io.BytesIO()
    (image or scene()).save(data, kind, **options)
    return data.getvalue()


def tags_of(data: bytes) -> dict:
    with Image.open(io.BytesIO(data)) as image:
        found = image.getexif()
        return dict(found) | dict(found.get_ifd(0x8769)) | {"gps": dict(found.get_ifd(0x8825))}


@pytest.mark.parametrize("quads", [[], [QUAD]], ids=["untouched", "hidden"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("metadata", ["strip", "safe", "keep"])
def test_what_files_say(kind, metadata, quads):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {"exif": exif(), "icc_profile": profile}
    if kind == "JPEG":
        options["comment"] = b"Jane Owner"
    if kind == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_text("Author", "Jane Owner")
    data = encoded(kind, **options)
    written = rewritten(data, "a", quads, HideStyle(metadata=metadata))
    tags = tags_of(written)
    with Image.open(io.BytesIO(written)) as image:
        assert image.format == kind and image.size == (128, 96) and image.info["icc_profile"] == profile
    assert b"PREVIEW" not in written
    if metadata == "keep":
        assert tags[0x013B] == "Jane Owner" and tags[0xA431] == "SERIAL123" and tags["gps"][1] == "N"
    else:
        assert not any(secret in written for secret in SECRETS) and not tags["gps"]
        assert (0x9003 in tags) == (0x010F in tags) == (metadata == "safe")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_without_anything_hidden_the_picture_is_the_same_byte_for_byte(kind, tmp_path):
    data = encoded(kind)
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(rewritten(data, "a", [], HideStyle()))) as after:
        assert np.array_equal(np.asarray(before), np.asarray(after))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "LA", "1", "I;16", "CMYK"])
def test_only_the_shape_changes(mode, tmp_path):
    image = scene()
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "RGBA":
        image.putalpha(120)
    else:
        image = image.convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    (tmp_path / "in").write_bytes(encoded(kind, image))
    (tmp_path / "out").write_bytes(rewritten((tmp_path / "in").read_bytes(), "a", [QUAD], HideStyle(margin=0)))
    before, after = (load_image(tmp_path / name).astype(int) for name in ("in", "out"))
    changed = np.abs(before - after).max(axis=2) > 0
    assert changed[31:44, 41:89].mean() > 0.9
    changed[28:48, 37:93] = False
    assert not changed.any()


@pytest.mark.parametrize("metadata", ["strip", "safe", "keep"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_shape_is_found_in_photos_that_exif_turns(orientation, kind, metadata):
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(kind, exif=exif(orientation), **options)
    before = decode_image(data).astype(int)
    quad = np.array([[10, 20], [60, 20], [60, 36], [10, 36]], np.float32)
    after = decode_image(rewritten(data, "a", [quad], HideStyle(way="fill", metadata=metadata))).astype(int)
    assert after.shape == before.shape
    assert after[22:34, 12:58].std(axis=(0, 1)).max() < 6 < before[22:34, 12:58].std(axis=(0, 1)).max()
    assert np.abs(after - before)[60:].mean() < (3 if kind == "JPEG" else 0.01)
    plain = decode_image(rewritten(data, "a", [], HideStyle(metadata=metadata)))
    assert np.array_equal(plain, before)


def test_a_jpeg_keeps_its_tables_and_sampling():
    data = encoded("JPEG", quality=71, subsampling=0, progressive=True)
    written = rewritten(data, "a", [QUAD], HideStyle())
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(written)) as after:
        assert before.quantization == after.quantization and before.layer[1][1:3] == after.layer[1][1:3]
        assert after.info.get("progressive")


def test_what_a_phone_appends_does_not_stay():
    data = encoded("JPEG") + encoded("JPEG") + b"PREVIEW"
    for quads in ([], [QUAD]):
        assert b"PREVIEW" not in rewritten(data, "a", quads, HideStyle(metadata="keep"))


def exif_with_preview() -> bytes:
    """An EXIF block whose second directory points at a picture."""
    preview = encoded("JPEG", scene((32, 24)), comment=b"PREVIEW")
    first = struct.pack("<HHHIII", 1, 0x0112, 3, 1, 1, 26)  # one entry, and where the next directory is
    second = struct.pack("<HHHIIHHIII", 2, 0x0201, 4, 1, 56, 0x0202, 4, 1, len(preview), 0)
    return b"II*\0\x08\0\0\0" + first + second + preview


@pytest.mark.parametrize("quads", [[], [QUAD]], ids=["untouched", "hidden"])
@pytest.mark.parametrize("metadata", ["strip", "safe", "keep"])
def test_no_preview_stays_in_a_jpeg(metadata, quads):
    plain, block = encoded("JPEG"), exif_with_preview()
    small = b"JFIF\0\x01\x02\0\0\x01\0\x01\x06\x01" + b"PREVIEW" * 2 + b"PREV"  # 6 x 1 pixels
    others = {0xE1: [b"Exif\0\0" + block, b"http://ns.adobe.com/xap/1.0/\0<xmpGImg:image>PREVIEW</xmpGImg:image>"]}
    others |= {0xED: [b"Photoshop 3.0\0" + b"8BIM\x04\x0c" + b"PREVIEW"], 0xE2: [b"MPF\0PREVIEW"]}
    segments = [(0xE0, small), *((code, body) for code, bodies in others.items() for body in bodies)]
    head = b"".join(bytes((0xFF, code)) + struct.pack(">H", len(body) + 2) + body for code, body in segments)
    data = b"\xff\xd8" + head + plain[20:]  # in place of Pillow's own JFIF
    assert data.count(b"PREVIEW") == 6 and decode_image(data).shape == (96, 128, 3)
    assert b"PREV" not in rewritten(data, "a", quads, HideStyle(metadata=metadata))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_png_of_16_bits_keeps_them(mode):
    pixels = np.random.default_rng(1).integers(0, 65536, (96, 128, len(mode)), np.uint16)
    pixels[0, 0] = 65535
    data = cv2.imencode(".png", pixels)[1].tobytes()
    written = rewritten(data, "a", [QUAD], HideStyle(way="fill", margin=0))
    after = cv2.imdecode(np.frombuffer(written, np.uint8), cv2.IMREAD_UNCHANGED)
    assert after.dtype == np.uint16 and after.shape == pixels.shape
    assert len(np.unique(after[32:43, 42:88].reshape(-1, len(mode))[:, :3], axis=0)) == 1
    after[28:48, 37:93] = pixels[28:48, 37:93] = 0
    assert np.array_equal(after, pixels)


def test_colours_that_pillow_would_halve_are_refused_in_a_tiff():
    data = cv2.imencode(".tif", np.full((96, 128, 3), 40_000, np.uint16))[1].tobytes()
    for quads in ([], [QUAD]):
        with pytest.raises(ImageError, match="16 bits, which is written anew as PNG alone"):
            rewritten(data, "a.tif", quads, HideStyle())


def test_a_lossless_webp_stays_lossless():
    data = encoded("WEBP", lossless=True)
    before, after = (decode_image(one).astype(int) for one in (data, rewritten(data, "a", [QUAD], HideStyle(margin=0))))
    before[28:48, 37:93] = after[28:48, 37:93] = 0
    assert np.array_equal(before, after)


def test_an_orientation_that_would_be_lost_is_told():
    """It stands in XMP alone, which does not stay."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    body = b"http://ns.adobe.com/xap/1.0/\0" + xmp
    data = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(body) + 2) + body + encoded("JPEG")[2:]
    assert decode_image(data).shape == (128, 96, 3)
    with pytest.raises(ImageError, match="how it is to be turned would be another one"):
        rewritten(data, "a.jpg", [QUAD], HideStyle(metadata="strip"))
    assert decode_image(rewritten(data, "a.jpg", [QUAD], HideStyle(metadata="keep"))).shape == (128, 96, 3)


def test_files_that_cannot_be_written_anew_are_refused():
    several = encoded("GIF")
    with pytest.raises(ImageError, match="format GIF, which can't be written anew"):
        rewritten(several, "a.gif", [], HideStyle())
    moving = encoded("WEBP", save_all=True, append_images=[Image.new("RGB", (128, 96))])
    with pytest.raises(ImageError, match="several pictures"):
        rewritten(moving, "a.webp", [QUAD], HideStyle())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_cut_off_files_end_in_a_sentence(kind):
    data = encoded(kind, exif=exif())
    for length in (*range(0, 60, 7), len(data) // 2):
        try:
            filtered(data[:length], "safe", kind)
        except MetadataError:
            continue


def test_unturned_is_the_inverse_of_load_image():
    assert unturned(np.array([[10.0, 20.0]]), 6, (100, 200)).tolist() == [[20.0, 90.0]]
    assert unturned(np.array([[10.0, 20.0]]), 3, (100, 200)).tolist() == [[90.0, 180.0]]
