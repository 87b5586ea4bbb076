"""Copies on this machine of what lies in places: of photos, in a folder of bounded size, and of models' files.

What is read again is fetched once. Any number of threads and processes may use one folder at a time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

from detection.common.console import say
from detection.common.errors import UsageError
from detection.common.places.faults import PlaceError
from detection.common.places.paths import folder_of
from detection.common.places.place import Place
from detection.common.places.store import FILE, Entry, Keeper, Store, mark_of, usage

_SEAL = 16  # bytes before the content of each copy: its digest, as the machine may have gone down while it was written
_OLD = 86_400.0  # seconds after which nobody is just opening an earlier copy
_ROOM = 0.1  # share of the folder that is freed at once: looking for the oldest copies takes a while


class KeptPhotos(Keeper):
    """folder: of the copies; made when there is a first one. most: bytes that all of it may have.

    Where there is no room, the copies that nobody has read for longest go. A copy is known by the photo's address, size
    and mark, so that of another content is another one; what a place gives no mark of is not kept.
    """

    def __init__(self, folder: Path, most: int):
        self.folder, self.most = folder, most
        self._looked = self._told = False

    def bytes_of(self, store: Store, key: str) -> bytes:
        entry = store.known(key)
        if entry is None:
            entry = store.ask(key)
            if entry is not None:
                store.note(entry)  # the next epoch need not ask again
        if entry is None:
            return store.read(key)  # which says why it can't be
        return self.kept(store.address(key), entry.stamp, lambda: store.read(key))

    def kept(self, name: str, stamp: tuple[int, int], fetch: Callable[[], bytes]) -> bytes:
        if not stamp[1]:
            return fetch()
        digest = hashlib.sha256(f"{name}\0{stamp[0]}\0{stamp[1]}".encode("utf-8", "surrogatepass")).hexdigest()[:40]
        path = self.folder / digest[:2] / digest[2:]
        data = _copy(path)
        if data is None:
            with _alone(path):  # or several would fetch it
                data = _copy(path)
                if data is None:
                    data = fetch()
                    self._keep(path, data)
        return data

    def _keep(self, path: Path, data: bytes) -> None:
        size = size_of_copy(len(data))
        if size > self.most:
            return
        total = self.folder / ".carclf-size"
        try:
            with _alone(total):
                taken = _number(total) if self._looked else None
                if taken is None or taken + size > self.most:
                    taken = self._tidy(self.most - size)
                # First: who is killed in between leaves a number that is too large, which the next look mends.
                total.write_text(str(taken + size))
                temp = path.with_name(f".carclf-{path.name[:8]}-{os.getpid()}.tmp")
                path.parent.mkdir(exist_ok=True)
                temp.write_bytes(_seal(data) + data)
                os.replace(temp, path)
        except OSError as error:
            if not self._told:
                self._told = True
                say(
                    f"Photos can't be kept in '{self.folder}' ({error.strerror or error}): each is fetched whenever it "
                    "is read. CARCLF_CACHE=FOLDER names another place for them."
                )

    def _tidy(self, most: int) -> int:
        """Bytes of all copies, once the oldest have gone where they were more than `most`."""
        copies = []
        for folder in self.folder.iterdir():
            for file in folder.iterdir() if folder.is_dir() else ():
                with suppress(OSError):
                    if file.suffix == ".tmp":  # of a process that was killed: whoever writes one is alone
                        file.unlink()
                    elif not file.name.startswith("."):
                        status = file.stat()
                        copies.append((status.st_mtime_ns, status.st_size, file))
        taken = sum(size for _, size, _ in copies)
        self._looked = True
        if taken <= most:
            return taken
        for _, size, file in sorted(copies):
            if taken <= most - _ROOM * self.most:
                break
            with suppress(OSError):  # Windows removes nothing that is being read
                file.unlink()
                taken -= size
        return taken


@contextmanager
def photos_kept(folder: Path, most: int) -> Iterator[None]:
    """Meanwhile photos of places are read by way of copies in `folder`, of at most `most` bytes together."""
    before = Store.keeper
    Store.keeper = KeptPhotos(folder, most)
    try:
        yield
    finally:
        Store.keeper = before


def copied_here(path: str | Path, *patterns: str) -> Path:
    """A path as one of this machine: of a place's file or folder that of a copy in carclf's cache folder; any other as
    it is.

    patterns: names of the files of a folder that matter; only those right in it are copied. What lies there is asked
    once by a process, and fetched anew when it has changed. Raises `UsageError` when it can't be read, or is not there.
    """
    from detection.common.files import cache_folder  # that room knows this one

    if not isinstance(path, Place):
        return Path(path)
    known = _copied.get(key := (str(path), str(cache_folder())))
    if known is not None and known.exists():
        return known
    try:
        _copied[key] = _copied_files(path, patterns, cache_folder() / "files")
    except PlaceError as error:
        raise usage(f"'{path}' can't be read", error) from error
    except OSError as error:
        raise UsageError(
            f"'{path}' can't be copied to '{cache_folder()}' ({error.strerror or error}): make room, or name another "
            "folder by CARCLF_CACHE."
        ) from error
    return _copied[key]


# What this process has copied, by address and cache folder: it works with one content of a model from end to end.
_copied: dict[tuple[str, str], Path] = {}


def _copied_files(path: Place, patterns: tuple[str, ...], cache: Path) -> Path:
    place = folder_of(path) if path.store.kind(path.key) != FILE else path
    if place is None or not place.exists():
        raise UsageError(f"There is nothing at '{path}': check the address.")
    store = place.store
    if place.is_file():
        entries: list[Entry] = list(filter(None, [store.ask(place.key)]))
    else:
        entries = [entry for entry in store.walk().entries if any(fnmatch(entry.key, one) for one in patterns)]
    home = cache / hashlib.sha256(str(place).encode("utf-8", "surrogatepass")).hexdigest()[:24]
    state = sorted((entry.key, *entry.stamp) for entry in entries)
    folder = home / f"{mark_of(*state):x}"
    result = folder / place.name if place.is_file() else folder
    with _alone(home):
        # What a place gives no mark of may have another content by now.
        if not folder.is_dir() or not all(entry.mark for entry in entries):
            draft = home / f".carclf-{os.getpid()}"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            for entry in entries:
                (draft / (entry.key.rpartition("/")[2] or place.name)).write_bytes(store.read(entry.key))
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(draft, folder)
        os.utime(folder)
        for other in home.iterdir():
            if other != folder and time.time() - other.stat().st_mtime > _OLD:
                shutil.rmtree(other, ignore_errors=True)
    return result


def size_of_copy(size: int) -> int:
    """Bytes of the copy of a photo of so many."""
    return size + _SEAL


def _copy(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    with suppress(OSError):  # a folder that another user has filled
        os.utime(path)
    return data[_SEAL:] if data[:_SEAL] == _seal(data[_SEAL:]) else None


def _seal(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_SEAL).digest()


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    from detection.common.files.locks import Lock, NoLocks  # that room knows this one

    lock = Lock.beside(path)
    with suppress(NoLocks, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.take(wait=True)
    try:
        yield
    finally:
        lock.release()
