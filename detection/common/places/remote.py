"""Files behind addresses, through fsspec: object stores, web servers, SFTP and memory."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from datetime import datetime
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

from detection.common.errors import UsageError, need
from detection.common.places.address import SCHEMES, joined, scheme_of, without_secrets
from detection.common.places.faults import (
    Health,
    PlaceError,
    Short,
    as_place_error,
    is_passing,
    persist,
)
from detection.common.places.host_keys import known_hosts_only
from detection.common.places.store import FILE, FOLDER, Entry, Listing, Store, checked, mark_of

Result = TypeVar("Result")
_WEB = ("http", "https")
_TEMP = ".carclf-"
_PAGE = 1000  # files that a listing tells of at once
_UNQUOTED = "/+:,;@~=&"
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
        self._fs, self.path = persist(lambda: _connected(address, self._scheme), self._health)
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
            self._fs, _ = _connected(self._address, self._scheme)
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
            fs, _ = _connected(self._address, self._scheme, skip_instance_cache=True)
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
                for info in _listed(fs, self.path)
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
        if self._scheme in _WEB:
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
            return not error.passing and (error.errno != errno.ENOENT or self._scheme in _WEB)
        return True

    def full(self, key: str) -> str:
        """How fsspec calls a file."""
        return f"{self.path.rstrip('/')}/{key}" if key else self.path

    def _entry(self, key: str, info: dict[str, Any]) -> Entry:
        return Entry(key, int(info.get("size") or 0), _mark(info))


class WebStore(RemoteStore):
    """A folder of a web server: its index page lists what is in it. Single files need no such page.

    A file's address may hold what nobody may see, such as a signature: such addresses are kept beside the names.
    """

    def real(self, key: str, address: str) -> None:
        """Notes the address of a file, where it says more than the name."""
        if address != self.full(key):
            self._real[key] = address

    def full(self, key: str) -> str:
        known = self._real.get(key)
        return known or (f"{self.path.rstrip('/')}/{quote(key, safe=_UNQUOTED)}" if key else self.path)

    def _is_folder(self, key: str, info: dict[str, Any]) -> bool:
        return _is_page(self.full(key), info)

    def address(self, key: str) -> str:
        return joined(self.root, quote(key, safe=_UNQUOTED))

    def key_of(self, text: str) -> str:
        return unquote(text)

    def walk(self) -> Listing:
        left_out: list[str] = []
        keys = sorted(set(self._below(f"{self.path.rstrip('/')}/", set())))
        with ThreadPoolExecutor(self.threads, thread_name_prefix="carclf-list") as pool:
            entries = [entry for entry in pool.map(self.ask, keys) if entry is not None]
        return Listing(checked(entries, self.root, left_out), left_out)

    def _below(self, page: str, seen: set[str]) -> Iterator[str]:
        """The files that the index page of a folder leads to, and those of the folders below it."""
        seen.add(page)
        root = f"{self.path.rstrip('/')}/"
        for link in self._call(lambda fs: fs.ls(page, detail=False)):
            link = link.partition("?")[0].partition("#")[0]
            if not link.startswith(page) or link == page:
                continue  # up, or to another site
            if link.endswith("/"):
                if link not in seen:
                    yield from self._below(link, seen)
            else:
                yield unquote(link[len(root) :])


def open_remote(address: str) -> RemoteStore:
    """The store of a folder. Raises `UsageError`."""
    scheme = scheme_of(address)
    try:
        return (WebStore if scheme in _WEB else RemoteStore)(address)
    except PlaceError as error:
        shown = without_secrets(address)
        raise UsageError(f"'{shown}' can't be reached: {error.strerror}; check the address.") from error


def _listed(fs: Any, path: str) -> Iterator[dict[str, Any]]:
    """What lies below a folder. fsspec's own `find` gives all of it at once, more than a kilobyte per file: where the
    file system has a listing page by page, as that of S3 has, a million files take no memory."""
    if not hasattr(fs, "_iterdir"):
        yield from ({**info, "name": name} for name, info in fs.find(path, detail=True).items())
        return
    from fsspec.asyn import sync

    bucket, key, _ = fs.split_path(path)
    listing = fs._iterdir(bucket, delimiter="", prefix=f"{key.strip('/')}/" if key else "")
    while some := sync(fs.loop, _next_of, listing, _PAGE):
        yield from some


async def _next_of(listing: AsyncIterator[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    some: list[dict[str, Any]] = []
    async for info in listing:
        some.append(info)
        if len(some) == most:
            break
    return some


def _connected(address: str, scheme: str, **options: Any) -> tuple[Any, str]:
    module = SCHEMES[scheme]
    if module:
        need(module, f"'{scheme}://'", extra="cloud")
    import fsspec

    if module != "paramiko":
        options["use_listings_cache"] = False
    if module == "s3fs":
        # Faults are waited for here, where they are told.
        options |= {"config_kwargs": {"retries": {"total_max_attempts": 1}, "max_pool_connections": 64}}
    elif module == "aiohttp":
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
        options |= {"client_kwargs": {"timeout": timeout, "trust_env": True}}
    elif module == "paramiko":
        options |= {"timeout": 10, "host_key_policy": known_hosts_only()}
    try:
        fs, path = fsspec.core.url_to_fs(address, **options)
    except UsageError:
        raise
    except Exception as error:
        raise error if is_passing(error) else as_place_error(error) from error
    if module == "s3fs":
        fs.retries = 1
    return fs, path


def _mark(info: dict[str, Any]) -> int:
    for name in _TAGS:
        if info.get(name):
            return mark_of(_quoted(info[name]) if name.lower() == "etag" else info[name])
    for name in _TIMES:
        value = info.get(name)
        if isinstance(value, datetime):
            return mark_of(int(value.timestamp()))
        if value:
            return mark_of(int(value) if isinstance(value, float) else value)
    return 0


def _quoted(tag: object) -> str:
    """Some servers leave the quotes out where they list, and a photo must have one mark on all machines."""
    text = str(tag)
    return text if text.startswith(('"', "W/")) else f'"{text}"'


def _is_page(address: str, info: dict[str, Any]) -> bool:
    """Whether an address is that of a folder: an index page."""
    return urlsplit(address).path.endswith("/") or str(info.get("mimetype", "")).startswith("text/html")
