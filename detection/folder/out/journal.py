"""What a folder run has done so far: one row per photo in a file that survives kill -9, and is the run's lock."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from detection.common.errors import UsageError
from detection.common.files import write_changed
from detection.common.files.locks import NoLocks
from detection.common.files.sorted_names import sorted_names
from detection.common.rows import RowLog
from detection.folder.out.manifest import Record, parse_record


class Journal:
    """One JSON line per photo, appended when the photo is done; a later line about a photo replaces the earlier ones.

    JSON and not csv: a file name with a line break must not break a line, as a line is what can be torn. Only one
    run at a time can have it open; the lock goes with the process, however that ends. Where each photo's line begins
    is in a temporary database: in memory are 2 MB of it, whatever the number of rows.
    """

    def __init__(self, path: Path, read_only: bool = False):
        """`read_only` neither creates, locks nor repairs the file. Raises `UsageError` when another run has it."""
        self.path = path
        self._places = _Places()
        self._log = self._opened(path, read_only)
        try:
            found = ((parse_record(line), place) for place, line in self._log.lines())
            # A damaged line in between is passed over.
            self._places.note((record.source, place) for record, place in found if record is not None)
            if not read_only:
                self._log.repair()
        except BaseException:
            self.close()
            raise

    def __contains__(self, source: str) -> bool:
        return self._places.find(source) is not None

    def __iter__(self) -> Iterator[str]:
        """In order of name."""
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def get(self, source: str) -> Record | None:
        """The photo's row, None when it has none. Read from the file each time."""
        place = self._places.find(source)
        return None if place is None else parse_record(self._log.line(place))

    def records(self, sources: Iterable[str]) -> Iterator[Record]:
        """The rows of these sources, in this order; those without a row are left out."""
        return (record for source in sources if (record := self.get(source)) is not None)

    def append(self, record: Record) -> None:
        """Adds a row. Raises OSError when it can't be written whole; the file is then as before."""
        self._log.check_place()
        self._places.note([(record.source, self._log.append(record.line()))])

    def clear(self) -> None:
        """Forgets all rows."""
        self._log.clear()
        self._places.clear()

    def compact(self, sources: Iterable[str]) -> None:
        """Rewrites the file to hold just these rows, in order of name. The last thing to be done with a journal."""
        names = sorted_names(sources)

        def lines() -> Iterator[bytes]:
            places = (self._places.find(name) for name in names)
            return (self._log.line(place) for place in places if place is not None)

        write_changed(self.path, lines, ready=self._log.close_file)

    def close_file(self) -> None:
        """Reads and writes no more, but keeps other runs away until `close`: now the file can be removed."""
        self._log.close_file()

    def close(self) -> None:
        self._log.close()
        self._places.close()

    @staticmethod
    def _opened(path: Path, read_only: bool) -> RowLog:
        try:
            return RowLog(path, read_only, must_lock=True)
        except BlockingIOError as error:
            busy = f"Another run writes to '{path.parent}': wait for it, or choose another OUT."
            raise UsageError(busy) from error
        except NoLocks as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            raise UsageError(
                f"'{path.parent}' is on a file system without locks: choose an OUT on another one."
            ) from error


_AT_ONCE = 1000


class _Places:
    """Name -> place of its last line, in a database of SQLite that goes to a temporary file once it is large."""

    def __init__(self) -> None:
        # In autocommit each statement would be a transaction of its own, and each row would be written to the file.
        self._base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._base.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE places (name BLOB PRIMARY KEY, place INTEGER) WITHOUT ROWID; BEGIN;"
        )

    def note(self, found: Iterable[tuple[str, int]]) -> None:
        rows = ((_encoded(name), place) for name, place in found)
        try:
            self._base.executemany("INSERT OR REPLACE INTO places VALUES (?, ?)", rows)
        except sqlite3.Error as error:  # its file has no room
            raise OSError(errno.ENOSPC, f"temporary files: {error}") from error

    def find(self, name: str) -> int | None:
        row = self._base.execute("SELECT place FROM places WHERE name = ?", (_encoded(name),)).fetchone()
        return None if row is None else int(row[0])

    def __iter__(self) -> Iterator[str]:
        """The names in order; others may be noted meanwhile."""
        last = b""
        while rows := self._base.execute(
            "SELECT name FROM places WHERE name > ? ORDER BY name LIMIT ?", (last, _AT_ONCE)
        ).fetchall():
            yield from (name.decode("utf-8", "surrogatepass") for (name,) in rows)
            last = rows[-1][0]

    def __len__(self) -> int:
        return int(self._base.execute("SELECT count(*) FROM places").fetchone()[0])

    def clear(self) -> None:
        self._base.execute("DELETE FROM places")

    def close(self) -> None:
        self._base.close()


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
