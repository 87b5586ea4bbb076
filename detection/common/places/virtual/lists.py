"""Places that name others: lists of photos in text, csv and JSON lines, and archives that are numbered."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

from detection.common.errors import UsageError
from detection.common.places.address import scheme_of
from detection.common.places.faults import PlaceError
from detection.common.places.place import Place
from detection.common.places.store import FOLDER, Entry, Listing, name_complaint
from detection.common.places.virtual.archives import IndexedStore

LISTS = (".csv", ".txt", ".jsonl")
# How a column, or a key, is called that names a photo; the first that is there counts.
COLUMNS = ("file", "path", "url", "image", "image_path", "img_file", "filename", "photo", "source")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_CHOICE = re.compile(r"\{([^{}]*,[^{}]*)\}")
_MOST_ARCHIVES = 100_000


class ListStore(IndexedStore):
    """The photos that a list names, each called by its path below the folder that they have in common."""

    chosen = True

    def __init__(self, path: Path, open_path: Callable[[str], Path], lines: Iterable[str] | None = None):
        """open_path: gives the path of what a line names. lines: what the list names, None to read it. Raises
        `UsageError` for a list that can't be read."""
        super().__init__(str(path))
        try:
            lines = list(paths_in(path.read_bytes(), str(path)) if lines is None else lines)
        except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
            if isinstance(error, UsageError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"The list '{path}' can't be read: {reason}.") from error
        if not lines:
            raise UsageError(f"The list '{path}' names no photo.")
        self._left_out: list[str] = []
        folder = path.parent
        targets = [self._target(folder, line, open_path) for line in lines]
        self._paths = self._named(targets)
        self._entries: dict[str, Entry] | None = None

    @staticmethod
    def _target(folder: Path, line: str, open_path: Callable[[str], Path]) -> Path:
        if scheme_of(line) or os.path.isabs(line):
            return open_path(line)
        path = folder / line
        return path if isinstance(path, Place) else open_path(str(path))  # which may lie in an archive

    def entries(self) -> dict[str, Entry]:
        if self._entries is None:
            with ThreadPoolExecutor(self.threads, thread_name_prefix="carclf-list") as pool:
                found = pool.map(_ask, self._paths, self._paths.values())
                self._entries = {entry.key: entry for entry in found}
        return self._entries

    def walk(self) -> Listing:
        return Listing(list(self.entries().values()), list(self._left_out))

    def child(self, key: str) -> Path | None:
        return self._paths.get(key)

    def read(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        path = self._paths[key]
        if isinstance(path, Place):
            return path.store.read(path.key, start, end)
        with open(path, "rb") as file:
            file.seek(start or 0)
            return file.read(-1 if end is None else end - (start or 0))

    def _named(self, targets: Sequence[Path]) -> dict[str, Path]:
        texts = [_plain(target) for target in targets]
        folders = [text.rpartition("/")[0].split("/") for text in texts]
        common = _in_common(folders)
        named: dict[str, Path] = {}
        for text, target in zip(texts, targets, strict=True):
            key = "/".join(text.split("/")[common:])
            complaint = name_complaint(key)
            if complaint or key in named:
                why = complaint or "it is listed twice"
                self._left_out.append(f"'{target}' in '{self.root}' is left out: {why}.")
            else:
                named[key] = target
        return named


class SetStore(IndexedStore):
    """Several archives, each a folder that is called as the file is."""

    def __init__(self, root: str, archives: Iterable[str], open_archive: Callable[[str], Place | None]):
        super().__init__(root)
        self._archives: dict[str, Place] = {}
        self._left_out: list[str] = []
        names = list(archives)
        common = _in_common([name.rpartition("/")[0].split("/") for name in names])
        for name in names:
            try:
                archive = open_archive(name)
            except UsageError as error:
                self._left_out.append(str(error))
                continue
            if archive is None or archive.store.kind(archive.key) != FOLDER:
                self._left_out.append(f"'{name}' is left out: it is not there.")
            else:
                self._archives["/".join(name.split("/")[common:])] = archive
        if not self._archives:
            raise UsageError(f"There is none of the {len(names)} archives of '{root}': check the address.")
        self.distant = any(archive.store.distant for archive in self._archives.values())
        self._entries: dict[str, Entry] | None = None

    def entries(self) -> dict[str, Entry]:
        if self._entries is None:
            self._entries = {}
            for name, archive in self._archives.items():
                listing = archive.store.walk()
                self._left_out += listing.left_out
                for entry in listing.entries:
                    key = f"{name}/{entry.key}"
                    self._entries[key] = Entry(key, entry.size, entry.mark)
        return self._entries

    def walk(self) -> Listing:
        return Listing(list(self.entries().values()), list(self._left_out))

    def child(self, key: str) -> Path | None:
        for name, archive in self._archives.items():
            if key.startswith(f"{name}/"):
                return archive / key[len(name) + 1 :]
        return None

    def read(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        path = self.child(key)
        assert isinstance(path, Place)
        return path.store.read(path.key, start, end)


def expanded(text: str) -> list[str]:
    """
    >>> expanded("shards/{008..010}.tar"), expanded("{a,b}.zip"), expanded("photos")
    (['shards/008.tar', 'shards/009.tar', 'shards/010.tar'], ['a.zip', 'b.zip'], ['photos'])
    """
    pieces: list[list[str]] = []
    rest = text
    while rest:
        found = min(
            filter(None, (_RANGE.search(rest), _CHOICE.search(rest))), key=lambda one: one.start(), default=None
        )
        if found is None:
            break
        pieces.append([rest[: found.start()]])
        if found.re is _RANGE:
            first, last = int(found[1]), int(found[2])
            if last - first >= _MOST_ARCHIVES:
                raise UsageError(f"'{text}' means more than {_MOST_ARCHIVES} archives: name fewer.")
            pieces.append([f"{number:0{len(found[1])}d}" for number in range(first, last + 1)])
        else:
            pieces.append(found[1].split(","))
        rest = rest[found.end() :]
    return ["".join(parts) for parts in product(*pieces, [rest])]


def _in_common(paths: Sequence[list[str]]) -> int:
    """How many parts all paths begin with."""
    first, last = min(paths), max(paths)
    return next(
        (number for number, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first)
    )


def _ask(key: str, path: Path) -> Entry:
    """What is known of a listed photo; one that is not there is an entry, too, and becomes a row."""
    if not isinstance(path, Place):
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return Entry(key, 0, 0)
        return Entry(key, status.st_size, status.st_mtime_ns)
    try:
        entry = path.store.entry(path.key)
    except PlaceError:
        entry = None
    if entry is None:
        return Entry(key, 0, 0)
    path.store.note(entry)
    return Entry(key, entry.size, entry.mark)


def paths_in(data: bytes, name: str) -> Iterator[str]:
    """What the lines of a list name."""
    text = data.decode("utf-8-sig", "surrogateescape")
    if name.lower().endswith(".txt"):
        yield from filter(None, (line.strip() for line in text.splitlines()))
    elif name.lower().endswith(".jsonl"):
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield _value(json.loads(line), f"Line {number} of '{name}'")
    else:
        sample = text.split("\n", 1)[0]
        delimiter = max(",;\t", key=sample.count)
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        for row in rows:
            yield _value(row, f"The list '{name}'")


def _value(row: object, what: str) -> str:
    if isinstance(row, str):
        return row
    if isinstance(row, dict):
        lower = {str(key).lower(): value for key, value in row.items()}
        found = next((lower[column] for column in COLUMNS if isinstance(lower.get(column), str)), "")
        if found:
            return found
    raise UsageError(f"{what} names no photo: it needs a column {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}.")


def _plain(path: Path) -> str:
    """A path as names and slashes, wherever it leads."""
    if isinstance(path, Place) and "://" in str(path):
        return str(path).replace("://", "/")
    return os.path.abspath(path).replace(os.sep, "/").lstrip("/")
