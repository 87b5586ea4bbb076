"""Folders of web servers, by their index pages; and the one door to all that lies behind addresses."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from detection.common.errors import UsageError
from detection.common.places.address import WEB, joined, scheme_of, without_secrets
from detection.common.places.faults import PlaceError
from detection.common.places.remote.store import RemoteStore
from detection.common.places.store import Listing, checked

_UNQUOTED = "/+:,;@~=&"


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
        return (WebStore if scheme in WEB else RemoteStore)(address)
    except PlaceError as error:
        shown = without_secrets(address)
        raise UsageError(f"'{shown}' can't be reached: {error.strerror}; check the address.") from error


def _is_page(address: str, info: dict[str, Any]) -> bool:
    """Whether an address is that of a folder: an index page."""
    return urlsplit(address).path.endswith("/") or str(info.get("mimetype", "")).startswith("text/html")
