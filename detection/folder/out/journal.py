"""What a folder run has done so far: one row per photo in a file that survives kill -9, and is the run's lock."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from pathlib import Path

from detection.common.errors import UsageError
from detection.common.files import write_changed
from detection.common.files.locks import NoLocks
from detection.common.rows import RowLog
from detection.folder.out.manifest import Record, parse_record


class Journal:
    """One JSON line per photo, appended when the photo is done; a later line about a photo replaces the earlier ones.

    JSON and not csv: a file name with a line break must not break a line, as a line is what can be torn. Only one
    run at a time can have it open; the lock goes with the process, however that ends. In memory is only where each
    photo's line begins: a million rows would be gigabytes.
    """

    def __init__(self, path: Path, read_only: bool = False):
        """`read_only` neither creates, locks nor repairs the file. Raises `UsageError` when another run has it."""
        self.path = path
        self._offsets: dict[str, int] = {}
        self._log = self._opened(path, read_only)
        try:
            for place, line in self._log.lines():
                record = parse_record(line)
                if record is not None:  # a damaged line in between is passed over
                    self._offsets[record.source] = place
            if not read_only:
                self._log.repair()
        except BaseException:
            self._log.close()
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
        return None if offset is None else parse_record(self._log.line(offset))

    def records(self, sources: Iterable[str]) -> Iterator[Record]:
        """The rows of these sources, in this order; those without a row are left out."""
        return (record for source in sources if (record := self.get(source)) is not None)

    def append(self, record: Record) -> None:
        """Adds a row. Raises OSError when it can't be written whole; the file is then as before."""
        self._log.check_place()
        self._offsets[record.source] = self._log.append(record.line())

    def clear(self) -> None:
        """Forgets all rows."""
        self._log.clear()
        self._offsets.clear()

    def compact(self, sources: Iterable[str]) -> None:
        """Rewrites the file to hold just these rows, in order of name. The last thing to be done with a journal."""
        names = [source for source in sorted(sources) if source in self._offsets]
        lines = lambda: (self._log.line(self._offsets[name]) for name in names)  # noqa: E731
        write_changed(self.path, lines, ready=self._log.close_file)

    def close_file(self) -> None:
        """Reads and writes no more, but keeps other runs away until `close`: now the file can be removed."""
        self._log.close_file()

    def close(self) -> None:
        self._log.close()

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
