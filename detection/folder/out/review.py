"""What a person should look at after a run that hid something: review.csv, and pages of what was hidden, and nearly."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from detection.common.files import escape_name, replace_file
from detection.common.output_folder import OutputFolder
from detection.folder.out.manifest import read_manifest
from detection.images.read import ImageError, load_image
from detection.images.write import save_image

REVIEW = "review.csv"
UNSURE = 0.5  # below it something was hidden, but may be nothing private
_MARK = '<meta name="generator" content="carclf hidden sheet">'
_CELL, _COLUMNS, _ROWS = (168, 112), 8, 10
_HIDDEN, _NEAR, _PAGE = (24, 150, 56), (220, 40, 40), (233, 233, 236)
_ROOM = 1.6  # of a cell, in multiples of what was found


@dataclass(frozen=True)
class Spot:
    """A plate or face in a photo. corners: 4x2. score: None for one that was nearly hidden. kind: plate or face."""

    source: str
    corners: np.ndarray
    score: float | None
    kind: str


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
    """Writes page-00001.jpg, ... and index.html into the folder `target`: the surroundings of each find in the photo.

    Nearly hidden ones come first (red), then hidden ones (green), the least sure first. limit: of finds.
    Raises `UsageError` when `target` holds other files. The pages show plates and faces: they are not to be passed on.
    """
    folder = OutputFolder(target, _is_sheet, failed=f"The contact sheet can't be written to '{target}'")
    folder.check(
        f"The folder '{target}' holds other files: choose an empty one for the contact sheet.",
        file=f"The contact sheet '{target}' is to be a folder, and there is a file of that name.",
    )
    spots = sorted(_spots(manifest), key=lambda spot: -1.0 if spot.score is None else spot.score)
    shown = spots[:limit]
    note = f"<!doctype html>{_MARK}<p>The pages are being made."
    folder.make(lambda: replace_file(target / "index.html", note.encode()))
    cells = dict(_cells(source, shown))
    pages: list[Path] = []
    figures: list[str] = []
    for start in range(0, len(shown), _COLUMNS * _ROWS):
        part = range(start, min(start + _COLUMNS * _ROWS, len(shown)))
        pages.append(target / f"page-{len(pages) + 1:05d}.jpg")
        save_image(pages[-1], _page([cells[place] for place in part]), 88)
        names = "".join(f"<li>{escape(_said(shown[place]))}" for place in part)
        figures.append(f'<figure><img src="{pages[-1].name}"><ol start="{start + 1}">{names}</ol></figure>')
    for path in target.glob("page-*.jpg"):
        if path not in pages:
            path.unlink()
    near = sum(spot.score is None for spot in spots)
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8">{_MARK}<title>Hidden and nearly hidden</title>'
        "<style>body{font:15px sans-serif;margin:24px;background:#e9e9ec}img{max-width:100%}li{margin:2px}"
        "ol{columns:3}</style>"
        f"<h1>{near} nearly hidden, {len(spots) - near} hidden</h1><p>Red: nearly hidden, look whether it is a "
        "plate or a face. "
        f"Green: hidden, the least sure first. {len(shown)} of {len(spots)} are shown. These pages show plates and "
        "faces: do not pass them on."
    )
    replace_file(target / "index.html", (text + "".join(figures)).encode("utf-8", "backslashreplace"))
    return pages


def _is_sheet(folder: Path) -> bool:
    try:
        return _MARK in (folder / "index.html").read_text("utf-8")
    except (OSError, ValueError):
        return False


def _said(spot: Spot) -> str:
    said = "nearly hidden" if spot.score is None else f"hidden, {spot.score:.2f}"
    return f"{spot.source}: {said}, {spot.kind}"


def _spots(manifest: Path) -> Iterator[Spot]:
    for row in read_manifest(manifest):
        scores = json.loads(row["hidden_scores"] or "[]")
        kinds, near_kinds = (json.loads(row[name] or "[]") for name in ("hidden_kinds", "nearly_kinds"))
        for corners, score, kind in zip(json.loads(row["hidden_at"] or "[]"), scores, kinds, strict=False):
            yield Spot(row["source"], np.array(corners, np.float32), float(score), kind)
        for corners, kind in zip(json.loads(row["nearly_at"] or "[]"), near_kinds, strict=False):
            yield Spot(row["source"], np.array(corners, np.float32), None, kind)


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
    scale = min(width / max(4.0, x2 - x1), height / max(4.0, y2 - y1)) / _ROOM
    shift = np.array([width / 2, height / 2]) - scale * np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    cell = cv2.warpAffine(image, matrix, (width, height), flags=how, borderValue=_PAGE)
    outline = np.round(spot.corners * scale + shift).astype(np.int32)
    cv2.polylines(cell, [outline], True, _NEAR if spot.score is None else _HIDDEN, 2)
    return cell


def _page(cells: Sequence[np.ndarray]) -> np.ndarray:
    width, height = _CELL
    rows = -(-len(cells) // _COLUMNS)
    page = np.full((rows * (height + 6) + 6, _COLUMNS * (width + 6) + 6, 3), _PAGE, np.uint8)
    for number, cell in enumerate(cells):
        top, left = 6 + number // _COLUMNS * (height + 6), 6 + number % _COLUMNS * (width + 6)
        page[top : top + height, left : left + width] = cell
    return page
