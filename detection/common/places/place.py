"""The path of a file or folder that is not a local one, for all code that takes a path."""

from __future__ import annotations

import io
import posixpath
import stat
from collections.abc import Iterator
from os import PathLike
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from detection.common.places.address import joined
from detection.common.places.faults import PlaceError
from detection.common.places.store import FILE, FOLDER, Store

# A `Path` for type checkers alone: what is written for one works with a place, as far as these methods go.
_Base: Any = Path if TYPE_CHECKING else object


class Place(_Base):
    """A key in a `Store`. As text it is an address without secrets, which `path_of` takes, too."""

    def __init__(self, store: Store, key: str):
        self.store, self.key = store, key

    def __str__(self) -> str:
        return self.store.address(self.key) if self.key else self.store.root

    def __repr__(self) -> str:
        return f"Place({str(self)!r})"

    def __fspath__(self) -> str:
        return str(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: Any) -> bool:
        return str(self) < str(other)

    def __truediv__(self, name: str | PathLike[str]) -> Path:
        name = str(name)
        if name in ("", "."):
            return self
        key = joined(self.key, name) if self.key else name
        return self.store.child(key) or Place(self.store, key)

    def joinpath(self, *names: str | PathLike[str]) -> Path:
        path: Path = self
        for name in names:
            path = path / name
        return path

    @property
    def name(self) -> str:
        return (self.key or self.store.root.split("://")[-1]).rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return posixpath.splitext(self.name)[1]

    @property
    def stem(self) -> str:
        return posixpath.splitext(self.name)[0]

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(part for part in str(self).split("/") if part)

    @property
    def parent(self) -> Path:
        """That of the root is the root itself: what lies above it is not ours."""
        return Place(self.store, self.key.rpartition("/")[0]) if self.key else self

    def with_name(self, name: str) -> Path:
        return self.parent / name

    def absolute(self) -> Place:
        return self

    def resolve(self, strict: bool = False) -> Path:
        """Of an archive that lies here, its absolute path."""
        return self if "://" in self.store.root else Path(str(self)).absolute()

    def expanduser(self) -> Place:
        return self

    def as_posix(self) -> str:
        return str(self)

    def is_relative_to(self, *other: Any) -> bool:
        root = str(other[0]).rstrip("/")
        return str(self) == root or str(self).startswith(f"{root}/")

    def relative_to(self, *other: Any) -> Any:
        if not self.is_relative_to(*other):
            raise ValueError(f"'{self}' does not lie below '{other[0]}'")
        return PurePosixPath(str(self)[len(str(other[0]).rstrip("/")) :].lstrip("/"))

    def exists(self) -> bool:
        return bool(self._kind())

    def is_file(self) -> bool:
        return self._kind() == FILE

    def is_dir(self) -> bool:
        return self._kind() == FOLDER

    def is_symlink(self) -> bool:
        return False

    def stamp(self) -> tuple[int, int] | None:
        """Size and mark of a file, as the last listing has told them, else as it is now; None where there is none, or
        it can't be asked."""
        try:
            entry = self.store.entry(self.key)
        except PlaceError:
            return None
        return None if entry is None else entry.stamp

    def stat(self, **options: Any) -> Any:
        entry = self.store.entry(self.key)
        if entry is None:
            raise FileNotFoundError(2, "it is not there", str(self))
        return SimpleNamespace(st_size=entry.size, st_mtime_ns=entry.mark, st_mode=stat.S_IFREG)

    def read_bytes(self) -> bytes:
        return self.store.bytes_of(self.key)

    def read_text(self, encoding: str | None = None, errors: str | None = None, **options: Any) -> str:
        return io.TextIOWrapper(io.BytesIO(self.read_bytes()), encoding or "utf-8", errors).read()

    def open(self, mode: str = "r", **options: Any) -> Any:
        """For reading; it is fetched as a whole."""
        data = io.BytesIO(self.read_bytes())
        return data if "b" in mode else io.TextIOWrapper(data, options.get("encoding") or "utf-8")

    def head(self, length: int) -> bytes:
        """The first bytes of a file, fewer where it has no more."""
        return self.store.read(self.key, 0, length)

    def write_bytes(self, data: Any) -> int:
        self.store.write(self.key, bytes(data))
        return len(data)

    def unlink(self, missing_ok: bool = False) -> None:
        self.store.remove(self.key)

    def mkdir(self, *values: Any, **options: Any) -> None:
        """Folders come with what is in them."""

    def iterdir(self) -> Iterator[Any]:
        """What lies directly in a folder, as the store lists it."""
        below = f"{self.key}/" if self.key else ""
        names = {key[len(below) :].partition("/")[0] for key in self.store.names() if key.startswith(below)}
        for name in sorted(names):
            yield self / name

    def _kind(self) -> str:
        return self.store.kind(self.key)
