"""Files behind addresses, through fsspec: object stores, SFTP and memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from datetime import datetime
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from detection.common.places.address import SCHEMES, WEB, joined, scheme_of, without_secrets
from detection.common.places.faults import (
    Health,
    PlaceError,
    Short,
    persist,
)
from detection.common.places.remote.connect import connected
from detection.common.places.remote.listing import listed
from detection.common.places.store import FILE, FOLDER, Entry, Listing, Store, checked, mark_of

Result = TypeVar("Result")
_TEMP = ".carclf-"
_numbers = count()
# What tells one content from another, the best first; times in whole seconds, as not every request tells more.
_TAGS = ("ETag", "etag", "md5Hash", "crc32c", "content_md5", "Content-MD5", "generation")
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created", "Last-Modified")


class RemoteStore(Store):
    """A folder behind an address. Faults that pass are waited for: `CARCLF_PATIENCE` seconds, once it has answered."""

    distant = slow = True

    def __init__(self, address: str):
        """address: with its secrets. Raises `UsageError` where a library lacks or the address can't be reached."""
        super().__init__(without_secrets(address).rstrip("/"))
        self._scheme = scheme_of(address)
        self._health = Health(self.root)
        self._kind: str | None = None
        self._real: dict[str, str] = {}
        self._address = address
        self._fs, self.path = persist(lambda: connected(address, self._scheme), self._health)
        self._process = os.getpid()
        self._others: SimpleQueue[Any] = SimpleQueue()
        self.distant = self._scheme != "memory"
        if SCHEMES[self._scheme] == "paramiko":
            self.threads = 4  # each has a connection of its own
        # Else s3fs asks for the size first, to fetch large files in pieces.
        self._one_request = {"max_concurrency": 1} if SCHEMES[self._scheme] == "s3fs" else {}

    @property
    def fs(self) -> Any:
        """fsspec's file system. A process that was forked off needs one of its own."""
        if self._process != os.getpid():
            self._others = SimpleQueue()
            self._fs, _ = connected(self._address, self._scheme)
            self._process = os.getpid()
        return self._fs

    def below(self, key: str) -> RemoteStore:
        """The store of a folder in this one, by the same connection."""
        other = copy(self)
        Store.__init__(other, joined(self.root, key))
        other.path, other._kind, other._real = self.full(key), None, {}
        return other

    def _call(self, work: Callable[[Any], Result]) -> Result:
        """What `work` returns of fsspec's file system, tried again as long as faults may pass."""
        return persist(
            lambda: self._alone(work) if SCHEMES[self._scheme] == "paramiko" else work(self.fs), self._health
        )

    def _alone(self, work: Callable[[Any], Result]) -> Result:
        """The same with a connection that no other thread uses: paramiko's can't be shared."""
        _ = self.fs  # sees to it that none is another process's
        try:
            fs = self._others.get_nowait()
        except Empty:
            fs, _ = connected(self._address, self._scheme, skip_instance_cache=True)
        result = work(fs)
        self._others.put(fs)  # after a fault nobody uses it any more
        return result

    def abandon(self, really: bool = True) -> None:
        self._health.abandon(really)

    def kind(self, key: str) -> str:
        if self.known(key) is not None:
            return FILE
        if not key and self._kind:
            return self._kind
        info = self._info(key)
        kind = "" if info is None else FOLDER if self._is_folder(key, info) else FILE
        if not key:
            self._kind = kind
        return kind

    def ask(self, key: str) -> Entry | None:
        info = self._info(key)
        return None if info is None or info.get("type") == "directory" else self._entry(key, info)

    def _is_folder(self, key: str, info: dict[str, Any]) -> bool:
        return info.get("type") == "directory"

    def real(self, key: str, address: str) -> None:
        """Notes the address of a file, where it says more than the name."""

    def _info(self, key: str) -> dict[str, Any] | None:
        try:
            return self._call(lambda fs: fs.info(self.full(key)))
        except PlaceError as error:
            if error.errno == errno.ENOENT:
                return None
            raise

    def walk(self) -> Listing:
        from detection.common.files.sorted_names import SortedNames  # that room knows this one

        left_out: list[str] = []
        start = len(self.path.rstrip("/")) + 1

        def once(fs: Any) -> SortedNames:
            left_out.clear()
            entries = (
                self._entry(info["name"][start:], info)
                for info in listed(fs, self.path)
                if info.get("type") != "directory" and not info["name"].endswith("/")
            )
            return SortedNames(((one.key, one.stamp) for one in checked(entries, self.root, left_out)), width=2)

        found = self._call(once)
        return Listing((Entry(key, size, mark) for key, (size, mark) in found.rows()), left_out)

    def read(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        known = self.known(key)

        def once(fs: Any) -> bytes:
            data = fs.cat_file(self.full(key), start=start, end=end, **self._one_request)
            if start is None and end is None and known is not None and len(data) != known.size:
                now = self.ask(key)
                if now is None or now.size == len(data):
                    self.forget(key)
                    raise PlaceError(errno.ESTALE, "it has changed meanwhile")
                raise Short(f"{len(data)} of {known.size} bytes came")
            return data

        if known is not None and not known.size:
            return b""  # some servers answer a range of nothing with an error
        return self._call(once)

    def check_writable(self) -> None:
        if self._scheme in WEB:
            super().check_writable()

    def write(self, key: str, data: bytes) -> None:
        self.check_writable()
        self._call(lambda fs: self._write(fs, self.full(key), data))
        self.note(Entry(key, len(data), 0))

    def _write(self, fs: Any, path: str, data: bytes) -> None:
        if self._scheme not in ("sftp", "ssh"):
            fs.pipe_file(path, data)  # one request that counts as a whole, or parts that count at the end
            return
        folder = path.rpartition("/")[0]
        temp = f"{folder}/{_TEMP}{next(_numbers)}-{mark_of(path)}.tmp"
        fs.makedirs(folder, exist_ok=True)
        try:
            fs.pipe_file(temp, data)
            fs.ftp.posix_rename(temp, path)
        except BaseException:
            with suppress(Exception):  # the first fault is the one to be told
                fs.rm_file(temp)
            raise

    def remove(self, key: str) -> None:
        self.check_writable()
        try:
            self._call(lambda fs: fs.rm_file(self.full(key)))
        except PlaceError as error:
            if error.errno != errno.ENOENT:
                raise
        self.forget(key)

    def there(self) -> bool:
        if self._health.failing:
            return False
        try:
            self._call(lambda fs: fs.info(self.path))
        except PlaceError as error:
            return not error.passing and (error.errno != errno.ENOENT or self._scheme in WEB)
        return True

    def full(self, key: str) -> str:
        """How fsspec calls a file."""
        return f"{self.path.rstrip('/')}/{key}" if key else self.path

    def _entry(self, key: str, info: dict[str, Any]) -> Entry:
        return Entry(key, int(info.get("size") or 0), _mark(info))


def _mark(info: dict[str, Any]) -> int:
    for name in _TAGS:
        if info.get(name):
            # One server quotes a tag where it tells of one file, and not where it lists them.
            return mark_of(str(info[name]).strip('"'))
    for name in _TIMES:
        value = info.get(name)
        if isinstance(value, datetime):
            return mark_of(int(value.timestamp()))
        if value:
            return mark_of(int(value) if isinstance(value, float) else value)
    return 0
