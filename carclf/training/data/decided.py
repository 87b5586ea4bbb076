"""What people decided about photos without labels: the lines of a folder's corrections.jsonl."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detection.common.errors import UsageError
from detection.common.rows import RowLog, parse_row

JOURNAL = "corrections.jsonl"
_LABELS, _NO_CAR, _UNDO = ("accept", "class"), "no_car", "undo"


@dataclass(frozen=True)
class Decided:
    """label: the class that a person gave or found right; None for a photo without a car."""

    label: str | None


@dataclass
class DecidedPhotos:
    """By the content of photos, or of those that they were cut out of (the first 16 digits of the SHA-256)."""

    known: dict[str, Decided] = field(default_factory=dict)

    def find(self, own: str, source: str = "") -> Decided | None:
        """What was decided last about a photo of this content, or the one that it was cut out of."""
        return self.known.get(own) or (self.known.get(source) if source else None)


def read_decided(folder: Path) -> DecidedPhotos:
    """The last decision of a person about each photo of a folder; none where there is no journal.

    What was undone, left for later, or decided by a program, does not count. Raises `UsageError` for a journal that
    can't be read.
    """
    path = folder / JOURNAL
    found = DecidedPhotos()
    if not path.is_file():
        return found
    log = RowLog(path, read_only=True)
    try:
        rows = [row for _, line in log.lines() if (row := parse_row(line)) is not None]
    except OSError as error:
        raise UsageError(f"'{path}' can't be read: {error.strerror}.") from error
    finally:
        log.close()
    undone = {row.get("undoes") for row in rows if row.get("decision") == _UNDO}
    for row in rows:
        if row.get("id") not in undone and row.get("human", True) is not False:
            _note(found, row)
    return found


def _note(found: DecidedPhotos, row: dict[str, Any]) -> None:
    decision, new = row.get("decision"), row.get("new")
    if decision in _LABELS and isinstance(new, str) and new:
        decided = Decided(new)
    elif decision == _NO_CAR:
        decided = Decided(None)
    else:
        return
    for digest in (row.get("sha256"), row.get("source_sha256")):
        if isinstance(digest, str) and digest:
            found.known[digest] = decided
