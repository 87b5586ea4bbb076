"""The result of `carclf data audit`."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from carclf.datasets.names import file_below
from carclf.tools.audit.audit import TABLE
from carclf.tools.audit.looks import NAME
from carclf.tools.audit.photos import FORMAT, PHOTOS
from carclf.tools.review.photos import Entry, Issue, Outline, Photos
from detection.common.errors import UsageError
from detection.common.files import check_format, names_read
from detection.common.files.placed import PlacedFile
from detection.common.places.paths import path_of
from detection.common.rows import RowLog, parse_row

_LABEL = "label"
# What makes a label wrong, or a photo worthless, comes before what only makes it harder.
_FIRST = ("label", "outlier", "duplicate", "odd file", "sideways")


def read_audit(folder: Path, images: Path | None) -> Photos:
    """All photos that were audited, with their issues. images: where the photos lie now, if not where they did."""
    issues = _issues(folder / TABLE)
    lines = _Lines(folder / PHOTOS)
    root = images or path_of(lines.head["root"])
    if not root.is_dir():
        raise UsageError(f"The photos of '{folder}' are no longer in '{root}': pass their folder with --images.")
    photos = Photos.of("audit", folder.name, _entries(lines, root, issues))
    photos.outline = lines.outline
    if (folder / NAME).is_file():
        photos.vectors = folder / NAME
    return photos


def _entries(lines: _Lines, root: Path, issues: dict[str, list[Issue]]) -> Iterator[Entry]:
    for row in lines:
        name, label = row["file"], row["class"]
        found = issues.get(name, [])
        suspicion = max((one.score * (1.0 if one.name in _FIRST else 0.5) for one in found), default=0.0)
        top = [(one, share) for one, share in row.get("top", ())]
        suggestion = next((one.text for one in found if one.name == _LABEL), "")
        if not found and top:  # less than issues have, but in order
            suspicion = 0.25 * (1 - dict(top).get(label, 0.0))
        group = f"{label} → {suggestion}" if suggestion else (f"{found[0].name}: {label}" if found else label)
        yield Entry(
            file_below(root, name), name, label, suspicion, found, suggestion, group, top, row.get("box"),
            row.get("size"), row.get("split", ""), row.get("sha256", ""),
        )  # fmt: skip


def _issues(path: Path) -> dict[str, list[Issue]]:
    found: dict[str, list[Issue]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                row = names_read(row)
                found.setdefault(row["file"], []).append(Issue(row["issue"], float(row["score"]), row["suggestion"]))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UsageError(f"'{path}' can't be read as a result of carclf data audit: run it again.") from error
    return found


class _Lines:
    """photos.jsonl: read once from start to end; after that single lines are found by their place."""

    def __init__(self, path: Path):
        """Raises `UsageError` for anything else."""
        self.path = path
        self._places = array("Q")
        try:
            self._file = PlacedFile(path)
            first = parse_row(self._file.lines().readline())
        except OSError as error:
            raise UsageError(f"'{path}' can't be read: {error.strerror}.") from error
        if first is None or not isinstance(first.get("root"), str):
            raise UsageError(f"'{path}' is no list of an audit: run carclf data audit again.")
        check_format(path, first.get("audit"), FORMAT)
        self.head: dict[str, Any] = first

    def __iter__(self) -> Iterator[dict[str, Any]]:
        log = RowLog(self.path, read_only=True)
        try:
            for number, (place, line) in enumerate(log.lines()):
                if number:
                    row = parse_row(line)
                    if row is None or not isinstance(row.get("file"), str) or not isinstance(row.get("class"), str):
                        raise UsageError(f"Line {number + 1} of '{self.path}' is damaged: run carclf data audit again.")
                    self._places.append(place)
                    yield row
        finally:
            log.close()

    def outline(self, number: int) -> Outline | None:
        place = self._places[number]
        end = self._places[number + 1] if number + 1 < len(self._places) else self._file.size
        row = parse_row(self._file.read(int(end - place), int(place)).split(b"\n")[0]) or {}
        return row.get("outline")
