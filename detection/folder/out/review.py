"""What a person should look at after a run that hid something: review.csv, and pages of what was hidden, and nearly."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, islice
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from detection.common.files import escape_name, replace_file
from detection.common.output_folder import OutputFolder
from detection.folder.out.manifest import read_manifest
from detection.images.lettering import printable
from detection.images.read import ImageError, load_image
from detection.images.write import save_image

REVIEW = "review.csv"
UNSURE = 0.5  # below it something was hidden, but may be nothing private
_MARK = '<meta name="generator" content="carclf hidden sheet">'
_CELL, _GAP, _COLUMNS, _ROWS = (232, 150), 6, 6, 8
_PAGE = (233, 233, 236)
_ROOM = 2.0  # of a cell, in multiples of what is in it
# The parts of the page in their order: what a person must look at comes first.
_PARTS = {
    "near": ("Nearly hidden", "Still to be seen in the photos: should any of it be hidden?", (220, 40, 40)),
    "none": ("A vehicle, and nothing hidden", "Is there something to hide that was not found?", (214, 138, 0)),
    "hidden": ("Hidden", "The least sure first: is any of it nothing private?", (24, 150, 56)),
}
_STYLE = """
body{font:15px/1.4 sans-serif;margin:24px auto;padding:0 16px;max-width:1480px;background:#e9e9ec;color:#222}
h2{margin:28px 0 0}h2 span{display:inline-block;width:14px;height:14px;margin-right:8px}
section{display:flex;flex-wrap:wrap;gap:12px;margin-top:12px}figure{margin:0;width:232px}
figure div{width:232px;height:150px}figcaption{font-size:13px;overflow-wrap:anywhere}"""


@dataclass(frozen=True)
class Spot:
    """A place in a photo that a person looks at. part: see `_PARTS`. corners: 4x2. score: of what was hidden.

    kind: plate or face; empty for a vehicle on which nothing was hidden.
    """

    source: str
    part: Literal["near", "none", "hidden"]
    corners: np.ndarray
    score: float | None = None
    kind: str = ""


def write_review(manifest: Path, target: Path, what: Collection[str] = ("plates",)) -> int:
    """Lists the photos that a person should look at, those where something was nearly hidden first; returns how many.

    Reasons: something nearly hidden, hidden but unsure, not written, a vehicle without a plate.
    what: was to be hidden; a vehicle may lack a plate where plates were not asked for.
    """
    lines = []
    for row in read_manifest(manifest):
        why = _why(row, "plates" in what)
        if why:
            lines.append((_ORDER.index(why), row["source"], why, row["hidden"] or "0", row["nearly_hidden"] or "0"))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("source", "why", "hidden", "nearly_hidden"))
    writer.writerows([escape_name(cell) for cell in line[1:]] for line in sorted(lines))
    replace_file(target, text.getvalue().encode("utf-8"))
    return len(lines)


_ORDER = ("not written", "nearly hidden", "hidden, but unsure", "a vehicle without a plate")


def _why(row: dict[str, str], plates: bool) -> str:
    if not row["output"]:
        return "not written"
    if int(row["nearly_hidden"] or 0):
        return "nearly hidden"
    scores = json.loads(row["hidden_scores"] or "[]")
    if scores and min(scores) < UNSURE:
        return "hidden, but unsure"
    missing = plates and row["status"] == "ok" and "plate" not in json.loads(row["hidden_kinds"] or "[]")
    return "a vehicle without a plate" if missing else ""


def write_hidden_sheets(source: Path, manifest: Path, target: Path, limit: int) -> list[Path]:
    """Writes index.html and its pictures, page-00001.jpg and so on, into the folder `target`; returns the pictures.

    The page shows the surroundings of what was nearly hidden, vehicles on which nothing was hidden, and what was
    hidden, the least sure first; what is to be looked at is outlined. limit: of all of them.
    Raises `UsageError` when `target` holds other files. The page shows what is private: it is not to be passed on.
    """
    folder = OutputFolder(target, _is_sheet, failed=f"The contact sheet can't be written to '{target}'")
    folder.check(
        f"The folder '{target}' holds other files: choose an empty one for the contact sheet.",
        file=f"The contact sheet '{target}' is to be a folder, and there is a file of that name.",
    )
    places = {part: place for place, part in enumerate(_PARTS)}
    spots = sorted(_spots(manifest), key=lambda spot: (places[spot.part], spot.score or 0.0))
    note = f"<!doctype html>{_MARK}<p>The pages are being made."
    folder.make(lambda: replace_file(target / "index.html", note.encode()))
    pages: list[Path] = []
    figures: list[str] = []
    for start in range(0, min(limit, len(spots)), _COLUMNS * _ROWS):
        shown = spots[start : min(limit, start + _COLUMNS * _ROWS)]
        pages.append(target / f"page-{len(pages) + 1:05d}.jpg")
        cells = dict(_cells(source, shown))
        save_image(pages[-1], _page([cells[place] for place in range(len(shown))]), 88)
        figures += [_figure(spot, start + place + 1, pages[-1].name, place) for place, spot in enumerate(shown)]
    for path in target.glob("page-*.jpg"):
        if path not in pages:
            path.unlink()
    replace_file(target / "index.html", _index(spots, figures).encode("utf-8", "backslashreplace"))
    return pages


def _index(spots: Sequence[Spot], figures: Sequence[str]) -> str:
    """The page: its parts with their cells."""
    less = f" Only the first {len(figures)} of {len(spots)} are shown." if len(figures) < len(spots) else ""
    text = [
        f'<!doctype html><html lang="en"><meta charset="utf-8">{_MARK}<title>Hidden and nearly hidden</title>',
        f"<style>{_STYLE}</style><h1>Hidden and nearly hidden</h1><p>This page shows what is private: do not pass it ",
        f"on.{less}",
    ]
    shown = iter(figures)
    for part, several in groupby(spots, lambda spot: spot.part):
        title, question, colour = _PARTS[part]
        count = len(list(several))
        cells = "".join(islice(shown, count))
        mark = f'<span style="background:rgb{colour}"></span>'
        text.append(f"<h2>{mark}{title}: {count}</h2>{question}<section>{cells}</section>")
    if not spots:
        text.append("<p>Nothing was hidden, and no vehicle was found.")
    return "".join(text)


def _figure(spot: Spot, number: int, page: str, place: int) -> str:
    """A cell of a page's picture, and whose it is."""
    left, top = _corner(place)
    sure = (f", {spot.kind}" if spot.kind else "") + ("" if spot.score is None else f", {spot.score:.2f}")
    return (
        f'<figure><div style="background:url({page}) -{left}px -{top}px"></div>'
        f"<figcaption><b>{number}</b> {escape(printable(spot.source))}{sure}</figcaption></figure>"
    )


def _is_sheet(folder: Path) -> bool:
    try:
        return _MARK in (folder / "index.html").read_text("utf-8")
    except (OSError, ValueError):
        return False


def _spots(manifest: Path) -> Iterator[Spot]:
    for row in read_manifest(manifest):
        name, hidden, near = row["source"], _list(row["hidden_at"]), _list(row["nearly_at"])
        kinds, near_kinds = _list(row["hidden_kinds"]), _list(row["nearly_kinds"])
        for corners, score, kind in zip(hidden, _list(row["hidden_scores"]), kinds, strict=False):
            yield Spot(name, "hidden", np.array(corners, np.float32), float(score), kind)
        for corners, kind in zip(near, near_kinds, strict=False):
            yield Spot(name, "near", np.array(corners, np.float32), kind=kind)
        if row["status"] == "ok" and not hidden and not near:
            x1, y1, x2, y2 = (float(row[side]) for side in ("x1", "y1", "x2", "y2"))
            yield Spot(name, "none", np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32))


def _list(cell: str) -> list:
    return json.loads(cell or "[]")


def _cells(source: Path, spots: Sequence[Spot]) -> Iterator[tuple[int, np.ndarray]]:
    """The picture of each spot, by its place; each photo is read once."""
    by_photo: dict[str, list[int]] = {}
    for place, spot in enumerate(spots):
        by_photo.setdefault(spot.source, []).append(place)
    for name, places in by_photo.items():
        try:
            image = load_image(source / name)
        except ImageError:
            image = None
        for place in places:
            yield place, _cell(image, spots[place])


def _cell(image: np.ndarray | None, spot: Spot) -> np.ndarray:
    width, height = _CELL
    if image is None:
        return np.full((height, width, 3), _PAGE, np.uint8)
    (x1, y1), (x2, y2) = spot.corners.min(axis=0), spot.corners.max(axis=0)
    room = 1.1 if spot.part == "none" else _ROOM
    scale = min(width / max(4.0, x2 - x1), height / max(4.0, y2 - y1)) / room
    corners = spot.corners * scale
    if scale < 1:  # warping would skip pixels
        image, scale = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), 1.0
    shift = np.array([width / 2, height / 2]) - (corners.min(axis=0) + corners.max(axis=0)) / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    cell = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderValue=_PAGE)
    if spot.part != "none":
        outline = np.round(corners + shift).astype(np.int32)
        cv2.polylines(cell, [outline], True, _PARTS[spot.part][2], 2, cv2.LINE_AA)
    return cell


def _corner(place: int) -> tuple[int, int]:
    """Left and top of a cell in its page's picture, in pixels."""
    return _GAP + place % _COLUMNS * (_CELL[0] + _GAP), _GAP + place // _COLUMNS * (_CELL[1] + _GAP)


def _page(cells: Sequence[np.ndarray]) -> np.ndarray:
    width, height = _CELL
    rows = -(-len(cells) // _COLUMNS)
    page = np.full((rows * (height + _GAP) + _GAP, _COLUMNS * (width + _GAP) + _GAP, 3), _PAGE, np.uint8)
    for place, cell in enumerate(cells):
        left, top = _corner(place)
        page[top : top + height, left : left + width] = cell
    return page
