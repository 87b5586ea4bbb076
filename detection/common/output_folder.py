"""The folder that a command writes into: whether it is new, its own or in the way, and apart from what is read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from os.path import realpath
from pathlib import Path
from typing import Any

from detection.common.errors import UsageError
from detection.common.places.place import Place


class OutputFolder:
    """A folder for results. It is free (new, or nothing is in it), ours (an earlier run made it), or in the way.

    ours: by what a folder of ours is known: the name of a file in it, or a function that looks at the folder.
    leftover: whether an entry is nothing that anyone would miss; a folder with nothing else in it is free.
    failed: how the sentence begins that says why the folder can't be read or written; the reason follows.
    """

    def __init__(
        self,
        path: Path,
        ours: str | Callable[[Path], bool],
        leftover: Callable[[Path], bool] = lambda entry: False,
        failed: str | None = None,
    ):
        self.path = path
        self._ours, self._leftover = ours, leftover
        self._failed = failed or f"The folder '{path}' can't be written"

    @property
    def ours(self) -> bool:
        """Whether an earlier run of ours made it."""
        return self._ours(self.path) if callable(self._ours) else (self.path / self._ours).is_file()

    def others(self, *known: str) -> list[str]:
        """What is in it beside leftovers and these names, sorted; nothing where there is no folder."""
        if not self.path.is_dir():
            return []
        return sorted(
            entry.name for entry in self.path.iterdir() if entry.name not in known and not self._leftover(entry)
        )

    def check(self, other: str, file: str | None = None) -> bool:
        """Whether it is ours, and not free. Raises `UsageError` when it can't be read, and when it is in the way:
        with `other` for a folder that holds something else, with `file` (by default the same) for no folder at all."""
        with self._reported():
            if self.path.exists() and not self.path.is_dir():
                raise UsageError(other if file is None else file)
            if self.ours:
                return True
            if self.others():
                raise UsageError(other)
            return False

    def make(self, mark: Callable[[], object]) -> None:
        """Makes the folder. mark: writes what it is known by, before anything else is in it. Raises `UsageError`."""
        with self._reported():
            self.path.mkdir(parents=True, exist_ok=True)
            mark()

    def empty(self) -> None:
        """Removes what is in it, but never what a link in it leads to; only for a folder that `check` has found to be
        free or ours. Raises `UsageError`."""
        with self._reported():
            for entry in self.path.iterdir() if self.path.is_dir() else ():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink(missing_ok=True)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UsageError(f"{self._failed}: {error.strerror or error}.") from error


def changed_keys(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """The settings whose values are not those that an earlier run noted; what it alone had does not count.

    >>> changed_keys({"seed": 2, "size": 3}, {"seed": 1, "size": 3, "old": 0})
    ['seed']
    """
    return [key for key, value in now.items() if before.get(key) != value]


def lies_in(inner: str | PathLike[str], outer: str | PathLike[str]) -> bool:
    """Whether a path is the other one or below it, wherever links lead."""
    if isinstance(inner, Place) or isinstance(outer, Place):
        return isinstance(inner, Place) and isinstance(outer, Place) and inner.is_relative_to(outer)
    return Path(realpath(inner)).is_relative_to(realpath(outer))


def check_apart(source: Path, output: Path, *, same: str, inside: str, around: str) -> None:
    """Raises `UsageError` unless the folder that is read and the one that is written lie apart.

    The sentences: same for one folder, inside for an output in the source, around for a source in the output.
    """
    within, about = lies_in(output, source), lies_in(source, output)
    if within or about:
        raise UsageError(same if within and about else inside if within else around)
