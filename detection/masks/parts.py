"""Which photos are fitted to, chosen by and reported on: lists of content hashes, so that a photo may move."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from detection.common.errors import UsageError
from detection.common.files import file_sha256, user_path

FIT, CHOOSE, REPORT = PARTS = ("fit", "choose", "report")
DIGEST, PART = COLUMNS = ("sha256", "part")
_DIGITS = 16  # of a photo's SHA-256: two of a million photos share them once in 37 million sets


def read_parts(path: str | Path) -> dict[str, str]:
    """Digest -> fit, choose or report, of a csv of `sha256,part`. Raises `UsageError` for anything else."""
    path = user_path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"'{path}' can't be read as a list of parts: {why}.") from error
    parts: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        digest, part = row.get(DIGEST) or "", row.get(PART) or ""
        if not {DIGEST, PART} <= set(row):
            raise UsageError(
                f"'{path}' must have the columns {','.join(COLUMNS)}: scripts/split_photos.py writes such lists."
            )
        if part not in PARTS:
            raise UsageError(f"Line {number} of '{path}' names the part '{part}': known are {', '.join(PARTS)}.")
        if parts.setdefault(digest, part) != part:
            raise UsageError(f"'{path}' puts {digest} into several parts: keep one line of it.")
    return parts


def part_of(photo: str | Path, parts: Mapping[str, str]) -> str:
    """The part of a photo by its content: one that the list does not name is to fit to."""
    return parts.get(file_digest(photo), FIT)


def file_digest(path: str | Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a file."""
    return file_sha256(path).hex()[:_DIGITS]
