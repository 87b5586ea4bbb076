"""The rows that a long run has so far: a file of lines that survives kill -9, and is the run's lock."""

from __future__ import annotations

import fcntl
import json
import os
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from detection.errors import UsageError
from detection.lines import line_at, name_number

_END = {"end": True}


class RowJournal:
    """The first line holds the settings, each further one a row by its key; a later row of a key replaces the earlier.

    In memory are 16 bytes a row that was there when the file was opened, however long the rows are. `what` is how
    messages call the rows. A run that has ended but keeps its journal says so with `end`: with other settings the next
    one begins anew instead of being refused. Raises `UsageError` for rows of other settings, while another run has the
    file open, and where it can't be written.
    """

    def __init__(self, path: Path, settings: Mapping, restart: bool = False, what: str = "answers"):
        self.path = path
        self._what = what
        self._size = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise UsageError(f"'{path}' can't be written: {error.strerror}.") from error
        try:
            self._lock()
            self._recover(json.loads(json.dumps(settings)), restart)
        except BaseException:
            os.close(self._file)
            raise

    def __len__(self) -> int:
        """How many rows there were when the file was opened."""
        return len(self._keys)

    def find(self, key: str) -> int | None:
        """The place of the last row of a key, among those that were there when the file was opened."""
        number = np.uint64(name_number(key))
        first, end = (int(np.searchsorted(self._keys, number, side)) for side in ("left", "right"))
        for index in range(end - 1, first - 1, -1):
            place = int(self._places[index])
            if (_parsed(line_at(self._file, place)) or {}).get("id") == key:
                return place
        return None

    def read(self, place: int) -> dict:
        """The row at a place. Raises `UsageError` when the file has been changed meanwhile."""
        row = _parsed(line_at(self._file, place))
        if row is None or row.pop("id", None) is None:
            raise UsageError(f"'{self.path}' was changed while it was in use: start again with --restart.")
        return row

    def add(self, key: str, row: Mapping) -> int:
        """Appends a row; returns its place."""
        return self._append({"id": key, **row})

    def end(self) -> None:
        """Notes that the run has ended, though its journal stays."""
        self._append(_END)

    def close(self, done: bool) -> None:
        """done: the result is written, so the file goes away."""
        if done:
            self.path.unlink(missing_ok=True)
        os.close(self._file)

    def _append(self, values: Mapping) -> int:
        # ASCII with escapes: one write a line, and also names that are not UTF-8 come back.
        line = json.dumps(values).encode("ascii") + b"\n"
        place = self._size
        try:
            written = os.write(self._file, line)
            self._size += written
            if written == len(line):
                return place
            reason = "the disk is full"
        except OSError as error:
            reason = error.strerror
        raise UsageError(f"'{self.path}' can't be written: {reason}; the same command goes on from here.")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"Another run writes to '{self.path}': wait for it, or choose another output.") from error
        except OSError:  # a file system without locks
            pass

    def _recover(self, settings: dict, restart: bool) -> None:
        keys, places = array("Q"), array("Q")
        before: dict | None = None
        ended = False
        for place, line in self._lines():
            row = _parsed(line)
            if before is None:
                before = row or {}
                continue
            ended = row == _END
            if row is not None and isinstance(row.get("id"), str):
                keys.append(name_number(row["id"]))
                places.append(place)
        other = [key for key in settings if (before or {}).get(key) != settings[key]]
        if restart or before is None or (other and ended):
            os.ftruncate(self._file, 0)
            self._size = 0
            self._append(settings)
            keys, places = array("Q"), array("Q")
        elif other:
            raise UsageError(
                f"'{self.path}' holds {self._what} of a run with another {', '.join(other)}: pass the same to go on, "
                "--restart to begin again, or another output."
            )
        else:
            os.ftruncate(self._file, self._size)  # what a kill has torn
        found = np.frombuffer(keys, np.uint64)
        order = np.argsort(found, kind="stable")  # a key's last row stays behind its earlier ones
        self._keys, self._places = found[order], np.frombuffer(places, np.uint64)[order]

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """(place, line) of all whole lines; `_size` is then their end."""
        with os.fdopen(os.dup(self._file), "rb") as content:
            content.seek(0)
            for line in content:
                if not line.endswith(b"\n"):
                    return
                yield self._size, line
                self._size += len(line)


def _parsed(line: bytes) -> dict | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
