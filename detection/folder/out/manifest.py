"""The rows of a folder run: what is known of each photo, and manifest.csv and vehicles.csv made from it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from detection.common.files import escape_name, file_stamp, read_name, write_changed
from detection.common.places.place import Place
from detection.common.rows import json_line, parse_row

COLUMNS = (
    *("source", "output", "status", "reason", "score", "x1", "y1", "x2", "y2"),
    *("mask_area", "candidates", "width", "height", "kind"),
)
OLDER_COLUMNS = COLUMNS[:-1]  # those of version 0.4.0
# Further ones of a run that hides: how many, the corners of each (JSON, x and y in pixels), how sure each is, the same
# of what was nearly hidden, and what each is: plate or face.
_HIDDEN = ("hidden", "hidden_at", "hidden_scores", "nearly_hidden", "nearly_at", "hidden_kinds", "nearly_kinds")
HIDDEN_COLUMNS = (*COLUMNS, *_HIDDEN)
STATUSES = ("ok", "no_car", "unreadable", "error")
FAILED = ("unreadable", "error")
CROP_COLUMNS = ("output", "rank", "kind", "score", "x1", "y1", "x2", "y2", "mask_area")


@dataclass(frozen=True, slots=True)
class Crop:
    """One of several cut-outs of a photo: a row of vehicles.csv without the source (text, see `CROP_COLUMNS`)."""

    cells: tuple[str, ...]
    size: int

    @property
    def output(self) -> str:
        return self.cells[0]


@dataclass(frozen=True, slots=True)
class Record:
    """One photo's row, and what tells on a later run that it still holds.

    cells: the manifest's row as text, one string for each of `COLUMNS`, or of `HIDDEN_COLUMNS`.
    stamp: size in bytes and mtime in ns of the source; None when it can't be asked.
    output_size: size in bytes of the written file; None when nothing was to be written.
    crops: of a run with a cut-out of every vehicle, each of them, the first one (`output`) included.
    """

    cells: tuple[str, ...]
    stamp: tuple[int, int] | None
    output_size: int | None
    crops: tuple[Crop, ...] = ()

    @property
    def source(self) -> str:
        return self.cells[0]

    @property
    def output(self) -> str:
        return self.cells[1]

    @property
    def status(self) -> str:
        return self.cells[2]

    @property
    def reason(self) -> str:
        return self.cells[3]

    @property
    def files(self) -> dict[str, int | None]:
        """The size in bytes of each file that was written for the photo, by its path below OUT."""
        written = {self.output: self.output_size} if self.output else {}
        return written | {crop.output: crop.size for crop in self.crops}

    def holds(self, source: Path, output_root: Path) -> bool:
        """Whether the source is unchanged and all outputs are there, whole."""
        if file_stamp(source) != self.stamp:
            return False
        try:
            return all(_size(output_root / name) == size for name, size in self.files.items())
        except OSError:
            return False

    def line(self) -> bytes:
        """The record as a line of the journal."""
        values: dict[str, Any] = {"cells": self.cells, "stamp": self.stamp, "output_size": self.output_size}
        if self.crops:
            values["crops"] = [[crop.cells, crop.size] for crop in self.crops]
        return json_line(values)


def parse_record(line: bytes) -> Record | None:
    """The record of a journal's line; None when it is damaged."""
    try:
        values = parse_row(line) or {}
        stamp = None if values["stamp"] is None else (int(values["stamp"][0]), int(values["stamp"][1]))
        crops = tuple(Crop(tuple(map(str, cells)), int(size)) for cells, size in values.get("crops", ()))
        cells = tuple(map(str, values["cells"]))
        record = Record(cells + ("",) * (len(cells) == len(OLDER_COLUMNS)), stamp, values["output_size"], crops)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return None
    if len(record.cells) not in (len(COLUMNS), len(HIDDEN_COLUMNS)) or any(
        len(crop.cells) != len(CROP_COLUMNS) for crop in crops
    ):
        return None
    return record if record.status in STATUSES else None


def row_cells(
    source: str,
    status: str,
    *,
    output: str = "",
    reason: str = "",
    score: float | None = None,
    box: tuple[float, float, float, float] | None = None,
    mask_area: int | None = None,
    candidates: int | None = None,
    size: tuple[int, int] | None = None,
    kind: str = "",
) -> tuple[str, ...]:
    """A manifest row as text; `box` is xyxy and `size` (height, width), both in pixels of the EXIF-turned photo."""
    corners = ("",) * 4 if box is None else _corners(box)
    height, width = size or ("", "")
    tail = ("" if value is None else str(value) for value in (mask_area, candidates, width, height))
    return (source, output, status, reason, "" if score is None else f"{score:.4f}", *corners, *tail, kind)


def crop_cells(
    output: str, rank: int, kind: str, score: float, box: tuple[float, float, float, float], mask_area: int
) -> tuple[str, ...]:
    """A row of vehicles.csv as text, without the source; rank 1 is the main vehicle."""
    return (output, str(rank), kind, f"{score:.4f}", *_corners(box), str(mask_area))


def write_manifest(path: Path, records: Callable[[], Iterable[Record]], hidden: bool = False) -> None:
    """Writes manifest.csv (UTF-8; of names that are not, see `escape_name`) by temp file and rename.

    `records` gives them anew at each call: they are gone through twice, and never all in memory.
    hidden: of a run that hides.
    """
    columns = HIDDEN_COLUMNS if hidden else COLUMNS
    write_changed(path, lambda: _csv(columns, (_as_long(record.cells, len(columns)) for record in records())))


def write_vehicles(path: Path, records: Callable[[], Iterable[Record]]) -> None:
    """Writes vehicles.csv, one row per cut-out, in the same way."""
    write_changed(
        path,
        lambda: _csv(
            ("source", *CROP_COLUMNS), ((record.source, *crop.cells) for record in records() for crop in record.crops)
        ),
    )


def read_manifest(path: Path) -> list[dict[str, str]]:
    """The rows of a manifest.csv, all values as text."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return [{key: read_name(value) if value else value for key, value in row.items()} for row in rows]


def _size(path: Path) -> int:
    return path.stat().st_size if isinstance(path, Place) else os.stat(path).st_size


def _csv(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    rows = iter(rows)
    while some := list(islice(rows, 1000)):
        writer.writerows([escape_name(cell) for cell in row] for row in some)
        yield text.getvalue().encode("utf-8")
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode("utf-8")


def _as_long(cells: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Rows of photos that could not be read say nothing of what was hidden."""
    return cells + ("",) * (count - len(cells))


def _corners(box: tuple[float, float, float, float]) -> tuple[str, ...]:
    return tuple(f"{value:.1f}" for value in box)
