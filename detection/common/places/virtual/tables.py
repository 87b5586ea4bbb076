"""Parquet tables with photos in them: a column of bytes, as many data sets have it, is a folder of photos."""

from __future__ import annotations

import errno
import io
import threading
from pathlib import Path
from typing import Any

from detection.common.errors import UsageError, need
from detection.common.places.faults import PlaceError
from detection.common.places.store import Entry, Listing, checked, mark_of
from detection.common.places.virtual.archives import IndexedStore, Ranges
from detection.common.places.virtual.lists import COLUMNS

_KEPT = 2  # groups of rows whose bytes are kept: photos come about in their order
_NAMES = (*COLUMNS, "name", "key", "__key__")


class TableStore(IndexedStore):
    """The photos in a table's column of bytes; each is called by a column of names, else by its row: 0000000.jpg."""

    def __init__(self, path: Path):
        """Raises `UsageError` for a table that can't be read, or has no column of bytes."""
        super().__init__(str(path))
        self.slow = True  # photos come by the group
        need("pyarrow", f"'{path}'", extra="parquet")
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._table = pq.ParquetFile(io.BufferedReader(Ranges(path), 1 << 20))
            schema = self._table.schema_arrow
        except PlaceError as error:
            raise UsageError(f"'{path}' can't be read: {error.strerror}.") from error
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UsageError(f"'{path}' is not a parquet table that can be read here, or it is damaged.") from error
        self._column, self._inside = _column_of_bytes(schema, path)
        own = (path.stat().st_size, path.stat().st_mtime_ns)
        groups = self._table.metadata
        self._places: dict[str, tuple[int, int]] = {}
        self._left_out: list[str] = []
        self._entries: dict[str, Entry] = {}
        rows = [
            (group, row) for group in range(groups.num_row_groups) for row in range(groups.row_group(group).num_rows)
        ]
        names = self._names(schema, len(rows))
        for number, (name, place) in enumerate(zip(names, rows, strict=True)):
            for entry in checked([Entry(name, 1, mark_of(*own, number))], self.root, self._left_out):
                self._entries[entry.key], self._places[entry.key] = entry, place
        self._lock = threading.Lock()
        self._groups: dict[int, Any] = {}

    def entries(self) -> dict[str, Entry]:
        return self._entries

    def walk(self) -> Listing:
        return Listing(list(self._entries.values()), list(self._left_out))

    def read(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        if key not in self._places:
            raise PlaceError(errno.ENOENT, "it is not there")
        group, row = self._places[key]
        with self._lock:
            if group not in self._groups:
                while len(self._groups) >= _KEPT:
                    self._groups.pop(next(iter(self._groups)))
                try:
                    self._groups[group] = self._table.read_row_group(group, columns=[self._column]).column(0)
                except Exception as error:  # Arrow has many kinds for damaged tables
                    raise PlaceError(errno.EIO, "the table is damaged there") from error
            value = self._groups[group][row].as_py()
        data = value.get(self._inside) if isinstance(value, dict) else value
        return (data or b"")[start:end]

    def _names(self, schema: Any, count: int) -> list[str]:
        """By a column of names where each is another one."""
        numbered = [f"{number:07d}.jpg" for number in range(count)]
        inside = f"{self._column}.path" if self._inside else ""
        for column in [*([inside] if inside else []), *(name for name in _NAMES if name in schema.names)]:
            if column != inside and str(schema.field(column).type) not in ("string", "large_string"):
                continue
            try:
                values = self._table.read(columns=[column]).column(0).to_pylist()
            except Exception:  # a struct without a path
                continue
            names = [value.get("path") if isinstance(value, dict) else value for value in values]
            texts = [name for name in names if isinstance(name, str) and name]
            if len(texts) == len(set(texts)) == count:
                return texts
        return numbered


def _column_of_bytes(schema: Any, path: Path) -> tuple[str, str]:
    for field in schema:
        kind = str(field.type)
        if kind in ("binary", "large_binary"):
            return field.name, ""
        if kind.startswith("struct<") and "bytes: binary" in kind:
            return field.name, "bytes"
    raise UsageError(f"'{path}' has no column of bytes: it must hold the photos, or be a list of their paths as csv.")
