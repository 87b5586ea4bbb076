"""From what a user wrote to a path: a local one, or that of a place, which is opened once."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from detection.common.errors import UsageError
from detection.common.places.address import restored, scheme_of, unknown_scheme, without_secrets
from detection.common.places.faults import PlaceError
from detection.common.places.place import Place
from detection.common.places.store import FILE, FOLDER, Store, usage
from detection.common.places.virtual.archives import ARCHIVES, ArchiveStore
from detection.common.places.virtual.lists import LISTS, ListStore, SetStore, expanded

TABLES = (".parquet",)

if TYPE_CHECKING:
    from detection.common.places.remote.store import RemoteStore

# What is open, by its address without secrets: an address that was shown finds its secrets again.
_open: dict[str, Store] = {}
_lock = threading.RLock()
_INSIDE = re.compile(r"(\.(?:zip|tar|parquet))/", re.IGNORECASE)
_BRACES = re.compile(r"\{[^{}]*(?:\.\.|,)[^{}]*\}")


def place_of(path: str | PathLike[str]) -> Place | None:
    """The place that a text means, as a file or folder that need not exist; None for a local path. Asks nobody where
    the folder is open already. Raises `UsageError` where it can't be opened."""
    if isinstance(path, Place):
        return path
    text = str(path)
    if ":" not in text:
        return None
    address = restored(text)
    if not scheme_of(address):
        other = unknown_scheme(text)
        if other:
            known = "s3://, gs://, az://, https://, sftp:// and memory://"
            raise UsageError(f"'{without_secrets(text)}' can't be opened: known are {known}.")
        return None
    with _lock:
        return _known(address) or _opened(address)


def path_of(path: str | PathLike[str]) -> Path:
    """The path of a file that is to be read: a local one, or one in a place, also in an archive that lies here."""
    if isinstance(path, Place):
        return path
    inside = _INSIDE.search(os.fspath(path))
    if inside is not None:
        archive = os.fspath(path)[: inside.start() + len(inside[1])]
        if archive in _open or scheme_of(archive) or os.path.isfile(archive):
            folder = folder_of(archive)
            assert folder is not None
            return folder / os.fspath(path)[inside.end() :]
    return place_of(path) or Path(path)


def folder_of(path: str | PathLike[str]) -> Place | None:
    """As `place_of`, of a folder of photos, which is the root of its store then; also an archive that lies here, a
    list, or a set of archives (`shards/{000..099}.tar`). None for a folder and a photo that lie here.

    Raises `UsageError` also where nothing is, or nobody may look.
    """
    text = os.path.expanduser(str(path)) if str(path).startswith("~") else str(path)
    if _BRACES.search(text) and not os.path.lexists(text):
        text = restored(text)
        with _lock:
            if not isinstance(_open.get(text), SetStore):  # not what `place_of` took for a folder of this name
                _open[text] = _set(text)
            return Place(_open[text], "")
    place = place_of(path)
    if place is None:
        is_file = text.lower().endswith((*ARCHIVES, *TABLES, *LISTS)) and os.path.isfile(text)
        return _virtual(text, Path(text)) if is_file else None
    try:
        kind = place.store.kind(place.key)
    except PlaceError as error:
        raise usage(f"'{place}' can't be read", error) from error
    if kind == FILE and place.name.lower().endswith((*ARCHIVES, *TABLES, *LISTS)):
        return _virtual(str(place), place)
    return rooted(place) if kind == FOLDER else place


def rooted(place: Place) -> Place:
    """A folder as the root of a store of its own, though it lies in one that is open, or is not there yet."""
    from detection.common.places.remote.store import RemoteStore

    if not place.key or not isinstance(place.store, RemoteStore):
        return place
    store = place.store.below(place.key)
    return Place(_kept_store(store.root, lambda: store), "")


def _virtual(text: str, path: Path) -> Place:
    """A file that is taken for a folder. It is looked into anew when it has changed."""
    stamp = path.stat()
    name = text.lower()
    if name.endswith(LISTS):
        return Place(ListStore(path, path_of), "")

    def opened() -> Store:
        if name.endswith(TABLES):
            from detection.common.places.virtual.tables import table_store

            return table_store(path, path_of)
        return ArchiveStore(path)

    known = _open.get(text)
    if known is None or known.seen != (stamp.st_size, stamp.st_mtime_ns):
        _open.pop(text, None)
        known = _kept_store(text, opened)
        known.seen = (stamp.st_size, stamp.st_mtime_ns)
    return Place(known, "")


def _set(text: str) -> Store:
    names = expanded(restored(text))
    wrong = next((name for name in names if not name.lower().endswith((*ARCHIVES, *TABLES))), None)
    if wrong:
        raise UsageError(f"'{wrong}' of '{text}' is no archive: known are {', '.join((*ARCHIVES, *TABLES))}.")
    return SetStore(text, names, folder_of)


def _kept_store(root: str, opened: Callable[[], Store]) -> Store:
    with _lock:
        if root not in _open:
            _open[root] = opened()
        return _open[root]


def _known(address: str) -> Place | None:
    shown = without_secrets(address).rstrip("/")
    if "?" in address and scheme_of(address) in ("http", "https"):
        return None  # each may have a signature of its own
    root = shown
    while root:
        if root in _open:
            return _child(_open[root], _open[root].key_of(shown[len(root) :].lstrip("/")))
        root = root.rpartition("/")[0] if "/" in root.partition("://")[2] else ""
    return None


def _child(store: Store, key: str) -> Place | None:
    path = Place(store, "") / key
    return path if isinstance(path, Place) else None


def _opened(address: str) -> Place:
    """Opens the folder itself, or of a file the folder that it lies in."""
    from detection.common.places.remote.web import open_remote

    above, _, name = address.partition("?")[0].rpartition("/")
    inside = bool(name) and not above.endswith("/")
    try:
        if scheme_of(address) in ("http", "https"):
            page = _on_the_web(address, above) if inside else None
            if page is not None:
                return page
        store = open_remote(address)
        if store.kind("") == FILE and inside:
            return Place(_kept(above), name)
    except PlaceError as error:
        raise usage(f"'{without_secrets(address)}' can't be read", error) from error
    _open[store.root] = store
    return Place(store, "")


def _on_the_web(address: str, above: str) -> Place | None:
    """A file of a web server; None for an index page, which is a folder. A query makes a file of everything."""
    store, key = _kept(above), _named(address)
    if "?" in address:
        store.real(key, address)
    elif store.kind(key) != FILE:
        return None
    return Place(store, key)


def _kept(address: str) -> RemoteStore:
    """The store of a folder that may be open already."""
    from detection.common.places.remote.store import RemoteStore
    from detection.common.places.remote.web import open_remote

    known = _open.get(without_secrets(address).rstrip("/"))
    if isinstance(known, RemoteStore):
        return known
    store = open_remote(address)
    _open[store.root] = store
    return store


def _named(address: str) -> str:
    """What a file of a web server is called: its last part, with what of the query may be shown."""
    path, _, query = without_secrets(address).rstrip("/").partition("?")
    kept = "&".join(part for part in query.split("&") if not part.endswith("=***"))
    name = unquote(path.rpartition("/")[2])
    return f"{name}?{kept}" if kept else name
