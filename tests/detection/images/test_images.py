"""The loader and the writer, on every trap."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detection.common.errors import UsageError
from detection.images.find import find_images, survey_images
from detection.images.read import ImageError, image_size, load_image, shrink
from detection.images.write import save_image
from tests import traps

# pytest undoes the filter that detection.images.read sets when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
READABLE = traps.readable()
UNREADABLE = traps.unreadable()


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", READABLE)
def test_traps_that_show_the_scene(tmp_path, name):
    image = load_image(write(tmp_path, name, READABLE[name]))
    assert image.dtype == np.uint8
    assert image.shape == (traps.HEIGHT, traps.WIDTH, 3)
    assert image.flags.c_contiguous and image.flags.writeable
    for (y, x), colour in {(4, 4): traps.GREEN, (4, 60): traps.RED, (44, 4): traps.BLUE, (44, 60): traps.BLUE}.items():
        assert np.abs(image[y, x].astype(int) - colour).max() <= 12, (y, x, image[y, x])


@pytest.mark.parametrize("name", UNREADABLE)
def test_traps_that_are_no_photo(tmp_path, name):
    data, reason = UNREADABLE[name]
    path = write(tmp_path, name, data)
    with pytest.raises(ImageError, match=reason) as caught:
        load_image(path)
    message = str(caught.value)
    assert name in message and message.endswith(".") and "\n" not in message
    assert " at 0x" not in message, "a memory address makes the reason differ from run to run"


@pytest.mark.parametrize("file_format, name", [("PNG", "x.png"), ("JPEG", "x.jpg"), ("TIFF", "x.tif")])
def test_grey_becomes_three_channels(tmp_path, file_format, name):
    image = load_image(write(tmp_path, name, traps.encoded(traps.grey_scene(), file_format)))
    assert np.abs(image.astype(int) - traps.grey_scene()[..., None]).max() <= 3


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_16_bit_grey_keeps_its_range(tmp_path, extension):
    image = load_image(write(tmp_path, f"x{extension}", traps.grey_16_bit(extension)))
    assert np.array_equal(image, np.repeat(traps.grey_scene()[..., None], 3, axis=2))


@pytest.mark.parametrize(
    "name, data",
    [
        ("rgba.png", traps.encoded(traps.rgba_scene(), "PNG")),
        ("rgba.webp", traps.encoded(traps.rgba_scene(), "WEBP", lossless=True)),
        ("palette.png", traps.palette_with_alpha()),
    ],
)
def test_transparency_lies_on_white(tmp_path, name, data):
    image = load_image(write(tmp_path, name, data))
    assert (image[40, :] == 255).all()
    assert np.abs(image[4, 60].astype(int) - traps.RED).max() <= 12


def test_half_transparent_black_on_white_is_grey(tmp_path):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[..., 3] = 128
    assert np.abs(load_image(write(tmp_path, "x.png", traps.encoded(pixels, "PNG"))).astype(int) - 127).max() <= 1


def test_one_pixel(tmp_path):
    path = write(tmp_path, "1.png", traps.encoded(np.full((1, 1, 3), 9, np.uint8), "PNG"))
    assert load_image(path).tolist() == [[[9, 9, 9]]]


def test_sixty_megapixels(tmp_path):
    path = tmp_path / "large.jpg"
    Image.new("RGB", (10_000, 6_000), (90, 160, 30)).save(path, quality=80)
    started = time.perf_counter()
    small = load_image(path, max_side=500)
    reduced = time.perf_counter() - started
    assert small.shape == (300, 500, 3)
    started = time.perf_counter()
    assert load_image(path).shape == (6_000, 10_000, 3)
    assert reduced < time.perf_counter() - started
    with pytest.raises(ImageError, match="megapixels"):
        load_image(path, max_pixels=50_000_000)


@pytest.mark.parametrize("name", ["exif 6.jpg", "16 bit.png", "plain.jpg"])
def test_max_side(tmp_path, name):
    image = load_image(write(tmp_path, name, READABLE[name]), max_side=32)
    assert image.shape == (24, 32, 3)
    assert np.abs(image[2, 2].astype(int) - traps.GREEN).max() <= 14
    assert load_image(tmp_path / name, max_side=999).shape == (traps.HEIGHT, traps.WIDTH, 3)


@pytest.mark.parametrize(
    "shape, max_side, expected", [((10, 20), 10, (5, 10)), ((10, 20), 20, (10, 20)), ((1, 900), 9, (1, 9))]
)
def test_shrink(shape, max_side, expected):
    assert shrink(np.zeros((*shape, 3), np.uint8), max_side).shape[:2] == expected


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 7, 8])
def test_the_size_in_the_header_is_that_of_the_photo_as_it_is_seen(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(np.zeros((20, 50, 3), np.uint8)).save(path, exif=exif)
    assert image_size(path) == load_image(path).shape[1::-1]


def test_the_size_of_no_photo_is_an_image_error(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    for name in ("broken.jpg", "gone.jpg"):
        with pytest.raises(ImageError, match=name):
            image_size(tmp_path / name)


def test_what_is_no_file_is_an_image_error(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    for name, reason in {
        "folder.jpg": "is a folder",
        "pipe.jpg": "not a regular file",
        "loop.jpg": "can't be read",
        "missing.jpg": "can't be read: No such file",
        "nul\0.jpg": "not a file name",
    }.items():
        with pytest.raises(ImageError, match=reason):
            load_image(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_permission(tmp_path):
    path = write(tmp_path, "x.jpg", READABLE["plain.jpg"])
    path.chmod(0)
    with pytest.raises(ImageError, match="Permission denied"):
        load_image(path)


def test_flipped_bytes_give_a_photo_or_an_image_error_and_print_nothing(tmp_path):
    """In a process of its own: decoders written in C print past Python's stderr."""
    rng = np.random.default_rng(0)
    sources = [READABLE[name] for name in ("plain.jpg", "animated.png", "animated.webp", "animated.gif", "exif 5.tif")]
    sources += [READABLE["plain.avif"], traps.palette_with_alpha(), traps.cmyk_jpeg(), READABLE["progressive.jpeg"]]
    for number in range(108):
        data = bytearray(sources[number % len(sources)])
        for _ in range(rng.integers(1, 8)):
            data[rng.integers(len(data) if number % 2 else 100)] ^= 1 << rng.integers(8)
        write(tmp_path, f"{number:03}.jpg", bytes(data))
    code = """
import sys
from detection.images import ImageError, find_images, load_image
for path in find_images(sys.argv[1]):
    try:
        image = load_image(path, max_pixels=10_000_000)
        assert image.dtype == "uint8" and image.ndim == 3 and image.shape[2] == 3
        print("photo")
    except ImageError as error:
        assert "0x" not in str(error), error
        print("error")
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("photo") > 10 and done.stdout.count("error") > 10
    assert len(done.stdout.split()) == 108


def test_find_images_is_sorted_recursive_and_skips_hidden(tmp_path):
    for name in ("b.JPG", "a/z.png", "a/b/c.webp", ".hidden.jpg", ".git/x.jpg", "notes.txt", "a/x.jpg/inside.tiff"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a/b/c.webp", "a/x.jpg/inside.tiff", "a/z.png", "b.JPG"]


@pytest.mark.parametrize(
    "place",
    [
        *("@eaDir", "#recycle", "#snapshot", "@Recycle", "__MACOSX", ".ipynb_checkpoints", "lost+found"),
        *(".AppleDouble", "$RECYCLE.BIN", "System Volume Information"),
    ],
)
def test_what_systems_leave_beside_photos_is_none(tmp_path, place):
    for name in (f"{place}/x.jpg", f"Audi/{place}/y.jpg", "Audi/a.jpg", "Audi/._a.jpg", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = survey_images(tmp_path)
    assert (found.names, found.notes) == (["Audi/a.jpg"], [])


def test_what_a_check_of_the_disk_rescued_is_told_where_it_can_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "@eaDir").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    assert survey_images(tmp_path).unreadable == [(str(tmp_path / "lost+found"), "Permission denied")]


def test_find_images_follows_a_link_to_another_folder(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.jpg").write_bytes(b"")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
    assert find_images(tmp_path / "photos") == [tmp_path / "photos" / "link" / "x.jpg"]


def test_find_images_without_a_folder(tmp_path):
    with pytest.raises(UsageError, match="There is no folder"):
        find_images(tmp_path / "missing")


@pytest.mark.parametrize("name, tolerance", [("x.jpg", 12), ("x.PNG", 0), ("x.webp", 12), ("ü 車.jpeg", 12)])
def test_save_and_load(tmp_path, name, tolerance):
    save_image(tmp_path / name, traps.scene())
    # In the middle of 8x8 blocks: colour bleeds over edges in both lossy formats.
    middles = (slice(4, None, 8), slice(4, None, 8))
    assert np.abs(load_image(tmp_path / name)[middles].astype(int) - traps.scene()[middles]).max() <= tolerance
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_save_transparent(tmp_path):
    save_image(tmp_path / "x.png", traps.rgba_scene())
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), traps.rgba_scene())
    with pytest.raises(UsageError, match="transparency"):
        save_image(tmp_path / "x.jpg", traps.rgba_scene())
    with pytest.raises(UsageError, match="suffix"):
        save_image(tmp_path / "x.gif", traps.scene())


def test_a_failed_save_leaves_nothing_and_keeps_what_was_there(tmp_path):
    path = write(tmp_path, "x.webp", b"old")
    with pytest.raises(OSError):
        save_image(path, np.zeros((1, 20_000, 3), np.uint8))  # beyond what WebP can hold
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_large_pictures_are_converted_in_strips(tmp_path, monkeypatch):
    files = {**READABLE, "alpha.png": traps.encoded(traps.rgba_scene(), "PNG"), "grey.png": traps.grey_16_bit()}
    files["palette with alpha.png"] = traps.palette_with_alpha()
    whole = {name: load_image(write(tmp_path, name, data)) for name, data in files.items()}
    monkeypatch.setattr("detection.images.read._STRIP_PIXELS", 7 * traps.WIDTH)
    monkeypatch.setattr("detection.images.formats._LARGE_PIXELS", 1)
    for name, image in whole.items():
        np.testing.assert_array_equal(load_image(tmp_path / name), image, err_msg=name)


def test_a_jpeg_that_is_too_short_for_its_size_is_truncated(tmp_path):
    for options in ({}, {"progressive": True, "optimize": True}):
        # The shortest that there can be, and the same with a header that lies.
        data = bytearray(traps.encoded(np.full((2048, 2048, 3), 128, np.uint8), quality=1, subsampling=2, **options))
        assert load_image(write(tmp_path, "x.jpg", bytes(data))).shape == (2048, 2048, 3)
        place = data.find(b"\xff\xc2" if options else b"\xff\xc0") + 5
        data[place : place + 4] = bytes([0x32, 0xC8]) * 2  # 13,000 x 13,000
        with pytest.raises(ImageError, match="truncated"):
            load_image(write(tmp_path, "x.jpg", bytes(data)))


def test_decoders_print_nothing(tmp_path, capfd):
    data = bytearray(traps.encoded(traps.scene(), "TIFF", compression="tiff_adobe_deflate"))
    data[9:40] = bytes(31)
    with pytest.raises(ImageError):
        load_image(write(tmp_path, "x.tif", bytes(data)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name, side", [("x.jpg", 65_501), ("x.webp", 16_384)])
def test_a_picture_that_the_format_cannot_hold(tmp_path, capfd, name, side):
    with pytest.raises(OSError, match=f"can't hold {side} x 1 pixels"):
        save_image(tmp_path / name, np.zeros((1, side, 3), np.uint8))
    save_image(tmp_path / name, np.zeros((side - 1, 1, 3), np.uint8))
    assert capfd.readouterr() == ("", "")
