"""What is made once of photos and kept on disk: thumbnails and digests, by path, size and time of each file.

One SQLite file: whatever is killed, it stays whole, and several threads read and write it. It may be deleted at any
time; what is missing is made again.
"""

from __future__ import annotations

import hashlib
import io
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from detection.common.errors import UsageError
from detection.common.files import file_stamp
from detection.common.machine import usable_cores
from detection.common.places.paths import path_of
from detection.images.read import ImageError, load_image
from detection.masks.parts import file_digest

FOLDER, NAME = ".review", "cache.sqlite"
SIDE = 256  # pixels of a thumbnail's longer side
_QUALITY = 80
_FORMAT = 1
_PAGES = 512  # KiB of the file that each connection keeps in memory


class Cache:
    """For any number of threads. Raises `UsageError` where it can't be written."""

    def __init__(self, folder: Path):
        """folder: of the journal; the cache lies in a hidden folder in it."""
        self.path = folder / FOLDER / NAME
        self._free: deque[sqlite3.Connection] = deque()  # threads come and go: a connection belongs to none
        # A large photo takes a hundred megabytes while it is decoded.
        self._decoding = threading.BoundedSemaphore(usable_cores())
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._prepare()
        except sqlite3.DatabaseError:
            self._begin_anew()
        except OSError as error:
            raise UsageError(f"'{self.path.parent}' can't be written: {error.strerror}.") from error

    def thumbnail(self, file: str) -> bytes:
        """A JPEG; empty for what is no readable photo. It is made where it is not there yet."""
        key = _key(file)
        found = None if key is None else self._get("thumbnails", key)
        if found is not None:
            return found
        with self._decoding:
            made = picture(file, SIDE, _QUALITY)
        if key is not None:
            self._put("thumbnails", key, made)
        return made

    def has_thumbnail(self, file: str) -> bool:
        key = _key(file)
        return key is None or self._get("thumbnails", key) is not None

    def photo(self, file: str, side: int) -> bytes:
        """The photo itself as a JPEG, its longer side at most `side`; empty for what is no readable photo."""
        with self._decoding:
            return picture(file, side, 88)

    def digest(self, file: str) -> str:
        """The first 16 hexadecimal digits of the content's SHA-256; empty where it can't be read."""
        key = _key(file)
        found = None if key is None else self._get("digests", key)
        if found is not None:
            return found.decode("ascii")
        try:
            made = file_digest(file)
        except (OSError, ValueError):
            return ""
        if key is not None:
            self._put("digests", key, made.encode("ascii"))
        return made

    def close(self) -> None:
        while self._free:
            self._free.pop().close()

    def _get(self, table: str, key: int) -> bytes | None:
        with self._connected() as connection:
            row = connection.execute(f"SELECT value FROM {table} WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def _put(self, table: str, key: int, value: bytes) -> None:
        try:
            with self._connected() as connection, connection:
                connection.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (key, value))
        except sqlite3.OperationalError:  # a full disk: it is made again the next time
            pass

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection that nobody else has meanwhile; there are as many as were ever needed at a time."""
        try:
            connection = self._free.pop()
        except IndexError:
            connection = sqlite3.connect(self.path, timeout=30, check_same_thread=False)
            for setting in ("journal_mode = WAL", "synchronous = NORMAL", f"cache_size = -{_PAGES}"):
                connection.execute(f"PRAGMA {setting}")
        try:
            yield connection
        except sqlite3.DatabaseError:
            connection.close()
            raise
        self._free.append(connection)

    def _prepare(self) -> None:
        with self._connected() as connection, connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _FORMAT):
                raise sqlite3.DatabaseError("made by another version")
            for table in ("thumbnails", "digests"):
                connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (key INTEGER PRIMARY KEY, value BLOB)")
            connection.execute(f"PRAGMA user_version = {_FORMAT}")

    def _begin_anew(self) -> None:
        self.close()
        for ending in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        self._prepare()


def picture(file: str, side: int, quality: int) -> bytes:
    """A photo, upright, as a JPEG without any of its notes; empty for what is no readable photo."""
    try:
        image = load_image(path_of(file), max_side=side)
    except (ImageError, OSError, ValueError):
        return b""
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", quality=quality)
    return data.getvalue()


def _key(file: str) -> int | None:
    """64 bits of path, size and time; None for a file that is not there."""
    stamp = file_stamp(path_of(file))
    if stamp is None:
        return None
    text = f"{file}\0{stamp}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True)
