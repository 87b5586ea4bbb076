"""What holds photos by key: the contract of all kinds of places, and what a listing has told of each photo."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from detection.common.errors import UsageError
from detection.common.places.address import joined
from detection.common.places.faults import PlaceError

if TYPE_CHECKING:
    from detection.common.files.sorted_names import SortedNames

FILE, FOLDER = "file", "folder"


@dataclass(frozen=True, slots=True)
class Entry:
    """One photo or other file. key: its path below the root, with slashes. size: in bytes. mark: a number that is
    another one when the content is, as far as the place tells (by etag, checksum or time)."""

    key: str
    size: int
    mark: int

    @property
    def stamp(self) -> tuple[int, int]:
        return self.size, self.mark


@dataclass
class Listing:
    """entries: what lies in a place. left_out: a sentence for each thing that can't be taken, as its name is none."""

    entries: Iterable[Entry]
    left_out: list[str] = field(default_factory=list)


class Keeper:
    """Keeps copies on this machine of what was read of stores."""

    def bytes_of(self, store: Store, key: str) -> bytes:
        """The content of a file; by its copy, where there is one."""
        raise NotImplementedError

    def kept(self, name: str, stamp: tuple[int, int], fetch: Callable[[], bytes]) -> bytes:
        """What `fetch` has returned, now or before, for the thing of this name and stamp."""
        raise NotImplementedError


class Store:
    """Files by key below a root. Methods may be called by several threads; they raise `PlaceError`.

    root: the address as it may be shown.
    """

    root: str
    # Whether a request takes so long that files should be fetched ahead, by several threads at once.
    distant = False
    # Whether somebody has named each file, so that all of them are meant.
    chosen = False
    # Whether reading a file again takes so long that a copy should be kept, and where copies are kept at present.
    slow = False
    keeper: ClassVar[Keeper | None] = None
    seen: tuple[int, int] | None = None  # size and time of the file that it was made of
    threads = 16

    def __init__(self, root: str):
        self.root = root
        self.fetched: dict[str, Future[bytes]] = {}  # by key; what `fetch_ahead` has begun to read
        self._listed: SortedNames | None = None
        self._written: dict[str, Entry] = {}
        self._gone: set[str] = set()

    def kind(self, key: str) -> str:
        """FILE, FOLDER, or empty where nothing is."""
        raise NotImplementedError

    def ask(self, key: str) -> Entry | None:
        """What the place says of a file now; None where there is none."""
        raise NotImplementedError

    def walk(self) -> Listing:
        """All files, in any order."""
        raise NotImplementedError

    def read(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of a file, or those from `start` up to, but not with, `end`."""
        raise NotImplementedError

    def check_writable(self) -> None:
        """Raises `UsageError` for a kind of place that nothing can be written to."""
        raise UsageError(f"'{self.root}' can be read, and not written: name a folder or a bucket for results.")

    def write(self, key: str, data: bytes) -> None:
        """Writes a file so that it is there whole, or not at all."""
        self.check_writable()

    def remove(self, key: str) -> None:
        """Removes a file, if it is there."""
        self.check_writable()

    def child(self, key: str) -> Path | None:
        """The path of what lies elsewhere, as of a list; None for what lies in the store itself."""
        return None

    def address(self, key: str) -> str:
        """A file's address as it may be shown, and as `path_of` takes it."""
        return joined(self.root, key)

    def key_of(self, text: str) -> str:
        """The key of what stands behind the root in an address."""
        return text

    def there(self) -> bool:
        """Whether it still answers, and the folder is there."""
        return True

    def remember(self, entries: Iterable[Entry]) -> Sequence[str]:
        """Notes what a listing has told, in place of an earlier one: of many files in a temporary file. Returns the
        keys, sorted."""
        from detection.common.files.sorted_names import SortedNames  # that room knows this one

        self._listed = SortedNames(((entry.key, entry.stamp) for entry in entries), width=2)
        self.fetched.clear()
        self._written.clear()
        self._gone.clear()
        self.abandon(False)
        return self._listed

    def names(self) -> Sequence[str]:
        """The keys of the last listing, sorted; of a place that was not listed yet, after it is."""
        return self.remember(self.walk().entries) if self._listed is None else self._listed

    def note(self, entry: Entry) -> None:
        """Keeps what was told of one file, as a listing would."""
        self._written[entry.key] = entry
        self._gone.discard(entry.key)

    def forget(self, key: str) -> None:
        """A file that was listed is another one by now, or gone."""
        self._written.pop(key, None)
        self._gone.add(key)

    def known(self, key: str) -> Entry | None:
        """What the last listing has told of a file, or that it was written since."""
        if key in self._written:
            return self._written[key]
        place = None if self._listed is None or key in self._gone else self._listed.find(key)
        if self._listed is None or place is None:
            return None
        size, mark = self._listed.numbers(place)
        return Entry(key, size, mark)

    def abandon(self, really: bool = True) -> None:
        """Faults are not waited for any more, until it is listed again: the run ends."""

    def entry(self, key: str) -> Entry | None:
        """What the last listing has told, else what the place says now."""
        return self.known(key) or self.ask(key)

    def bytes_of(self, key: str) -> bytes:
        """The content of a file; perhaps it was fetched ahead."""
        begun = self.fetched.pop(key, None)
        return self.whole(key) if begun is None else begun.result()

    def whole(self, key: str) -> bytes:
        """The content of a file, from the place or from a copy that is kept here."""
        return self.read(key) if self.keeper is None or not self.slow else self.keeper.bytes_of(self, key)


def mark_of(*values: object) -> int:
    """A number of 55 bits that stands for values: an etag, a checksum, a time.

    >>> mark_of("etag") == mark_of("etag"), mark_of("etag") == mark_of("other")
    (True, False)
    """
    text = "\0".join(map(str, values)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "little") >> 1


def name_complaint(key: str) -> str:
    """Why a name in a place can't be one of a file below a folder, in a few words; empty where it can.

    >>> name_complaint("a/b.jpg"), name_complaint("../b.jpg"), name_complaint("a//b.jpg")
    ('', 'it leads out of its folder', 'a folder in it has no name')
    """
    parts = key.replace("\\", "/").split("/")
    if key.startswith(("/", "\\")) or ".." in parts or (len(parts[0]) == 2 and parts[0][1] == ":"):
        return "it leads out of its folder"
    if "" in parts or "." in parts:
        return "a folder in it has no name"
    return "it holds a NUL" if "\0" in key else ""


def checked(entries: Iterable[Entry], root: str, left_out: list[str]) -> Iterator[Entry]:
    """Those with names of files; a sentence for each other one goes to `left_out`."""
    for entry in entries:
        complaint = name_complaint(entry.key)
        if complaint:
            left_out.append(f"'{entry.key}' in '{root}' is left out: {complaint}.")
        else:
            yield entry


def usage(what: str, error: PlaceError) -> UsageError:
    """The sentence of a place that can't be used. what: how the sentence begins."""
    hint = "try again later" if error.passing else "check the address, the credentials and their rights"
    return UsageError(f"{what}: {error.strerror}; {hint}.")
