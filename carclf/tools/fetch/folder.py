"""A folder of single photos in a place, copied file by file, by several threads at a time."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from detection.common.console import say, tracked
from detection.common.errors import UsageError
from detection.common.files import TEMP_PREFIX
from detection.common.places.faults import PlaceError
from detection.common.places.paths import folder_of
from detection.common.places.place import Place
from detection.common.places.store import Entry, usage

_CHUNK = 8 << 20
_DONE = f"{TEMP_PREFIX}done"  # what has come: a line per file, of its size, mark and key


class PlaceFolder:
    """name: its address, which goes into messages and into the folder. key: tells folders of one name apart.
    missed: how many files `copy` has left out."""

    def __init__(self, place: Place):
        self.name = str(place)
        self.missed = 0
        self.key = hashlib.sha256(self.name.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def copy(self, work: Path, most: int) -> Path:
        """The folder in `work` that holds all files, by their keys; the same call resumes. most: bytes of all files.

        Files whose keys are no names here are told and left out. Raises `UsageError`; what has come by then stays.
        """
        place = folder_of(self.name)
        assert place is not None
        try:
            listing = place.store.walk()
            place.store.remember(listing.entries)
        except PlaceError as error:
            raise usage(f"'{place}' can't be read", error) from error
        entries = list(filter(None, map(place.store.known, place.store.names())))
        above = {entry.key[:end] for entry in entries for end, sign in enumerate(entry.key) if sign == "/"}
        for entry in entries:
            if entry.key in above:  # an object store minds no file and folder of one name
                listing.left_out.append(f"'{entry.key}' in '{place}' is left out: a folder is called so, too.")
        self.missed = len(listing.left_out)
        for line in listing.left_out:
            say(line)
        entries = [entry for entry in entries if entry.key not in above]
        if not entries:
            raise UsageError(f"There is no file in '{place}': check the address.")
        self._check_size(sum(entry.size for entry in entries), most, work)
        content = work / "content"
        content.mkdir(exist_ok=True)
        done = set(_lines(work / _DONE))
        lock = threading.Lock()

        def bring(entry: Entry) -> None:
            line = f"{entry.size} {entry.mark} {entry.key}"
            target = content / entry.key
            if line in done and entry.mark and target.is_file() and target.stat().st_size == entry.size:
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            temp = content / f"{TEMP_PREFIX}{threading.get_ident()}.tmp"
            with open(temp, "wb") as file:
                for first in range(0, entry.size, _CHUNK) if entry.size > _CHUNK else [None]:
                    end = None if first is None else min(first + _CHUNK, entry.size)
                    file.write(place.store.read(entry.key, first, end))
            os.replace(temp, target)
            with lock, open(work / _DONE, "a", encoding="utf-8", errors="surrogateescape") as noted:
                noted.write(f"{line}\0\n")

        with ThreadPoolExecutor(place.store.threads, thread_name_prefix="carclf-fetch") as pool:
            try:
                for _ in tracked("fetching")(pool.map(bring, entries), len(entries)):
                    pass
            except PlaceError as error:
                place.store.abandon()
                pool.shutdown(cancel_futures=True)
                raise usage(f"'{place}' can't be fetched now, and what has come is kept", error) from error
            except BaseException:
                place.store.abandon()
                pool.shutdown(cancel_futures=True)
                raise
        self._remove_others(content, {entry.key for entry in entries})
        return content

    def _check_size(self, size: int, most: int, work: Path) -> None:
        if size > most:
            raise UsageError(
                f"{self.name} has {size / 1e9:.1f} GB, more than the {most / 1e9:g} GB allowed: raise --max-gb if you "
                "want it."
            )
        free = shutil.disk_usage(work).free
        if size > free:
            raise UsageError(
                f"{self.name} has {size / 1e9:.1f} GB, but '{work.parent}' has {free / 1e9:.1f} GB free: make room."
            )

    def _remove_others(self, content: Path, wanted: set[str]) -> None:
        """What an earlier call has brought, and is not there any more."""
        for file in [one for one in content.rglob("*") if one.is_file()]:
            if file.relative_to(content).as_posix() not in wanted:
                file.unlink()


def _lines(path: Path) -> Iterator[str]:
    """Whole ones: a kill may have torn the last."""
    if path.is_file():
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        yield from (line for line in text.split("\0\n")[:-1])
