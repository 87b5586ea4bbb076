"""A folder of mangled photos: a row for each, and no crash, no hang, no memory blow-up, whatever the bytes are."""

from __future__ import annotations

import io
import json
import random
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detection.folder.out.manifest import STATUSES
from detection.images.read import load_image
from tests import traps
from tests.fakes import draw_car
from tests.folder_runs import ROOT, rows

SEED = 20240607
# What a run may take beyond what it takes for sound photos. Files that pass for 49 megapixels are among the mangled
# ones: 17 bytes a pixel for the one that is decoded, 3 for those that wait.
MAX_GROWTH_MIB = 1500

RUN = """
import json, resource, sys
# A backstop: what takes more fails here, and not the machine.
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
from pathlib import Path
from tests.folder_runs import run
def peak():  # not ru_maxrss, which counts the parent before exec
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) // 1024
source, output = Path(sys.argv[1]), Path(sys.argv[2])
run(source / "sound", output / "sound")
before = peak()
summary = run(source / "mangled", output / "mangled")
print(json.dumps({"counts": summary.counts, "grown": peak() - before}))
"""


def sound() -> dict[str, bytes]:
    """Small photos of a car in every format and kind of compression that is worth mangling."""
    noise = np.random.default_rng(SEED).integers(-20, 20, (96, 128, 3))
    photo = np.clip(draw_car().astype(int) + noise, 0, 255).astype(np.uint8)
    image = Image.fromarray(photo)

    def saved(picture: Image.Image, file_format: str, **options) -> bytes:
        buffer = io.BytesIO()
        picture.save(buffer, file_format, **options)
        return buffer.getvalue()

    exif = Image.Exif()
    exif[traps.ORIENTATION] = 6
    exif[0x010E] = "a description"
    rgba = image.convert("RGBA")
    rgba.putalpha(200)
    return {
        "baseline.jpg": saved(image, "JPEG", quality=85, exif=exif),
        "progressive.jpg": saved(image, "JPEG", progressive=True),
        "cmyk.jpg": saved(image.convert("CMYK"), "JPEG"),
        "rgb.png": saved(image, "PNG", exif=exif),
        "rgba.png": saved(rgba, "PNG"),
        "palette.png": saved(image.quantize(32), "PNG", bits=8),
        "grey 16.png": traps.grey_16_bit(),
        "animated.png": traps.animated("PNG"),
        "lossy.webp": saved(image, "WEBP", exif=exif),
        "lossless.webp": saved(rgba, "WEBP", lossless=True),
        "animated.webp": traps.animated("WEBP"),
        "rgb.bmp": saved(image, "BMP"),
        "palette.bmp": saved(image.quantize(32), "BMP"),
        "raw.tif": saved(image, "TIFF", exif=exif),
        "lzw.tif": saved(image, "TIFF", compression="tiff_lzw"),
        "deflate.tif": saved(image, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tif": saved(image, "TIFF", compression="jpeg"),
        "grey 16.tif": saved(Image.fromarray(traps.grey_scene().astype(np.uint16) * 257), "TIFF"),
        "still.gif": saved(image.quantize(64), "GIF"),
        "animated.gif": traps.animated("GIF"),
        "still.avif": saved(image, "AVIF", exif=exif),
    }


def flip_bits(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice([1, 1, 3, 10, 100])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def set_bytes(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice([1, 4, 30])):
        data[rng.randrange(len(data))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    return bytes(data)


def truncate(data: bytearray, rng: random.Random) -> bytes:
    return bytes(data[: rng.choice([rng.randrange(len(data)), rng.randrange(40), len(data) - rng.randrange(1, 9)])])


def swap_blocks(data: bytearray, rng: random.Random) -> bytes:
    length = rng.choice([4, 16, 256])
    one, other = (rng.randrange(max(1, len(data) - length)) for _ in range(2))
    data[one : one + length], data[other : other + length] = data[other : other + length], data[one : one + length]
    return bytes(data)


def edit_header(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice([1, 2, 6])):
        data[rng.randrange(min(len(data), 64))] = rng.randrange(256)
    return bytes(data)


def huge_number(data: bytearray, rng: random.Random) -> bytes:
    """A large 16- or 32-bit number somewhere in the first kilobyte: a size, a count, an offset."""
    value = rng.choice([0x7FFF, 0xFFFF, 0x3FFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000, 50_000, 1_000_000])
    form = rng.choice("<>") + ("I" if value > 0xFFFF else rng.choice("HI"))
    packed = struct.pack(form, value)
    place = rng.randrange(min(len(data), 1024))
    data[place : place + len(packed)] = packed
    return bytes(data)


def cut_and_paste(data: bytearray, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    part = data[start : start + rng.choice([1, 7, 64, 1000])]
    place = rng.randrange(len(data))
    data[place:place] = part * rng.choice([1, 2, 50])
    return bytes(data)


def cut_away(data: bytearray, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice([1, 3, 100])]
    return bytes(data)


def zero_block(data: bytearray, rng: random.Random) -> bytes:
    start, length = rng.randrange(len(data)), rng.choice([8, 200, 5000])
    data[start : start + length] = bytes(len(data[start : start + length]))
    return bytes(data)


def declare_size(data: bytearray, rng: random.Random) -> bytes:
    """The same file, but its header says that the picture is huge: sums are made right, so that it is believed."""
    width, height = rng.choice([(7_000, 7_000), (16_383, 16_383), (60_000, 60_000), (65_535, 9), (2, 65_535)])
    if data[:2] == b"\xff\xd8":
        for marker in (b"\xff\xc0", b"\xff\xc2"):
            place = data.find(marker)
            if place > 0:
                data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    elif data[:4] == b"\x89PNG":
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    elif data[:4] == b"RIFF" and data[12:16] == b"VP8X":
        data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    elif data[:4] == b"RIFF" and data[12:16] == b"VP8 ":
        data[26:30] = struct.pack("<HH", min(width, 16_383), min(height, 16_383))
    elif data[:2] == b"BM":
        data[18:26] = struct.pack("<ii", width, height)
    elif data[:3] == b"GIF":
        data[6:10] = struct.pack("<HH", width, height)
        place = data.find(b"\x2c\x00\x00\x00\x00")
        data[place + 5 : place + 9] = struct.pack("<HH", width, height)
    elif data[:4] == b"II*\x00":
        (directory,) = struct.unpack("<I", data[4:8])
        (count,) = struct.unpack("<H", data[directory : directory + 2])
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            (tag,) = struct.unpack("<H", data[entry : entry + 2])
            if tag in (256, 257):
                data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, width if tag == 256 else height)
    elif b"ispe" in data:
        place = data.find(b"ispe")
        data[place + 8 : place + 16] = struct.pack(">II", width, height)
    return bytes(data)


MANGLERS: list[Callable[[bytearray, random.Random], bytes]] = [
    flip_bits, set_bytes, truncate, swap_blocks, edit_header, huge_number, cut_and_paste, cut_away, zero_block,
    declare_size,
]  # fmt: skip


def mangled(count: int) -> dict[str, bytes]:
    """`count` files: some that never were photos, the rest sound ones mangled in one or two ways."""
    rng = random.Random(SEED)
    files = {
        "empty.jpg": b"",
        "one byte.png": b"\x89",
        "text.webp": b"GIF89a is how it begins\n" * 50,
        "zeros.tif": bytes(4096),
        "noise.gif": rng.randbytes(4096),
        "ones.bmp": b"\xff" * 4096,
        "bomb.png": traps.claims_size(30_000, 30_000),
        "bomb without an end.png": traps.claims_size(2**31 - 1, 2**31 - 1),
        "tall bomb.png": traps.claims_size(1, 2**31 - 1),
        "a true bomb.png": true_bomb(),
    }
    bases = list(sound().items())
    while len(files) < count:
        name, data = bases[len(files) % len(bases)]
        how = [MANGLERS[len(files) % len(MANGLERS)]]  # 21 photos and 10 ways: every pair comes in turn
        if rng.random() < 0.2:
            how.append(rng.choice(MANGLERS[:-1]))  # `declare_size` needs a sound file
        for mangle in how:
            data = mangle(bytearray(data or b"\0"), rng)
        files[f"{len(files):04d} {' '.join(step.__name__ for step in how)} {name}"] = data
    return files


def true_bomb() -> bytes:
    """A whole, valid PNG of 20,000 x 20,000 pixels in some 50 kB."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    line = bytes(1 + 20_000 // 8)
    data = b"".join(packer.compress(line) for _ in range(20_000)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "count, seconds", [pytest.param(150, 100, id="150"), pytest.param(2000, 550, id="2000", marks=pytest.mark.slow)]
)
def test_a_row_for_each_mangled_file(tmp_path, count, seconds):
    for folder, files in (("sound", sound()), ("mangled", mangled(count))):
        (tmp_path / "in" / folder).mkdir(parents=True)
        for number, (name, data) in enumerate(files.items()):  # so that no two become the same file
            (tmp_path / "in" / folder / f"{number:04d} {name}").write_bytes(data)
    command = [sys.executable, "-c", RUN, str(tmp_path / "in"), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""  # decoders that talk would tear a progress bar
    told = json.loads(done.stdout)
    assert told["grown"] < MAX_GROWTH_MIB
    found = rows(tmp_path / "out" / "mangled")
    assert set(found) == {path.name for path in (tmp_path / "in" / "mangled").iterdir()} and len(found) == count
    assert Counter(row["status"] for row in found.values()) == told["counts"]
    assert set(told["counts"]) <= set(STATUSES)
    # A harmless flip leaves a photo a photo; most files are none any more.
    assert told["counts"]["unreadable"] > count // 3 and told["counts"]["ok"] > count // 20
    for name, row in found.items():
        if row["status"] == "unreadable":
            assert row["reason"].endswith(".") and "\n" not in row["reason"] and "0x" not in row["reason"], row
            assert row["output"] == ""
        elif row["status"] == "error":  # a picture of 65,535 x 9 pixels may be sound, but no JPEG can hold it
            assert "the limit of JPEG is 65500" in row["reason"], row
        else:
            assert load_image(tmp_path / "out" / "mangled" / row["output"]).size > 0, name
    assert {row["status"] for row in rows(tmp_path / "out" / "sound").values()} <= {"ok", "no_car"}
    assert not list(Path(tmp_path / "out").rglob(".carclf-*"))
