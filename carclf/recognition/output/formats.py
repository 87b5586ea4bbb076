"""Rows of predictions in the formats that people and programs read: always a stream, never all of them in memory."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from carclf.recognition.output.text_table import table_lines
from carclf.recognition.prediction import Prediction
from detection.common.errors import UsageError
from detection.common.files import check_output, escape_name, escaped, replace_chunks
from detection.images.find import IMAGE_SUFFIXES

FORMATS = ("table", "csv", "json", "jsonl", "parquet")
_SUFFIXES = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_SUFFIXES |= {".txt": "table"}


def choose_format(format: str | None, output: Path | None) -> str:
    """The format that was asked for, else the one of the output's suffix. Raises `UsageError`, also without pyarrow."""
    if format is None and output is not None:
        format = _SUFFIXES.get(output.suffix.lower())
        if format is None:
            known = ", ".join(_SUFFIXES)
            raise UsageError(f"The suffix of '{output}' is none of {known}: choose the format with --format.")
    format = format or "table"
    if format not in FORMATS:
        raise UsageError(f"Unknown format '{format}': choose {', '.join(FORMATS)}.")
    if format == "parquet":
        if output is None:
            raise UsageError("Parquet can't be written to standard output: name a file with --output.")
        from carclf.recognition.output.parquet import check_parquet

        check_parquet()
    return format


def check_target(output: Path | None, photos: Sequence[str]) -> None:
    """Raises `UsageError` when the rows can't be written there, or would take the place of a photo or list."""
    check_output(output)
    if output is None:
        return
    if output.suffix.lower() in IMAGE_SUFFIXES:
        raise UsageError(f"'{output}' is the name of a photo: give the output file another name.")
    if output.exists() and any(os.path.exists(photo) and os.path.samefile(photo, output) for photo in photos):
        raise UsageError(f"'{output}' is an input, so it can't be the output too: give the output file another name.")


def row_of(prediction: Prediction, columns: Sequence[str]) -> dict:
    """A prediction as plain lists and numbers, with just these values."""
    row = prediction.row()
    return {name: row.get(name) for name in columns}


def encoded(
    rows: Iterable[dict], format: str, columns: Sequence[str], colours: bool = False, width: int | None = None
) -> Iterator[bytes]:
    """The rows in one of `FORMATS`, piece by piece, each piece as soon as its row is there (of tables after some).

    In csv, `top` and `box` are JSON lists, so that a cell can be read back. Text is UTF-8; for a file name that is not,
    see `escape_name`. colours, width: of a table for a terminal.
    """
    if format == "json":
        return _json(rows)
    if format == "jsonl":
        return (_bytes(f"{_text(row)}\n") for row in rows)
    if format == "csv":
        return _csv(rows, columns)
    if format == "parquet":
        from carclf.recognition.output.parquet import parquet_chunks

        return parquet_chunks(rows, columns)
    return (_bytes(f"{line}\n") for line in table_lines(rows, columns, colours, width))


def write_rows(path: Path, rows: Iterable[dict], format: str, columns: Sequence[str]) -> None:
    """Writes to a temp file and renames it, so a reader never sees half of it. Raises `UsageError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_chunks(path, encoded(rows, format, columns))
    except OSError as error:
        raise UsageError(f"The output '{path}' can't be written: {error.strerror or error}.") from error


def _json(rows: Iterable[dict]) -> Iterator[bytes]:
    """A list with one row per line."""
    before = "[\n "
    for row in rows:
        yield _bytes(before + _text(row))
        before = ",\n "
    yield b"[]\n" if before == "[\n " else b"\n]\n"


def _csv(rows: Iterable[dict], columns: Sequence[str]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")

    def line(values: Iterable) -> bytes:
        text.seek(0)
        text.truncate()
        writer.writerow(values)
        return _bytes(text.getvalue())

    yield line(columns)
    for row in rows:
        yield line(_cell(row[name]) for name in columns)


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, str):
        return escape_name(value)
    return _text(value) if isinstance(value, list) else value


def _text(value: object) -> str:
    """JSON on one line, of readable unicode."""
    return json.dumps(escaped(value), ensure_ascii=False)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8")
