"""What a zip or a tar file holds, member by member, in one form for both."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Literal, Protocol

from detection.common.errors import UsageError

try:
    from lzma import LZMAError
except ImportError:  # a Python that was built without: then nothing raises it

    class LZMAError(Exception):  # type: ignore[no-redef]
        pass


# Raised while a member of a damaged file is read.
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, RuntimeError, ValueError)
# The modules that unpack a tar, by how it begins.
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\0": "lzma"}
_MOST_AT_ONCE = 16 << 20  # bytes


class Unpackable(UsageError):
    """The archive may be good, but its content can't be had here: no room, a password, a link, an unknown packing."""


@dataclass(frozen=True)
class Member:
    """name: as it is written in the archive. size: in bytes, unpacked. crc: of a zip's member, else 0."""

    name: str
    size: int
    kind: Literal["file", "folder", "link", "device"]
    encrypted: bool
    crc: int
    inner: Any


class Archive(Protocol):
    """An open zip or tar. Going through one may raise `DAMAGED`; so may reading what `open` gives."""

    def __iter__(self) -> Iterator[Member]: ...

    def open(self, member: Member) -> IO[bytes]: ...


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """The archive, told by its content and not by its name. Raises `UsageError` for what is neither zip nor tar."""
    with ExitStack() as stack:
        try:
            archive = _open(path, stack)
        except UsageError:
            raise
        except (*DAMAGED, NotImplementedError) as error:
            what = "not a zip" if path.suffix.lower() == ".zip" else "neither a zip nor a tar"
            raise UsageError(f"'{path}' is {what} file, or its end is missing: download it again.") from error
        except OSError as error:
            raise UsageError(f"'{path}' can't be read: {error.strerror or error}.") from error
        yield archive


def _open(path: Path, stack: ExitStack) -> Archive:
    file = stack.enter_context(open(path, "rb"))  # noqa: SIM115
    if path.suffix.lower() == ".zip" or zipfile.is_zipfile(file):
        return _Zip(stack.enter_context(zipfile.ZipFile(file)))
    file.seek(0)
    start = file.read(6)
    file.seek(0)
    module = next((module for mark, module in _PACKED.items() if start.startswith(mark)), None)
    try:
        stream = _Bounded(file if module is None else stack.enter_context(import_module(module).open(file)))
    except ImportError as error:
        raise Unpackable(
            f"'{path}' is packed by {module}, which this Python lacks: unpack it yourself, and pass the folder."
        ) from error
    # "r:" takes no other packing by itself: its own reader would be bound by nothing.
    tar = tarfile.open(fileobj=stream, mode="r:")  # type: ignore[call-overload]  # noqa: SIM115
    return _Tar(stack.enter_context(tar), path)


class _Bounded:
    """What tarfile reads from. A header may say how much is to be read at once: more than this is none.

    Each way of packing has errors of its own, also of a seek, which reads: here all are tarfile's.
    """

    def __init__(self, stream: IO[bytes]):
        self._stream = stream
        self.tell = stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_AT_ONCE:
            raise tarfile.ReadError(f"a header of {size} bytes")
        with _as_damage():
            return self._stream.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        with _as_damage():
            return self._stream.seek(place, whence)


@contextmanager
def _as_damage() -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, and not of what is packed
            raise
        raise tarfile.ReadError(str(error)) from error


@dataclass
class _Zip:
    content: zipfile.ZipFile

    def __iter__(self) -> Iterator[Member]:
        for info in self.content.infolist():
            kind: Any = "folder" if info.is_dir() or info.filename.endswith("\\") else "file"
            if stat.S_ISLNK(info.external_attr >> 16):
                kind = "link"
            yield Member(info.filename, info.file_size, kind, bool(info.flag_bits & 1), info.CRC, info)

    def open(self, member: Member) -> IO[bytes]:
        return self.content.open(member.inner)


@dataclass
class _Tar:
    """Its members are known only when all of it was gone through: one by one, so that nobody waits for a bomb's end."""

    content: tarfile.TarFile
    path: Path

    def __iter__(self) -> Iterator[Member]:
        try:
            for info in self.content:
                kind: Any = "file" if info.isreg() else "folder" if info.isdir() else "device"
                if info.issym() or info.islnk():
                    kind = "link"
                yield Member(info.name, info.size, kind, False, 0, info)
            self._check_end()
        except tarfile.TarError as error:
            raise UsageError(f"'{self.path}' is damaged, or its end is missing: download it again.") from error

    def _check_end(self) -> None:
        """tarfile takes what is no header, and the end of the file, for the end of the members."""
        stream: Any = self.content.fileobj
        stream.seek(self.content.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no mark at its end")

    def open(self, member: Member) -> IO[bytes]:
        file = self.content.extractfile(member.inner)
        if file is None:
            raise tarfile.ReadError("a member without content")
        return file
