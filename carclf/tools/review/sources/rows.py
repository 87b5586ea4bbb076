"""Rows that `carclf predict`, `embed` and `evaluate` wrote, read back from any of their formats."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from carclf.recognition.output.parquet import check_parquet
from detection.common.errors import UsageError
from detection.common.files import names_read
from detection.common.rows import parse_row

_NEEDED = ({"file", "status"}, {"file", "label", "predicted"})
_JSON_CELLS = ("top", "box")


def read_rows(path: Path) -> list[dict[str, Any]] | None:
    """The rows, `top` as pairs and `box` as numbers; None for a file of something else. Raises `UsageError` for one
    that has their ending and can't be read."""
    suffix = path.suffix.lower()
    try:
        if suffix in (".jsonl", ".ndjson"):
            with open(path, "rb") as file:
                rows: Any = [parse_row(line) for line in file if line.strip()]
        elif suffix == ".json":
            rows = names_read(json.loads(path.read_text(encoding="utf-8")))
        elif suffix == ".csv":
            rows = _read_csv(path)
        elif suffix == ".parquet":
            rows = _read_parquet(path)
        else:
            return None
    except UsageError:
        raise
    except Exception as error:  # each library has exceptions of its own
        raise UsageError(f"'{path}' can't be read: {error}.") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return None
    if not any(needed <= set(rows[0]) for needed in _NEEDED):
        return None
    if not all(isinstance(row.get("file"), str) for row in rows):
        raise UsageError(f"'{path}' has a row without a file: write it again with carclf predict.")
    return rows


def _read_csv(path: Path) -> list[dict[str, Any]] | None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.DictReader(file)
        if not any(needed <= set(lines.fieldnames or ()) for needed in _NEEDED):
            return None
        cells = [name for name in _JSON_CELLS if name in (lines.fieldnames or ())]
        rows = [row | {name: json.loads(row[name]) if row[name] else None for name in cells} for row in lines]
    return names_read(rows)


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    check_parquet()
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if name != "vector"]
        rows = names_read(file.read(columns=names).to_pylist())
    for row in rows:
        row["top"] = [(one["label"], one["probability"]) for one in row.get("top") or ()]
    return rows
