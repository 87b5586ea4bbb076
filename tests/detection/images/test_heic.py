"""HEIC and AVIF: turned once, by their own boxes, and in sRGB."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from detection.images.read import decode_image, image_size, load_image, pillow_to_rgb
from tests import traps
from tests.detection.images.test_loader import wide_profile

pytest.importorskip("pi_heif")

# The scene of `traps`.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAX5tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
    "ACJpbG9jAAAAAERAAAEAAQAAAAABogABAAAAAAAAAFAAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRt"
    "AAAAAAABAAAA/mlwcnAAAADeaXBjbwAAAHdodmNDAQQIAAAAnjgAAAAAHvAA/P/4+AAADwNgAAEAF0ABDAH//wQIAAADAJ44AAAD"
    "AAAeugJAYQABACpCAQEECAAAAwCeOAAAAwAAHpAEECCy3VyU1zcBDQYEAAADAGQAAAMABCBiAAEACEQBwXMYMAiQAAAAE2NvbHJu"
    "Y2x4AAEADQAGgAAAABRpc3BlAAAAAAAAAEAAAABAAAAAKGNsYXAAAABAAAAAAQAAADAAAAABAAAAAAAAAAL////wAAAAAgAAABBw"
    "aXhpAAAAAAMICAgAAAAYaXBtYQAAAAAAAAABAAEFgQIDBYQAAABYbWRhdAAAAEwoAa8O4OhjzjX//6pf//WQF54/DKL7ccb/oW6G"
    "n/ySnwsyX7NYkw5yJvph2HvJ9/4eWAP+hAHp58+y9qqG/Ol12J8gZKbcXmbYdwd4"
)
WHERE = {(4, 4): traps.GREEN, (4, 60): traps.RED, (44, 4): traps.BLUE}


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return (8 + len(body)).to_bytes(4, "big") + kind + body


def number(value: int, size: int = 2) -> bytes:
    return value.to_bytes(size, "big")


def boxes_of(data: bytes) -> dict[bytes, bytes]:
    """Kind and content of each box; of several of a kind the last."""
    found, place = {}, 0
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        found[data[place + 4 : place + 8]] = data[place + 8 : place + length]
        place += length
    return found


def heic(irot: int = 0, imir: int | None = None, orientation: int = 0, profile: bytes = b"", tiles: int = 1) -> bytes:
    """The scene as a phone writes it: turned by `irot` quarters against the clock, mirrored, with EXIF and profile.

    With tiles=2, a grid of 2x2 pictures, as phones store large photos.
    """
    top = boxes_of(HEIC)
    meta = boxes_of(top[b"meta"][4:])
    old = boxes_of(boxes_of(meta[b"iprp"])[b"ipco"])
    tile = top[b"mdat"]
    side = 64 * tiles
    shown = [box(b"ispe", bytes(4), number(side, 4), number(48 * tiles, 4))] if tiles > 1 else []
    shown += [box(b"colr", b"prof", profile)] if profile else []
    shown += [box(b"irot", bytes([irot]))] if irot else []
    shown += [box(b"imir", bytes([imir]))] if imir is not None else []
    coded = [box(kind, old[kind]) for kind in (b"hvcC", b"colr", b"ispe", b"clap", b"pixi")]
    if profile and tiles == 1:
        coded.pop(1)
    count = tiles * tiles
    # Items: the pictures, then the grid, then EXIF.
    items = [(one, b"hvc1", tile) for one in range(1, count + 1)]
    main = 1
    links = []
    if tiles > 1:
        main = count + 1
        grid = bytes([0, 0, tiles - 1, tiles - 1]) + number(side) + number(48 * tiles)
        items.append((main, b"grid", grid))
        links.append(box(b"dimg", number(main), number(count), *[number(one) for one in range(1, count + 1)]))
    if orientation:
        items.append((main + 1, b"Exif", number(6, 4) + exif(orientation)))
        links.append(box(b"cdsc", number(main + 1), number(1), number(main)))
    infos = [box(b"infe", b"\2\0\0" + bytes([one > 1 and kind == b"hvc1"]), number(one), bytes(2), kind, b"\0")
             for one, kind, _ in items]  # fmt: skip
    needed = {b"hvcC", b"clap", b"irot", b"imir"}
    places = {one: [] for one in range(1, main + 1)}
    for place, part in enumerate([*coded, *shown], 1):
        marked = bytes([place | (0x80 if part[4:8] in needed else 0)])
        if tiles > 1 and place > len(coded):
            places[main].append(marked)
        else:
            for one in range(1, count + 1):
                places[one].append(marked)
    ipma = [number(one) + bytes([len(marks)]) + b"".join(marks) for one, marks in places.items()]
    start = 0
    for _ in range(2):  # the second time with the length of what comes before the data
        iloc, at = [], start
        for one, _kind, data in items:
            iloc.append(number(one) + bytes(2) + number(1) + number(at, 4) + number(len(data), 4))
            at += len(data)
        head = box(b"ftyp", b"heic" + bytes(4) + b"mif1heic") + box(
            b"meta",
            bytes(4),
            box(b"hdlr", meta[b"hdlr"]),
            box(b"pitm", bytes(4), number(main)),
            box(b"iloc", bytes(4), b"\x44\0", number(len(items)), *iloc),
            box(b"iinf", bytes(4), number(len(items)), *infos),
            *([box(b"iref", bytes(4), *links)] if links else []),
            box(b"iprp", box(b"ipco", *coded, *shown), box(b"ipma", bytes(4), number(len(ipma), 4), *ipma)),
        )
        start = len(head) + 8
    return head + box(b"mdat", *[data for _, _, data in items])


def shows(image: np.ndarray, upright: np.ndarray, tolerance: int = 14) -> bool:
    return image.shape == upright.shape and np.abs(image.astype(int) - upright).mean() <= tolerance / 4


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    return decode_image(HEIC)


def test_heic(tmp_path):
    (tmp_path / "phone.HEIC").write_bytes(HEIC)
    image = load_image(tmp_path / "phone.HEIC")
    assert image.shape == (traps.HEIGHT, traps.WIDTH, 3)
    for (y, x), shade in WHERE.items():
        assert np.abs(image[y, x].astype(int) - shade).max() <= 12


@pytest.mark.parametrize("tiles", [1, 2])
@pytest.mark.parametrize("quarters, orientation", [(0, 1), (3, 6), (1, 8), (2, 3)])
def test_heic_is_turned_once(tmp_path, scene, tiles, quarters, orientation):
    data = heic(irot=quarters, orientation=orientation, tiles=tiles)  # as phones write it: the box and EXIF
    upright = np.rot90(np.tile(scene, (tiles, tiles, 1)), quarters)
    image = decode_image(data)
    np.testing.assert_array_equal(image, upright)
    (tmp_path / "x.heic").write_bytes(data)
    assert image_size(tmp_path / "x.heic") == upright.shape[1::-1]
    np.testing.assert_array_equal(pillow_to_rgb(Image.open(io.BytesIO(data))), upright)


@pytest.mark.parametrize("axis", [0, 1])
def test_heic_is_mirrored_once(scene, axis):
    np.testing.assert_array_equal(decode_image(heic(imir=axis, orientation=2)), scene[:, ::-1] if axis else scene[::-1])


@pytest.mark.parametrize("orientation", [3, 6])
def test_exif_alone_turns_no_heic(scene, orientation):
    """So the standard says, and viewers do it."""
    np.testing.assert_array_equal(decode_image(heic(orientation=orientation)), scene)


@pytest.mark.parametrize("tiles", [1, 2])
def test_the_profile_of_a_heic_is_applied(scene, tiles):
    image = decode_image(heic(irot=3, profile=wide_profile(), tiles=tiles))
    expected = (scene / 255) ** 1.8
    expected = 255 * np.where(expected <= 0.0031308, 12.92 * expected, 1.055 * expected ** (1 / 2.4) - 0.055)
    upright = np.rot90(np.tile(expected, (tiles, tiles, 1)), 3)
    assert image.shape == upright.shape
    assert np.abs(image - upright).mean() <= 1
    assert np.abs(np.rot90(np.tile(scene, (tiles, tiles, 1)), 3).astype(int) - upright).mean() > 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_once(orientation):
    """Pillow writes the orientation as boxes."""
    data = traps.encoded(traps.scene(), "AVIF", exif=exif(orientation), quality=95)
    jpeg = traps.encoded(traps.scene(), "JPEG", exif=exif(orientation), quality=95)
    assert shows(decode_image(data), decode_image(jpeg))


def test_xmp_alone_turns_no_avif():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    plain = decode_image(traps.encoded(traps.scene(), "AVIF"))
    np.testing.assert_array_equal(decode_image(traps.encoded(traps.scene(), "AVIF", xmp=xmp)), plain)
