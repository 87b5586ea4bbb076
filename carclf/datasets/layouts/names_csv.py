"""The table of names: a csv that says which make and model each class is of."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

from carclf.datasets.layouts.csv_file import canonical, read_csv_text
from carclf.datasets.names import names
from detection.common.errors import UsageError

NAMES = "names.csv"  # beside the data
_CLASS = "class"
_COLUMNS = (_CLASS, "make", "model", "body", "years", "trim")


def read_names(path: Path) -> dict[str, dict[str, str]]:
    """Class -> its parts, by the columns make, model, body, years and trim; the last four may be missing.

    Raises `UsageError` for a file that can't be read, lacks class or make, or lists a class twice or without a name.
    """
    try:
        text, delimiter = read_csv_text(path, _COLUMNS)
        with StringIO(text, newline="") as file:
            rows = csv.reader(file, delimiter=delimiter)
            header = canonical(next(rows, []), _COLUMNS)
            lines = [(rows.line_num, row) for row in rows if any(cell.strip() for cell in row)]
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"'{path}' can't be read as a csv: {getattr(error, 'strerror', None) or error}.") from error
    if _CLASS not in header or "make" not in header:
        raise UsageError(f"'{path}' must have the columns class and make; it has {names(header) or 'none'}.")
    table: dict[str, dict[str, str]] = {}
    for line, row in lines:
        parts = {name: cell.strip() for name, cell in zip(header, row, strict=False) if name in _COLUMNS}
        name = parts.pop(_CLASS, "")
        if not name:
            raise UsageError(f"'{path}' gives no class in line {line}: each line needs one.")
        if name in table:
            raise UsageError(f"'{path}' lists the class '{name}' twice, again in line {line}: keep one line.")
        table[name] = parts
    if not table:
        raise UsageError(f"'{path}' lists no classes.")
    return table
