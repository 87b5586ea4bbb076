"""An archive in a place: S3, Google Cloud, Azure, a server by SFTP, or memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping

from carclf.tools.fetch.folder import PlaceFolder
from carclf.tools.fetch.source import Answer, Passing
from detection.common.errors import UsageError
from detection.common.places.faults import PlaceError
from detection.common.places.paths import place_of
from detection.common.places.place import Place
from detection.common.places.store import FOLDER, Entry, usage

_CHUNK = 8 << 20


def place_source(text: str) -> PlaceFile | PlaceFolder:
    """The file or folder of an address. Raises `UsageError` where it can't be looked at."""
    place = place_of(text)
    assert place is not None, text
    try:
        kind = place.store.kind(place.key)
    except PlaceError as error:
        raise usage(f"'{place}' can't be read", error) from error
    return PlaceFolder(place) if kind == FOLDER else PlaceFile(place)


class PlaceFile:
    """A `Source`: one file."""

    def __init__(self, place: Place):
        self._place = place
        self.name = str(place)
        self.key = hashlib.sha256(self.name.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def open(self, headers: Mapping[str, str]) -> Answer:
        store, key = self._place.store, self._place.key
        try:
            entry = store.ask(key)
        except PlaceError as error:
            raise self._told(error) from error
        if entry is None:
            raise UsageError(f"There is nothing at {self.name}: is the address right?")
        tag = f'"{entry.size}-{entry.mark}"'
        wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
        start = int(wanted[1]) if wanted and headers.get("If-Range") == tag else 0
        about = {"content-length": str(entry.size - start)}
        if entry.mark:
            about["etag"] = tag
        if start:
            about["content-range"] = f"bytes {start}-{entry.size - 1}/{entry.size}"
        return Answer(206 if start else 200, about, self._chunks(entry, start), lambda: None)

    def _chunks(self, entry: Entry, start: int) -> Iterator[bytes]:
        for first in range(start, entry.size, _CHUNK):
            try:
                data = self._place.store.read(self._place.key, first, min(first + _CHUNK, entry.size))
                now = self._place.store.ask(self._place.key)
            except PlaceError as error:
                raise self._told(error) from error
            if now is None or now.stamp != entry.stamp:
                raise Passing(f"{self.name} has changed meanwhile")
            yield data

    def _told(self, error: PlaceError) -> Exception:
        if error.passing:
            return Passing(error.strerror or "it does not answer", waited=True)
        return usage(f"{self.name} can't be fetched", error)
