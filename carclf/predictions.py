"""What `carclf predict` reads and writes: the list of photos, and the rows as table, csv or json."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detection.errors import UsageError

if TYPE_CHECKING:
    from carclf.recognition.prediction import Prediction

COLUMNS = ("file", "status", "label", "confidence", "top", "box", "reason")
FORMATS = ("table", "csv", "json")
FAILED = ("unreadable", "error")


def list_photos(arguments: Sequence[str]) -> list[str]:
    """Files as given, folders replaced by the photos in them (recursive, sorted; the folder's path as given stays).

    A single missing file among others stays in the list and becomes a row. Raises `UsageError` when nothing
    of what is given exists, or when a folder holds no photo.
    """
    from detection.images import find_images

    if not any(os.path.lexists(argument) for argument in arguments):
        others = f" (nor do the other {len(arguments) - 1})" if len(arguments) > 1 else ""
        raise UsageError(f"The file or folder '{arguments[0]}' does not exist{others}: check the path.")
    photos = []
    for argument in arguments:
        if not os.path.isdir(argument):
            photos.append(argument)
            continue
        found = find_images(Path(argument))
        if not found:
            raise UsageError(f"The folder '{argument}' holds no photo (.jpg, .png, .webp, ...): check the path.")
        photos.extend(str(path) for path in found)
    return photos


def exit_code(predictions: Sequence[Prediction]) -> int:
    """0 when every photo was read (a photo without a car is an answer), 3 when some failed."""
    return 3 if any(prediction.status in FAILED for prediction in predictions) else 0


def summary(predictions: Sequence[Prediction]) -> str:
    """For example `12 photos: 10 ok, 1 no_car, 1 unreadable`."""
    counts = Counter(prediction.status for prediction in predictions)
    order = ("ok", "no_car", *FAILED)
    parts = [f"{counts[status]} {status}" for status in order if counts[status]]
    return f"{len(predictions)} photo{'s' * (len(predictions) != 1)}: {', '.join(parts)}"


def format_rows(predictions: Sequence[Prediction], format: str) -> str:
    """All rows as text. In csv, `top` and `box` are JSON lists, so that a cell can be read back."""
    rows = [prediction.row() for prediction in predictions]
    if format == "json":
        return _json(rows, indent=1) + "\n"
    if format == "csv":
        return _csv(rows)
    if format == "table":
        return _table(predictions)
    raise UsageError(f"Unknown format '{format}': choose {', '.join(FORMATS)}.")


def check_output(path: str | Path | None) -> None:
    """Finds out before the long work, not after it, that the result can't be written. Raises `UsageError`."""
    if path is None:
        return
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"The output '{path}' is a folder: name a file in it.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"The output '{path}' can't be written: {error.strerror or error}.") from error


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 to a temp file in the same folder and renames it, so a reader never sees half of it."""
    from detection.files import replace_file

    try:
        replace_file(Path(path), encode(text))
    except OSError as error:
        raise UsageError(f"The output '{path}' can't be written: {error.strerror or error}.") from error


def encode(text: str) -> bytes:
    """UTF-8; a file name that is not UTF-8 goes out as the bytes it is on disk."""
    return text.encode("utf-8", "surrogateescape")


def _json(value, indent: int | None = None) -> str:
    """One row a line when indented; readable unicode, except where a file name is not valid UTF-8."""

    def dump(part) -> str:
        text = json.dumps(part, ensure_ascii=False)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            text = json.dumps(part)
        return text

    if indent is None:
        return dump(value)
    return "[\n" + ",\n".join(" " * indent + dump(part) for part in value) + "\n]"


def _csv(rows: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        packed = {"top": _json(row["top"]), "box": "" if row["box"] is None else _json(row["box"])}
        writer.writerow({key: "" if value is None else value for key, value in (row | packed).items()})
    return text.getvalue()


def _table(predictions: Sequence[Prediction]) -> str:
    """Plain aligned columns: they survive a pipe and a narrow terminal, which cuts framed tables."""
    lines = [("file", "status", "label", "confidence", "next best")]
    for one in predictions:
        confidence = "" if one.confidence is None else f"{one.confidence:.1%}"
        others = ", ".join(f"{label} {probability:.1%}" for label, probability in one.top[1:3])
        note = f"({one.reason})" if one.reason else ""
        lines.append((_printable(one.file), one.status, one.label or "", confidence, f"{others} {note}".strip()))
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    text = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[4]]).rstrip()
        for line in lines
    ]
    return "\n".join(text) + "\n"


def _printable(file: str) -> str:
    return os.fsencode(file).decode("utf-8", "replace").replace("\n", "?")
