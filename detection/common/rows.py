"""Rows of long runs in files of lines that survive kill -9 and lock out a second run."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from detection.common.errors import UsageError
from detection.common.files import check_written, escaped, names_read, written_by
from detection.common.files.locks import Lock, NoLocks
from detection.common.files.placed import PlacedFile
from detection.common.output_folder import changed_keys

_PART = 4096


class RowLog:
    """A file of lines that is only ever appended to: each line is in it whole, or not at all. One process has it.

    A line is found again by its place, the offset in bytes at which it begins. `end` is the place of the next one.
    """

    def __init__(self, path: Path, read_only: bool = False, must_lock: bool = False):
        """`read_only` neither creates, locks nor repairs the file.

        must_lock: whether to raise `NoLocks` where nothing can be locked. Raises BlockingIOError while another run has
        it, until that closes it or ends, however it ends; OSError when it can't be opened.
        """
        self.path = path
        self.end = 0
        self._lock = None if read_only else Lock.beside(path)
        self._file: PlacedFile | None = None
        try:
            if self._lock is not None and not self._lock.take():
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        except NoLocks:
            if must_lock:
                raise
        try:
            if not read_only or path.is_file():
                self._file = PlacedFile(path, write=not read_only)
        except BaseException:
            self.close()
            raise

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """(place, line) of all whole lines from the start of the file; `end` then lies behind the last of them."""
        self.end = 0
        with io.BytesIO() if self._file is None else self._file.lines() as content:
            for line in content:
                if not line.endswith(b"\n"):
                    return
                yield self.end, line
                self.end += len(line)

    def repair(self) -> None:
        """Cuts off what lies behind `end`: a line that a kill has torn."""
        if self._written.size > self.end:
            self._written.cut(self.end)

    def append(self, line: bytes) -> int:
        """Adds a line, with its line break; returns its place. Raises OSError; the file is then as before."""
        self._written.append(line)
        place = self.end
        self.end += len(line)
        return place

    def sync(self, folder: Path | None = None) -> None:
        """Returns when what was appended is on the disk, and survives a loss of power. folder: the one that the file
        was just made in, which has to be there, too. Raises OSError."""
        self._written.sync()
        if folder is not None and os.name == "posix":  # Windows opens no folder
            number = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)

    def line(self, place: int) -> bytes:
        """The line that begins at a place, with its line break; empty where no whole line does."""
        line = b""
        while b"\n" not in line and self._file is not None:
            part = self._file.read(_PART, place + len(line))
            if not part:
                break
            line += part
        return line[: line.find(b"\n") + 1]

    def clear(self) -> None:
        """Removes all lines."""
        self._written.cut(0)
        self.end = 0

    def check_place(self) -> None:
        """Raises FileNotFoundError when the file at `path` is not this one any more: its folder has vanished."""
        if not os.path.samestat(self._written.status, os.stat(self.path)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))

    def close_file(self) -> None:
        """Closes the file, but keeps others away from it: Windows replaces and removes no open file."""
        if self._file is not None:
            self._file.close()

    def close(self) -> None:
        self.close_file()
        if self._lock is not None:
            self._lock.release()

    @property
    def _written(self) -> PlacedFile:
        if self._file is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), str(self.path))
        return self._file


FORMAT = 1  # of a `RowJournal`
_END = {"end": True}


class RowJournal:
    """The first line holds the settings, each further line a row and its key; a later row replaces one of the same key.

    In memory are 16 bytes per row that was there when the file was opened, however long the rows are. `what` is how
    messages call the rows. A run that has ended but keeps its journal says so with `end`: with other settings the next
    one begins anew instead of being refused. Raises `UsageError` for rows of other settings, while another run has the
    file open, and where it can't be written.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping,
        restart: bool = False,
        what: str = "answers",
        older: Mapping[str, Sequence] | None = None,
    ):
        """older: setting -> the values that mean the same in files of earlier versions."""
        self.path = path
        self._older = older or {}
        self._what = what
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._log = RowLog(path)
        except BlockingIOError as error:
            raise UsageError(f"Another run writes to '{path}': wait for it, or choose another output.") from error
        except OSError as error:
            raise UsageError(f"'{path}' can't be written: {error.strerror}.") from error
        try:
            self._recover(json.loads(json.dumps(settings)), restart)
        except BaseException:
            self._log.close()
            raise

    def __len__(self) -> int:
        """How many rows there were when the file was opened."""
        return len(self._keys)

    def find(self, key: str) -> int | None:
        """The place of the last row of a key, among those that were there when the file was opened."""
        for index in numbers_of(self._keys, key):
            place = int(self._places[index])
            if (parse_row(self._log.line(place)) or {}).get("id") == key:
                return place
        return None

    def read(self, place: int) -> dict:
        """The row at a place. Raises `UsageError` when the file has been changed meanwhile."""
        row = parse_row(self._log.line(place))
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
        self._log.close_file()
        try:
            if done:
                self.path.unlink(missing_ok=True)
        finally:
            self._log.close()

    def _append(self, values: Mapping) -> int:
        try:
            return self._log.append(json_line(values))
        except OSError as error:
            reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
            raise UsageError(
                f"'{self.path}' can't be written: {reason}; the same command resumes from here."
            ) from error

    def _recover(self, settings: dict, restart: bool) -> None:
        keys, places = array("Q"), array("Q")
        before: dict | None = None
        ended = False
        for place, line in self._log.lines():
            row = parse_row(line)
            if before is None:
                before = row or {}
                continue
            ended = row == _END
            if row is not None and isinstance(row.get("id"), str):
                keys.append(name_number(row["id"]))
                places.append(place)
        told = before or {}
        if not restart:
            check_written(self.path, told, FORMAT)
        other = [key for key in changed_keys(settings, told) if told.get(key) not in self._older.get(key, ())]
        if restart or before is None or (other and ended):
            self._log.clear()
            self._append({**settings, **written_by(FORMAT)})
            keys, places = array("Q"), array("Q")
        elif other:
            raise UsageError(
                f"'{self.path}' holds {self._what} of a run with another {', '.join(other)}: pass the same to resume, "
                "--restart to begin again, or another output."
            )
        else:
            self._log.repair()
        self._keys, self._places = sort_by_number(keys, places)


def json_line(values: Mapping) -> bytes:
    """One line of JSON in ASCII; names that are not UTF-8 have the escapes of `escape_name`, and `parse_row` gives them
    back."""
    text = json.dumps(values)
    if "\\udc" in text or "\\\\x" in text:
        text = json.dumps(escaped(values))
    return text.encode("ascii") + b"\n"


def parse_row(line: bytes) -> dict | None:
    """What a line of JSON holds; None when it is damaged, or no object."""
    try:
        row = json.loads(line)
        if b"\\\\x" in line:
            row = names_read(row)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def name_number(name: str) -> int:
    """64 bits of a name; two names may share them, so the line that is found has the last word."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def sort_by_number(numbers: array, *columns: array) -> tuple[np.ndarray, ...]:
    """Numbers of names (`name_number`) in order, then columns of uint64 that belong to them; equal ones keep theirs."""
    found = np.frombuffer(numbers, np.uint64)
    order = np.argsort(found, kind="stable")
    return found[order], *(np.frombuffer(column, np.uint64)[order] for column in columns)


def numbers_of(numbers: np.ndarray, name: str) -> range:
    """Where a name's number stands in what `sort_by_number` gave, the last one first."""
    number = np.uint64(name_number(name))
    first, end = (int(np.searchsorted(numbers, number, side)) for side in ("left", "right"))
    return range(end - 1, first - 1, -1)
