"""What a folder run has done so far: a file of rows that survives kill -9, and is the run's lock."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from detection.errors import UsageError
from detection.files import replace_chunks, same_content
from detection.lines import line_at
from detection.manifest import Record, parse_record


class Journal:
    """One JSON line a photo, appended when the photo is done; a later line about a photo replaces the earlier ones.

    JSON and not csv: a file name with a line break must not break a line, as a line is what can be torn. Only one
    run at a time can have it open; the lock goes with the process, however that ends. In memory is only where each
    photo's line begins: a million rows would be gigabytes.
    """

    def __init__(self, path: Path, read_only: bool = False):
        """`read_only` neither creates, locks nor repairs the file. Raises `UsageError` when another run has it."""
        self.path = path
        self._offsets: dict[str, int] = {}
        self._end = 0
        if read_only:
            self._file = os.open(path if path.is_file() else os.devnull, os.O_RDONLY)
        else:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            if not read_only:
                self._lock()
            self._recover(repair=not read_only)
        except BaseException:
            os.close(self._file)
            raise

    def __contains__(self, source: str) -> bool:
        return source in self._offsets

    def __iter__(self) -> Iterator[str]:
        return iter(self._offsets)

    def __len__(self) -> int:
        return len(self._offsets)

    def get(self, source: str) -> Record | None:
        """The photo's row, None when it has none. Read from the file each time."""
        offset = self._offsets.get(source)
        return None if offset is None else parse_record(line_at(self._file, offset))

    def records(self, sources: Iterable[str]) -> Iterator[Record]:
        """The rows of these sources, in this order; those without a row are left out."""
        return (record for source in sources if (record := self.get(source)) is not None)

    def append(self, record: Record) -> None:
        """Adds a row. Raises OSError when it can't be written whole; the file is then as before."""
        self._check_place()
        line = record.line()
        try:
            written = os.write(self._file, line)
            if written < len(line):  # a disk that runs full takes a part of it without a word
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        self._offsets[record.source] = self._end
        self._end += len(line)

    def clear(self) -> None:
        """Forgets all rows."""
        os.ftruncate(self._file, 0)
        self._offsets.clear()
        self._end = 0

    def compact(self, sources: Iterable[str]) -> None:
        """Rewrites the file to hold just these rows, in order of name. The last thing to be done with a journal.

        The lock is on the old file: whoever opens the new one finds a run that has ended.
        """
        names = [source for source in sorted(sources) if source in self._offsets]
        if not same_content(self.path, self._lines(names)):
            replace_chunks(self.path, self._lines(names))

    def close(self) -> None:
        os.close(self._file)

    def _lock(self) -> None:
        busy = f"Another run writes to '{self.path.parent}': wait for it, or choose another OUT."
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._check_place()
        except FileNotFoundError as error:  # that run has just replaced the file which was opened here
            raise UsageError(busy) from error
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP):
                raise UsageError(
                    f"'{self.path.parent}' is on a file system without locks: choose an OUT on another one."
                ) from error
            raise UsageError(busy) from error

    def _check_place(self) -> None:
        """Raises FileNotFoundError when the file at `path` is not this one any more: the folder has vanished."""
        mine = os.fstat(self._file)
        there = os.stat(self.path)
        if (mine.st_ino, mine.st_dev) != (there.st_ino, there.st_dev):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))

    def _recover(self, repair: bool) -> None:
        """Finds the rows; a torn last line is cut off, a damaged one in between is passed over."""
        with os.fdopen(os.dup(self._file), "rb") as content:
            content.seek(0)
            for line in content:
                if not line.endswith(b"\n"):
                    break
                record = parse_record(line)
                if record is not None:
                    self._offsets[record.source] = self._end
                self._end += len(line)
        if repair and os.fstat(self._file).st_size > self._end:
            os.ftruncate(self._file, self._end)

    def _lines(self, sources: Iterable[str]) -> Iterator[bytes]:
        return (line_at(self._file, self._offsets[source]) for source in sources)
