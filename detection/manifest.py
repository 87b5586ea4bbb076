"""The record of a folder run: one row a photo, a journal that survives kill -9, and manifest.csv made from it."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from detection.errors import UsageError
from detection.files import replace_file

COLUMNS = ("source", "output", "status", "reason", "score", "x1", "y1", "x2", "y2")
COLUMNS += ("mask_area", "candidates", "width", "height")
STATUSES = ("ok", "no_car", "unreadable", "error")
FAILED = ("unreadable", "error")


@dataclass(frozen=True)
class Record:
    """One photo's row, and what tells on a later run that it still holds.

    cells: the manifest's row as text, one string for each of `COLUMNS`.
    stamp: size in bytes and mtime in ns of the source; None when it can't be asked.
    output_size: size in bytes of the written file; None when nothing was to be written.
    """

    cells: tuple[str, ...]
    stamp: tuple[int, int] | None
    output_size: int | None

    @property
    def source(self) -> str:
        return self.cells[0]

    @property
    def output(self) -> str:
        return self.cells[1]

    @property
    def status(self) -> str:
        return self.cells[2]

    def holds(self, source: Path, output_root: Path) -> bool:
        """Whether the source is unchanged and the output is there, whole."""
        if file_stamp(source) != self.stamp:
            return False
        if not self.output:
            return True
        try:
            return os.stat(output_root / self.output).st_size == self.output_size
        except OSError:
            return False


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
) -> tuple[str, ...]:
    """A manifest row as text; `box` is xyxy and `size` (height, width), both in pixels of the EXIF-turned photo."""
    corners = ("",) * 4 if box is None else tuple(f"{value:.1f}" for value in box)
    height, width = size or ("", "")
    tail = ("" if value is None else str(value) for value in (mask_area, candidates, width, height))
    return (source, output, status, reason, "" if score is None else f"{score:.4f}", *corners, *tail)


def file_stamp(path: Path) -> tuple[int, int] | None:
    """Size and mtime (ns) of a file; None when it can't be asked (a broken link)."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


class Journal:
    """The rows of a run so far, one JSON line each, appended when the photo is done.

    JSON and not csv: a file name with a line break must not break a line, as a line is what can be torn. Only one
    run at a time can have it open; the lock goes with the process, however that ends.
    """

    def __init__(self, path: Path):
        self.path = path
        self.records: dict[str, Record] = {}
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise UsageError(f"Another run writes to '{path.parent}': wait for it, or choose another OUT.") from error
        self._recover()

    def append(self, record: Record) -> None:
        """Adds a row. One write call a line, so that only the last line can ever be torn."""
        os.write(self._file, _line(record))
        self.records[record.source] = record

    def clear(self) -> None:
        """Forgets all rows."""
        os.ftruncate(self._file, 0)
        self.records.clear()

    def finish(self, sources: Iterable[str]) -> list[Record]:
        """The rows of `sources` in order of name; the journal is rewritten to hold just these, in that order."""
        records = [self.records[source] for source in sorted(sources)]
        write_changed(self.path, b"".join(map(_line, records)))
        return records

    def close(self) -> None:
        os.close(self._file)

    def _recover(self) -> None:
        """Reads the rows; a torn last line is cut off, a damaged one in between is passed over."""
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._file, whole)
        for line in content[:whole].splitlines():
            try:
                values = json.loads(line)
                stamp = None if values["stamp"] is None else (int(values["stamp"][0]), int(values["stamp"][1]))
                cells = tuple(str(cell) for cell in values["cells"])
                record = Record(cells, stamp, values["output_size"])
            except (ValueError, KeyError, TypeError, IndexError):
                continue
            if len(cells) == len(COLUMNS) and record.status in STATUSES:
                self.records[record.source] = record


def write_manifest(path: Path, records: Iterable[Record]) -> None:
    """Writes manifest.csv (UTF-8; names that are not UTF-8 keep their bytes) by temp file and rename."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(record.cells for record in records)
    write_changed(path, text.getvalue().encode("utf-8", "surrogateescape"))


def read_manifest(path: Path) -> list[dict[str, str]]:
    """The rows of a manifest.csv, all values as text."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def write_changed(path: Path, content: bytes) -> None:
    """Replaces the file unless it holds this already: a finished run started again touches nothing."""
    try:
        if path.read_bytes() == content:
            return
    except FileNotFoundError:
        pass
    replace_file(path, content)


def _line(record: Record) -> bytes:
    # ASCII with escapes: also names that are not UTF-8 come back as they were.
    return json.dumps(asdict(record)).encode("ascii") + b"\n"
