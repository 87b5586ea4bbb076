"""Files of lines that are only appended to, and read by place, by several threads and on every system."""

from __future__ import annotations

import errno
import io
import os
import stat
import tempfile
import threading
from pathlib import Path

# Without it Windows writes two bytes for each line break, and every place is wrong.
_BINARY = getattr(os, "O_BINARY", 0)


class PlacedFile:
    """An open file whose bytes are read at their place, the offset from its start; appended to whole, or not at all.

    write: creates it where it is missing. `size` is that of the file, whoever has written to it. Methods may be called
    by several threads. Raises OSError.
    """

    def __init__(self, path: str | Path, write: bool = False, extra: int = 0):
        """extra: further flags of `os.open`."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND if write else os.O_RDONLY
        self._file: int | None = os.open(path, flags | _BINARY | extra, 0o666)
        self._lock = threading.Lock()

    @classmethod
    def unnamed(cls) -> PlacedFile:
        """A new file in the folder for temporary ones, that is gone when it is closed or this process ends."""
        handle, path = tempfile.mkstemp(prefix="carclf-")
        os.close(handle)
        try:
            return cls(path, write=True, extra=getattr(os, "O_TEMPORARY", 0))
        finally:
            if not hasattr(os, "O_TEMPORARY"):  # Windows removes it itself, and no file that is open
                os.unlink(path)

    @property
    def status(self) -> os.stat_result:
        return os.fstat(self._open)

    @property
    def size(self) -> int:
        return self.status.st_size

    @property
    def is_regular(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    def read(self, length: int, place: int) -> bytes:
        """At most `length` bytes from a place on; fewer only where less is asked of the system, none at the end."""
        if hasattr(os, "pread"):
            return os.pread(self._open, length, place)
        with self._lock:  # Windows has no pread: moving and reading are two steps
            os.lseek(self._open, place, os.SEEK_SET)
            return os.read(self._open, length)

    def append(self, data: bytes) -> None:
        """Raises OSError when a disk takes only a part of it; the file is then as before."""
        with self._lock:
            before, left = self.size, memoryview(data)
            try:
                while left:  # a full disk takes a part without a word, and fails with the next call
                    written = os.write(self._open, left)
                    if not written:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    left = left[written:]
            except OSError:
                os.ftruncate(self._open, before)
                raise

    def sync(self) -> None:
        """Returns when all that was written is on the disk."""
        os.fsync(self._open)

    def cut(self, size: int) -> None:
        """Removes what lies behind this many bytes."""
        with self._lock:
            os.ftruncate(self._open, size)

    def lines(self) -> io.BufferedReader:
        """The content from its start, to be read on its own: what is appended meanwhile comes, too."""
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def _open(self) -> int:
        if self._file is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._file


class _Reader(io.RawIOBase):
    def __init__(self, file: PlacedFile):
        self._file, self._place = file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self._file.read(len(buffer), self._place)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
