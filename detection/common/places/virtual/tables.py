"""Parquet tables of photos: a column of bytes, as many data sets have it, is a folder; one of paths is a list."""

from __future__ import annotations

import csv
import errno
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detection.common.errors import UsageError, need
from detection.common.places.faults import PlaceError
from detection.common.places.store import Entry, Listing, Store, checked, mark_of
from detection.common.places.virtual.archives import IndexedStore, Ranges
from detection.common.places.virtual.lists import COLUMNS, ListStore, paths_in

_KEPT = 2  # groups of rows whose bytes are kept: photos come about in their order
_TEXTS = ("string", "large_string", "string_view")
_OTHERS = ("struct", "list", "large_list", "map", "binary", "large_binary")
_NAMES = (*COLUMNS, "name", "key", "__key__")


class TableStore(IndexedStore):
    """The photos in a table's column of bytes; each is called by a column of names, else by its row: 0000000.jpg."""

    def __init__(self, path: Path):
        """Raises `UsageError` for a table that can't be read, or has no column of bytes."""
        super().__init__(str(path))
        self.slow = True  # photos come by the group
        self._table = _opened(path)
        schema = self._table.schema_arrow
        found = _column_of_bytes(schema)
        if found is None:
            raise UsageError(f"'{path}' has no column of bytes: it must hold the photos.")
        self._column, self._inside = found
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
            if column != inside and str(schema.field(column).type) not in _TEXTS:
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


def table_store(path: Path, open_path: Callable[[str], Path]) -> Store:
    """The photos of a table: those in it, or those that it lists. open_path: as of `ListStore`. Raises `UsageError`."""
    if not lists_paths(path):
        return TableStore(path)
    return ListStore(path, open_path, paths_in(as_csv(path).encode("utf-8", "surrogateescape"), f"{path}.csv"))


def lists_paths(path: Path) -> bool:
    """Whether the table names its photos, and holds none. Raises `UsageError` for one that does neither."""
    schema = _opened(path).schema_arrow
    if _column_of_bytes(schema) is not None:
        return False
    if any(name.lower() in COLUMNS and str(schema.field(name).type) in _TEXTS for name in schema.names):
        return True
    raise UsageError(
        f"'{path}' holds no photos: it needs a column of bytes, or one of paths or addresses called "
        f"{', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}."
    )


def as_csv(path: Path) -> str:
    """What a table holds in columns of texts and numbers, as a csv. Raises `UsageError`."""
    table = _opened(path)
    names = [field.name for field in table.schema_arrow if not str(field.type).startswith(_OTHERS)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    try:
        for batch in table.iter_batches(columns=names):
            for row in batch.to_pylist():
                writer.writerow(["" if row[name] is None else row[name] for name in names])
    except Exception as error:  # Arrow has many kinds for damaged tables
        raise UsageError(f"'{path}' is damaged.") from error
    return text.getvalue()


def _opened(path: Path) -> Any:
    need("pyarrow", f"'{path}'", extra="parquet")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(io.BufferedReader(Ranges(path), 1 << 20))
    except PlaceError as error:
        raise UsageError(f"'{path}' can't be read: {error.strerror}.") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError(f"'{path}' is not a parquet table that can be read here, or it is damaged.") from error


def _column_of_bytes(schema: Any) -> tuple[str, str] | None:
    for field in schema:
        kind = str(field.type)
        if kind in ("binary", "large_binary"):
            return field.name, ""
        if kind.startswith("struct<") and "bytes: binary" in kind:
            return field.name, "bytes"
    return None
