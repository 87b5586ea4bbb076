"""Locks between processes, alike on Linux, macOS and Windows: each is held on a small file of its own.

Windows locks bytes, and what is locked there nobody else can read: so the file that is written stays free for readers.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from detection.common.files import TEMP_PREFIX

_POLL = 0.05  # seconds between two tries of one that waits
_MOST_LETTERS = 40  # of the guarded file's name; four bytes each, at worst
_held: set[int] = set()


class NoLocks(OSError):
    """A lock can't be had here, though nobody holds it: the file system has none, or takes no file."""


class Lock:
    """Held until `release`, or until this process ends, however it ends; a child of this process never holds it.

    path: of the lock's own file, which is made and, in the end, removed; a killed process leaves it, unlocked.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file: int | None = None

    @classmethod
    def beside(cls, guarded: Path) -> Lock:
        """For a file or folder that is written; the lock's own is beside it."""
        name = guarded.name
        if len(name) > _MOST_LETTERS:
            digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            name = f"{name[:_MOST_LETTERS]}-{digest}"
        return cls(guarded.with_name(f"{TEMP_PREFIX}{name}.lock"))

    def take(self, wait: bool = False) -> bool:
        """Whether it is ours now; False, without `wait`, while another has it, in this process or another one.

        Raises `NoLocks`.
        """
        while True:
            try:
                taken = self._try()
            except OSError as error:
                raise NoLocks(error.errno, error.strerror or str(error)) from error
            if taken is not None and (taken or not wait):
                return taken
            time.sleep(_POLL if wait else 0)

    def release(self) -> None:
        """Gives it up, if it is held, and removes its file."""
        if self._file not in _held:  # never taken, or by the parent of this process
            self._file = None
        if self._file is None:
            return
        # Removed while it is locked: later it may be another's by now.
        removed = _remove(self.path)
        _held.discard(self._file)
        os.close(self._file)
        self._file = None
        if not removed:  # Windows removes no open file; if another has opened it meanwhile, it stays
            _remove(self.path)

    def _try(self) -> bool | None:
        """None where the file was removed between being opened and locked."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _locked(file):
                return False
            try:
                if not os.path.samestat(os.fstat(file), os.stat(self.path)):
                    return None
            except FileNotFoundError:
                return None
            self._file = file
            _held.add(file)
            return True
        finally:
            if self._file != file:
                os.close(file)


def _locked(file: int) -> bool:
    from filelock import lock_descriptor  # some 20 ms, which looking at a run need not wait for

    if os.name == "posix" and not _has_flock():
        return True
    return lock_descriptor(file, blocking=False)


def _has_flock() -> bool:
    """A Python may be built without; nothing can be locked then, and nothing is refused."""
    try:
        import fcntl  # noqa: F401
    except ImportError:
        return False
    return True


def _remove(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _let_go() -> None:
    """In a child that was forked: it would keep what its parent has locked, for as long as it lives."""
    for file in _held:
        os.close(file)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
