"""Contact sheets: every row of a run is a pair on a page, in whatever script its name is."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detection.common.errors import UsageError
from detection.cutout.cut import CutoutStyle
from detection.folder.out.detections import DetectionsWriter, read_detections
from detection.folder.out.manifest import COLUMNS, row_cells
from detection.folder.sheet import write_contact_sheets
from detection.images.contact_page import THUMB, SheetPair, draw_pair, page_size
from detection.images.lettering import printable
from detection.images.read import load_image
from detection.vehicle import Vehicle
from tests import traps
from tests.fakes import draw_car
from tests.folder_runs import put, run

PAGE = np.array((233, 233, 236))
CHECKER = np.array([[204] * 3, [255] * 3])


def sheets(source, output, target, **options):
    return write_contact_sheets(source, output, output / "manifest.csv", target, **options)


def write_rows(path: Path, rows) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def share(region: np.ndarray, colour: np.ndarray, tolerance: int = 40) -> float:
    """The part of the pixels that are near a colour."""
    return float((np.abs(region.astype(int) - colour).max(axis=-1) <= tolerance).mean())


def cell_of(page: np.ndarray, number: int, columns: int) -> np.ndarray:
    """One cell out of a page."""
    row, column = divmod(number, columns)
    top, left = page_size(1, 1)[0] - 14, page_size(1, 1)[1] - 14
    return page[14 + row * top : (row + 1) * top, 14 + column * left : (column + 1) * left]


def test_pages_and_index(photos, tmp_path):
    (photos / "bad.jpg").write_bytes(b"")
    run(photos, tmp_path / "out")
    ticks = []
    pages = sheets(photos, tmp_path / "out", tmp_path / "sheet", grid=(2, 1), progress=lambda: ticks.append(1))
    assert pages == [tmp_path / "sheet" / f"page-0000{number}.jpg" for number in (1, 2)] and len(ticks) == 4
    assert [load_image(page).shape for page in pages] == [(*page_size(2, 1), 3)] * 2
    index = (tmp_path / "sheet" / "index.html").read_text("utf-8")
    assert "4 photos: 2 ok, 1 no_car, 1 unreadable." in index
    assert "page-00001.jpg</a>: bad.jpg &ndash; grey.jpg (1 no_car, 1 unreadable)" in index
    assert not re.search(r"<script|https?:|//|onerror|@import", index)
    assert {path.name for path in (tmp_path / "sheet").iterdir()} == {"index.html", *(page.name for page in pages)}
    # A shorter sheet in the same place leaves no page of the longer one behind.
    assert len(sheets(photos, tmp_path / "out", tmp_path / "sheet")) == 1
    assert {path.name for path in (tmp_path / "sheet").iterdir()} == {"index.html", "page-00001.jpg"}


def test_a_pair_shows_photo_box_outline_and_cut(photos, tmp_path):
    run(photos, tmp_path / "out", CutoutStyle(background="transparent", padding=0.2))
    [page] = sheets(photos, tmp_path / "out", tmp_path / "sheet", grid=(1, 3))
    cell = cell_of(load_image(page), 1, 1)  # grey, red, sub/blue
    photo, cut = cell[: THUMB[1], : THUMB[0]], cell[: THUMB[1], -THUMB[0] :]
    assert share(photo, np.array((220, 20, 20))) > 0.06
    red, green, blue = photo.astype(int).transpose(2, 0, 1)
    assert ((red > 170) & (green > 120) & (blue < green - 40)).mean() > 0.003  # the yellow box
    assert share(cut, np.array((220, 20, 20))) > 0.03
    board = cut.reshape(-1, 3)[(np.ptp(cut.reshape(-1, 3).astype(int), axis=1) < 12)]
    assert min(share(board, colour, 8) for colour in CHECKER) > 0.01
    assert share(cell[THUMB[1] :], PAGE, 8) < 0.999  # the words


def test_the_outline_of_the_vehicle_that_was_cut_out(photos, tmp_path):
    run(photos, tmp_path / "out")
    disc = np.hypot(*(np.indices((48, 64)) - np.array([28, 32])[:, None, None])) < 12  # seen at half size
    far = np.zeros((48, 64), bool)
    far[:5, :5] = True
    with DetectionsWriter(tmp_path / "found", "fake", "p") as writer:
        other, main = Vehicle((0.0, 0.0, 5.0, 5.0), far, 0.9), Vehicle((16.0, 20.0, 48.0, 36.0), disc, 0.8)
        writer.append("red.jpg", None, (48, 64), [other, main])
        writer.append(
            "sub/blue.png", None, (48, 64), [other]
        )  # of another photo: no outline is better than a wrong one
    with read_detections(tmp_path / "found") as found:
        [page] = sheets(photos, tmp_path / "out", tmp_path / "sheet", grid=(1, 3), detections=found)
    for number, expected in ((0, False), (1, True), (2, False)):
        cell = cell_of(load_image(page), number, 1)[: THUMB[1], : THUMB[0]].astype(int)
        pink = (cell[..., 0] > 150) & (cell[..., 2] > 110) & (cell[..., 1] < 110)
        assert pink.any() == expected
        if expected:  # round the disc, in the photo of 96 x 128 in the middle of its place
            y, x = (axis.mean() for axis in np.nonzero(pink))
            assert (y, x) == pytest.approx((23 + 56, 31 + 64), abs=4) and 20 < np.ptp(np.nonzero(pink)[0]) < 52


def test_worst_first_and_limit(tmp_path):
    scores = {"a": 0.9, "b": 0.2, "c": 0.5}
    records = [row_cells(name, "ok", score=score) for name, score in scores.items()]
    records += [row_cells("d", "no_car"), row_cells("e", "error", reason="ValueError: x"), row_cells("f", "ok")]
    write_rows(tmp_path / "manifest.csv", records)
    (tmp_path / "in").mkdir()

    def shown(**options):
        write_contact_sheets(
            tmp_path / "in", tmp_path, tmp_path / "manifest.csv", tmp_path / "sheet", grid=(1, 1), **options
        )
        return "".join(re.findall(r"</a>: (\w) &ndash;", (tmp_path / "sheet" / "index.html").read_text("utf-8")))

    assert shown() == "abcdef"
    assert shown(worst_first=True) == "edfbca"
    assert shown(worst_first=True, limit=2) == "ed"
    assert shown(limit=3) == "ace" and shown(limit=99) == "abcdef"
    assert "6 photos: 4 ok, 1 no_car, 1 error." in (tmp_path / "sheet" / "index.html").read_text("utf-8")


NAMES = [
    "ümlaut 車 Ελλάδα Москва.jpg",
    "عربى עברית हिन्दी ไทย.jpg",
    "🚗\u200d🚙.jpg",
    "line\nbreak\r, comma \"quoted\" 'too'.jpg",
    os.fsdecode(b"caf\xe9 \x80.jpg"),
    "<script>alert(1)</script> & more.jpg".replace("/", "_"),
    "long " * 40 + ".jpg",
    "\u202etxet.jpg",
]


def test_names_in_any_script(tmp_path):
    for name in NAMES:
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(traps.encoded(draw_car()))
    run(tmp_path / "in", tmp_path / "out")
    [page] = sheets(tmp_path / "in", tmp_path / "out", tmp_path / "sheet")
    cells = [cell_of(load_image(page), number, 4) for number in range(len(NAMES))]
    for cell in cells:  # the row after a name with a line break is still the right one
        assert share(cell[: THUMB[1], : THUMB[0]], np.array((220, 20, 20))) > 0.06
        assert share(cell[THUMB[1] : THUMB[1] + 17], PAGE, 8) < 0.98
    index = (tmp_path / "sheet" / "index.html").read_text("utf-8")
    assert "<script" not in index and "8 photos: 8 ok" in index


def test_names_without_a_glyph_stay_apart():
    one, other = (draw_pair(SheetPair(f"{name}.jpg", Path("nowhere.jpg"), None, "error")) for name in "車馬")
    assert (one != other).any()
    assert printable("a\u2028b\udcff") == "a\\u2028b\\xff"


def test_exif_turned_photos_are_upright(tmp_path):
    (tmp_path / "in").mkdir()
    for number in traps.UNTURN:
        (tmp_path / "in" / f"{number}.jpg").write_bytes(traps.with_orientation(number))
    run(tmp_path / "in", tmp_path / "out")
    [page] = sheets(tmp_path / "in", tmp_path / "out", tmp_path / "sheet")
    for number in range(8):
        photo = cell_of(load_image(page), number, 4)[: THUMB[1], : THUMB[0]]
        height, width = traps.HEIGHT, traps.WIDTH
        top, left = (THUMB[1] - height) // 2, (THUMB[0] - width) // 2
        shown = photo[top : top + height, left : left + width]
        assert share(shown[30:45, 10:60], np.array(traps.BLUE)) > 0.8
        assert share(shown[4:12, 4:12], np.array(traps.GREEN)) > 0.8


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_what_cannot_be_shown_is_told(photos, tmp_path, suffix):
    run(photos, tmp_path / "out", image_format=suffix)
    (photos / "red.jpg").unlink()
    (tmp_path / "out" / f"grey.{suffix}").unlink()
    (tmp_path / "out" / "sub" / f"blue.{suffix}").write_bytes(b"\x89PNG\r\n\x1a\nhalf")
    [page] = sheets(photos, tmp_path / "out", tmp_path / "sheet")
    for number, left in ((0, THUMB[0] + 4), (1, 0), (2, THUMB[0] + 4)):
        picture = cell_of(load_image(page), number, 4)[: THUMB[1], left : left + THUMB[0]]
        assert 0.9 < share(picture, np.array((222, 222, 226)), 8) < 0.999  # an empty place with words in it


def test_odd_shapes_and_values(tmp_path):
    put(tmp_path / "thin.png", np.full((1, 3000, 3), 200, np.uint8))
    Image.new("RGBA", (2000, 1), (255, 0, 0, 128)).save(tmp_path / "thin cut.png")
    photo, cut = tmp_path / "thin.png", tmp_path / "thin cut.png"
    empty = np.zeros((1, 1), bool)
    for box in [(0.0, 0.0, 0.0, 0.0), (-1e30, -5.0, 1e30, 5.0), (5.0, 5.0, 1.0, 1.0), (2990.0, 0.0, 3000.0, 1.0)]:
        cell = draw_pair(SheetPair("thin", photo, cut, "ok", 1.0, "r " * 500, box, (1, 3000), empty))
        assert cell.shape == (THUMB[1] + 48, 2 * THUMB[0] + 4, 3)
    assert draw_pair(SheetPair("", tmp_path, tmp_path, "strange", None, "x" * 5000)).shape == cell.shape


def test_wrong_usage(photos, tmp_path):
    out, target = tmp_path / "out", tmp_path / "sheet"
    run(photos, out)
    for options, message in [({"grid": (0, 3)}, "at least one"), ({"limit": 0}, "at least one")]:
        with pytest.raises(UsageError, match=message):
            sheets(photos, out, target, **options)
    with pytest.raises(UsageError, match="can't be read"):
        write_contact_sheets(photos, out, tmp_path / "no.csv", target)
    with pytest.raises(UsageError, match="is not the manifest"):
        write_contact_sheets(photos, out, photos / "red.jpg", target)
    assert not target.exists()
    for place, message in [(photos / "sheet", "among the photos"), (out, "holds other files")]:
        with pytest.raises(UsageError, match=message):
            sheets(photos, out, place)
    with pytest.raises(UsageError, match="a file of that name"):
        sheets(photos, out, out / "manifest.csv")
    sheets(photos, out, target)
    os.truncate(out / "manifest.csv", 0)
    with pytest.raises(UsageError, match="is not the manifest"):
        sheets(photos, out, target)


def test_a_damaged_row_is_passed_over(photos, tmp_path):
    run(photos, tmp_path / "out")
    with open(tmp_path / "out" / "manifest.csv", "ab") as file:
        file.write(b"half,of a row\nx.jpg,,ok,,much,a,b,c,d,,,nan,-5\n")
    sheets(photos, tmp_path / "out", tmp_path / "sheet")
    assert "4 photos: 3 ok, 1 no_car" in (tmp_path / "sheet" / "index.html").read_text("utf-8")


def test_no_photo_is_no_page(tmp_path):
    (tmp_path / "in").mkdir()
    write_rows(tmp_path / "manifest.csv", [])
    assert write_contact_sheets(tmp_path / "in", tmp_path, tmp_path / "manifest.csv", tmp_path / "sheet") == []
    assert "0 photos: none" in (tmp_path / "sheet" / "index.html").read_text("utf-8")
