"""Zip and tar files as downloaded: unpacked whole or not at all; a zip beside its file, where it is found again."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from carclf.datasets.layouts.members import DAMAGED, Archive, Member, Unpackable, opened
from carclf.datasets.names import split_named
from detection.common.console import photo_bar, say
from detection.common.errors import UsageError
from detection.common.files import TEMP_PREFIX, cache_folder, move_over
from detection.common.files.locks import Lock, NoLocks
from detection.common.files.names import ON_WINDOWS, windows_path
from detection.images.find import CLUTTER, is_clutter

# Photos hardly shrink and csv files to a tenth: what would grow a hundredfold to more than a gigabyte is no data set.
MOST_GROWTH, FREE_GROWTH = 100, 1 << 30
MOST_FILES = 5_000_000
_NESTED = 2  # a competition's zip holds zips of its folders
_CHUNK = 1 << 20


def unpack(archive: Path) -> Path:
    """The folder that holds the zip file's content; a single folder that holds all else is stepped into.

    The first call unpacks into a temporary folder and renames it, so that it is never there half; its name holds a
    digest of the zip's directory, so another version of the file gets another folder. Zips in the zip are unpacked too.
    Raises `UsageError` for a file that is no zip, damaged or encrypted, for names that lead out of the folder, for
    links, for content that grows beyond all measure, and when there is no place for it.
    """
    archive = archive.absolute()
    with opened(archive) as content:
        name = f"{archive.stem}-{_fingerprint(content)}"
    beside = archive.parent / name
    folder = beside if beside.is_dir() or os.access(archive.parent, os.W_OK) else cache_folder() / "archives" / name
    if not folder.is_dir():
        _unpack(archive, folder, lambda temp: temp)
    return _inner(folder)


def unpack_to(archive: Path, folder: Path, ready: Callable[[Path], object]) -> None:
    """Makes `folder`, which must not be there, of the zip's or tar's content; a single folder that holds all else is
    left out. ready: called with the content before it becomes `folder`, to add to it.

    Raises `UsageError` as `unpack` does; `Unpackable` where the file is worth keeping.
    """

    def finished(temp: Path) -> Path:
        content = _inner(temp)
        ready(content)
        return content

    _unpack(archive, folder, finished)


def _unpack(archive: Path, folder: Path, finished: Callable[[Path], Path]) -> None:
    """finished: gives the part of the temporary folder that becomes `folder`."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder) as temp:
            if temp is not None:
                say(f"unpacking {archive} into {folder}")
                _unpack_into(archive, temp, _Allowance(archive), _NESTED)
                move_over(finished(temp), folder)
    except OSError as error:
        raise Unpackable(f"'{archive}' can't be unpacked into '{folder}': {error.strerror or error}.") from error


class _Allowance:
    """What an archive may still unpack; those in it draw on the same."""

    def __init__(self, archive: Path):
        self.archive = archive
        self.bytes = max(FREE_GROWTH, MOST_GROWTH * archive.stat().st_size)
        self.files = MOST_FILES

    def taken(self, members: Iterable[Member]) -> Iterator[Member]:
        """Passes them on while they are allowed: the names in a tar that grows without end come without end."""
        for member in members:
            self.bytes -= member.size
            self.files -= 1
            if self.bytes < 0 or self.files < 0:
                raise UsageError(f"'{self.archive}' would grow to more than {MOST_GROWTH} times its size or "
                                 f"{MOST_FILES} files: it is not a data set, and was not unpacked.")  # fmt: skip
            yield member

    def check_room(self, size: int, folder: Path) -> None:
        free = shutil.disk_usage(folder).free
        if size > free:
            raise Unpackable(f"'{self.archive}' needs {_gigabytes(size)} in '{folder.parent}', "
                         f"where only {_gigabytes(free)} are free: make room.")  # fmt: skip


def _unpack_into(archive: Path, folder: Path, allowance: _Allowance, nested: int) -> None:
    with opened(archive) as content:
        places = _places(allowance.taken(content), archive)
        allowance.check_room(sum(member.size for member in places.values()), folder)
        with photo_bar("unpacking", len(places)) as advance:
            for place, member in places.items():
                _write(content, member, folder / place, archive)
                advance()
    for place in places if nested else ():
        inner = folder / place
        if inner.suffix.lower() == ".zip":
            _unpack_into(inner, _place_for(inner), allowance, nested - 1)
            inner.unlink()


def _places(content: Iterable[Member], archive: Path) -> dict[PurePosixPath, Member]:
    """Where each member goes, below the folder; all are checked before the first is written."""
    places: dict[PurePosixPath, Member] = {}
    for member in content:
        name = member.name.replace("\\", "/")
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or ":" in name.partition("/")[0]:
            raise UsageError(f"'{archive}' holds '{member.name}', which leads out of its folder: don't trust it.")
        if member.kind == "folder" or _is_clutter(place):
            continue
        if member.encrypted:
            raise Unpackable(f"'{archive}' is encrypted: unpack it with its password, and pass the folder.")
        if member.kind != "file":
            raise Unpackable(
                f"'{archive}' holds the {member.kind} '{member.name}': unpack it yourself, and pass the folder."
            )
        if ON_WINDOWS:
            place = PurePosixPath(windows_path(str(place)))
        if place in places:
            raise UsageError(f"'{archive}' holds '{place}' twice: it is damaged, download it again.")
        places[place] = member
    if not places:
        raise UsageError(f"'{archive}' holds no files.")
    return places


def _is_clutter(place: PurePosixPath) -> bool:
    return any(part == ".DS_Store" or part.startswith("._") or part.lower() in CLUTTER for part in place.parts)


def _place_for(archive: Path) -> Path:
    """For a zip in the zip: train.zip may hold a folder train, or what belongs into one."""
    with opened(archive) as content:
        tops = {place.parts[0] if len(place.parts) > 1 else "" for place in _places(content, archive)}
    if len(tops) == 1 and "" not in tops and not (archive.parent / next(iter(tops))).exists():
        return archive.parent
    folder = archive.with_suffix("")
    folder.mkdir(exist_ok=True)
    return folder


def _write(content: Archive, member: Member, path: Path, archive: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with content.open(member) as source, open(path, "xb") as target:
            shutil.copyfileobj(source, target, _CHUNK)
    except NotImplementedError as error:
        raise Unpackable(f"'{archive}' is packed in a way that can't be read here ({error}): unpack it yourself, and "
                         "pass the folder.") from error  # fmt: skip
    except DAMAGED as error:
        raise UsageError(f"'{archive}' is damaged at '{member.name}': download it again.") from error


def _fingerprint(content: Archive) -> str:
    digest = hashlib.sha256()
    for member in content:
        digest.update(f"{member.name}\0{member.size}\0{member.crc}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:8]


@contextmanager
def _locked(folder: Path) -> Iterator[Path | None]:
    """An empty temporary folder for the content of `folder`; None when another process has made it meanwhile.

    What a killed process left is removed.
    """
    temp = folder.with_name(f"{TEMP_PREFIX}{folder.name}.tmp")
    lock = Lock.beside(folder)
    with suppress(NoLocks):
        lock.take(wait=True)
    try:
        if folder.is_dir():
            yield None
            return
        try:
            temp.mkdir(exist_ok=True)
            _empty(temp)
            yield temp
        finally:
            shutil.rmtree(temp, ignore_errors=True)
    finally:
        lock.release()


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        remove: Callable[[Path], object] = shutil.rmtree if entry.is_dir() and not entry.is_symlink() else os.unlink
        remove(entry)


def _inner(folder: Path) -> Path:
    """Steps into a folder that is alone, but not into one that has a meaning: train, or the only class."""
    while True:
        entries = [entry for entry in folder.iterdir() if not is_clutter(entry.name)]
        if len(entries) != 1 or not entries[0].is_dir() or split_named(entries[0].name):
            return folder
        within = list(entries[0].iterdir())
        if not any(entry.is_dir() or entry.suffix.lower() in (".csv", ".mat") for entry in within):
            return folder
        folder = entries[0]


def _gigabytes(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
