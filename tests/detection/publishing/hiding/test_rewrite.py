"""Files written anew: format, size, the other pixels, and what the file says beside its picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from detection.images.read import ImageError, load_image
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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_shape_is_found_in_photos_that_exif_turns(orientation, tmp_path):
    (tmp_path / "in.jpg").write_bytes(encoded("JPEG", exif=exif(orientation), quality=95))
    before = load_image(tmp_path / "in.jpg").astype(int)
    quad = np.array([[10, 20], [60, 20], [60, 36], [10, 36]], np.float32)
    written = rewritten((tmp_path / "in.jpg").read_bytes(), "a", [quad], HideStyle(way="fill", metadata="strip"))
    (tmp_path / "out.jpg").write_bytes(written)
    after = load_image(tmp_path / "out.jpg").astype(int)
    assert after.shape == before.shape
    assert after[22:34, 12:58].std(axis=(0, 1)).max() < 6 < before[22:34, 12:58].std(axis=(0, 1)).max()
    assert np.abs(after - before)[60:].mean() < 3


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
