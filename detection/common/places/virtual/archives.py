"""Archives as folders: zip and tar files, here or elsewhere, whose members are read by their place, without unpacking.

Nothing in an archive is trusted: names that lead out of it, links and members that would grow beyond all measure are
told, and not read.
"""

from __future__ import annotations

import errno
import io
import json
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from detection.common.errors import UsageError
from detection.common.places.faults import PlaceError
from detection.common.places.place import Place
from detection.common.places.store import FILE, FOLDER, Entry, Listing, Store, checked, mark_of

ARCHIVES = (".zip", ".tar")
MOST_MEMBERS = 5_000_000
# Photos hardly shrink: what would grow more than this is none.
_MOST_GROWTH, _FREE_GROWTH = 100, 64 << 20
_BUFFER = 1 << 20
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


@dataclass(frozen=True, slots=True)
class _Member:
    """packed: bytes in the archive from `offset` on. method: of a zip, how it is packed; None in a tar. fault: why it
    can't be read."""

    entry: Entry
    offset: int
    packed: int
    method: int | None = None
    crc: int = 0
    fault: str = ""


class Ranges(io.RawIOBase):
    """A file, here or elsewhere, read by ranges; by several threads at once, and by processes that were forked off."""

    def __init__(self, path: Path):
        from detection.common.files.placed import PlacedFile  # that room knows this one

        self.path, self._at = path, 0
        self.size = path.stat().st_size
        self._file = None if isinstance(path, Place) else PlacedFile(path)

    def part(self, start: int, end: int) -> bytes:
        if isinstance(self.path, Place):
            return self.path.store.read(self.path.key, start, min(end, self.size)) if start < self.size else b""
        assert self._file is not None
        return self._file.read(end - start, start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self.size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer) -> int:
        data = self.part(self._at, self._at + len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class IndexedStore(Store):
    """A store whose files are all known once it is open."""

    def __init__(self, root: str):
        super().__init__(root)
        self._folders: set[str] | None = None

    def entries(self) -> dict[str, Entry]:
        """All files by key."""
        raise NotImplementedError

    def kind(self, key: str) -> str:
        if not key:
            return FOLDER
        if key in self.entries():
            return FILE
        if self._folders is None:
            self._folders = {name[:end] for name in self.entries() for end, sign in enumerate(name) if sign == "/"}
        return FOLDER if key in self._folders else ""

    def ask(self, key: str) -> Entry | None:
        return self.entries().get(key)


class ArchiveStore(IndexedStore):
    """The members of a zip or tar file. Raises `UsageError` for a file that is none, or damaged."""

    def __init__(self, path: Path):
        super().__init__(str(path))
        self.distant = isinstance(path, Place) and path.store.distant
        self.slow = isinstance(path, Place)
        self._left_out: list[str] = []
        self._members: dict[str, _Member] = {}
        try:
            self._ranges = Ranges(path)
            if self.keeper is not None and isinstance(path, Place):
                stamp = path.stat().st_size, path.stat().st_mtime_ns
                self._restore(self.keeper.kept(f"{path} lists", stamp, lambda: self._list_of(path)))
            else:
                self._look(path)
        except PlaceError as error:
            raise UsageError(f"'{path}' can't be read: {error.strerror}.") from error
        except (zipfile.BadZipFile, tarfile.TarError, struct.error, ValueError, NotImplementedError) as error:
            what = "zip" if str(path).lower().endswith(".zip") else "tar"
            raise UsageError(f"'{path}' is not a {what} file that can be read here, or it is damaged.") from error
        except OSError as error:
            raise UsageError(f"'{path}' can't be read: {error.strerror or error}.") from error

    def _look(self, path: Path) -> None:
        content = io.BufferedReader(self._ranges, _BUFFER)
        self._take(_in_zip(content) if str(path).lower().endswith(".zip") else self._in_tar(content, path))

    def _list_of(self, path: Path) -> bytes:
        """What is in it, as bytes: to find that out takes long for a tar elsewhere, and each process needs it."""
        self._look(path)
        members = [
            (*astuple(one.entry), one.offset, one.packed, one.method, one.crc, one.fault)
            for one in self._members.values()
        ]
        return zlib.compress(json.dumps([self._left_out, members]).encode("ascii"), 1)

    def _restore(self, listed: bytes) -> None:
        self._left_out, members = json.loads(zlib.decompress(listed))
        for key, size, mark, *rest in members:
            self._members[key] = _Member(Entry(key, size, mark), *rest)

    def entries(self) -> dict[str, Entry]:
        return {key: member.entry for key, member in self._members.items()}

    def ask(self, key: str) -> Entry | None:
        member = self._members.get(key)
        return None if member is None else member.entry

    def walk(self) -> Listing:
        return Listing([member.entry for member in self._members.values()], list(self._left_out))

    def read(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        member = self._members.get(key)
        if member is None:
            raise PlaceError(errno.ENOENT, "it is not there")
        if member.fault:
            raise PlaceError(errno.EACCES, member.fault)
        size = member.entry.size
        if size > max(_FREE_GROWTH, _MOST_GROWTH * member.packed):
            raise PlaceError(errno.EFBIG, f"it would unpack to more than {_MOST_GROWTH} times its size")
        if member.method is None:
            first = member.offset + (start or 0)
            data = self._ranges.part(first, member.offset + min(size, size if end is None else end))
            if start is None and end is None and len(data) != size:
                raise PlaceError(errno.EIO, "the archive ends before it does")
            return data
        return self._unpacked(member)[start:end]

    def _unpacked(self, member: _Member) -> bytes:
        """The content of a zip's member; its own header, whose length only it tells, lies before it."""
        slack = _LOCAL_HEADER.size + 2 * len(member.entry.key.encode("utf-8", "surrogatepass")) + 512
        data = self._ranges.part(member.offset, member.offset + slack + member.packed)
        try:
            header = _LOCAL_HEADER.unpack_from(data)
        except struct.error as error:
            raise PlaceError(errno.EIO, "the archive is damaged there") from error
        start = _LOCAL_HEADER.size + header[-2] + header[-1]
        if header[0] != b"PK\3\4":
            raise PlaceError(errno.EIO, "the archive is damaged there")
        if start + member.packed > len(data):
            data = data[:start] + self._ranges.part(
                member.offset + len(data[:start]), member.offset + start + member.packed
            )
        packed = data[start : start + member.packed]
        try:
            if member.method == zipfile.ZIP_DEFLATED:
                packed = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, member.entry.size + 1)
        except zlib.error as error:
            raise PlaceError(errno.EIO, "the archive is damaged there") from error
        if len(packed) != member.entry.size or zlib.crc32(packed) != member.crc:
            raise PlaceError(errno.EIO, "the archive is damaged there")
        return packed

    def _take(self, found: Iterator[_Member | str]) -> None:
        twice: set[str] = set()
        for member in found:
            if isinstance(member, str):
                self._left_out.append(member.format(self.root))
                continue
            if len(self._members) >= MOST_MEMBERS:
                raise UsageError(f"'{self.root}' holds more than {MOST_MEMBERS} files: split it.")
            for entry in checked([member.entry], self.root, self._left_out):
                if entry.key in self._members and entry.key not in twice:
                    twice.add(entry.key)
                    self._left_out.append(f"'{entry.key}' is twice in '{self.root}': the last one is taken.")
                self._members[entry.key] = member

    def _in_tar(self, content: io.BufferedReader[Any], path: Path) -> Iterator[_Member | str]:
        start = content.peek(6)
        if start[:2] == b"\x1f\x8b" or start[:3] == b"BZh" or start[:6] == b"\xfd7zXZ\0":
            raise UsageError(f"'{path}' is compressed, so that its photos can't be read one by one: unpack it.")
        own = path.stat().st_mtime_ns
        with tarfile.open(fileobj=content, mode="r:") as archive:
            name = ""
            while True:
                try:
                    member = archive.next()
                except tarfile.TarError:
                    if not name:
                        raise
                    yield f"'{{}}' is damaged: what comes behind '{_plain(name)}' is left out."
                    return
                if member is None:
                    return
                archive.members.clear()  # type: ignore[attr-defined]  # it keeps all of them
                name = member.name.removeprefix("./")
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    yield f"'{_plain(name)}' in '{{}}' is left out: it is a link or a device."
                    continue
                mark = mark_of(own, member.mtime, member.offset_data)
                yield _Member(Entry(name, member.size, mark), member.offset_data, member.size)


def _in_zip(content: io.BufferedReader[Any]) -> Iterator[_Member | str]:
    with zipfile.ZipFile(content) as archive:
        for member in archive.infolist():
            name = member.filename.replace("\\", "/")
            if member.is_dir() or name.endswith("/"):
                continue
            if stat.S_ISLNK(member.external_attr >> 16):
                yield f"'{_plain(name)}' in '{{}}' is left out: it is a link."
                continue
            fault = "it is encrypted: unpack it with its password" if member.flag_bits & 1 else ""
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                fault = "it is packed in a way that can't be read here: unpack it"
            entry = Entry(name, member.file_size, mark_of(member.CRC))
            yield _Member(entry, member.header_offset, member.compress_size, member.compress_type, member.CRC, fault)


def _plain(name: str) -> str:
    return name.replace("{", "{{").replace("}", "}}")
