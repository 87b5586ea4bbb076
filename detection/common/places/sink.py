"""A folder of results in a place, where nothing can be appended to: worked on in a local folder, and sent whole.

Each result is there whole before its row is in the journal. What is only appended to here (journals) is sent in
numbered parts, so that a killed run loses no more than the rows since the last one, and any machine can resume from
them. At the end the whole files take their place.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from detection.common.errors import UsageError
from detection.common.files import cache_folder
from detection.common.files.locks import Lock, NoLocks
from detection.common.places.faults import PlaceError
from detection.common.places.lease import Lease
from detection.common.places.paths import place_of, rooted
from detection.common.places.place import Place
from detection.common.places.store import usage

Row = TypeVar("Row")
PARTS = ".carclf-parts"  # hidden, so that nobody takes it for a folder of photos
_PART = re.compile(rf"{re.escape(PARTS)}/([^/]+)/([0-9]+)-([0-9]+)-[0-9a-f]+")
_BOOKS = (".json", ".jsonl", ".csv")
PAUSE = 5.0  # seconds between two parts, more in a long run: no more than this share of it
_SHARE = 0.02
_ON_THE_WAY = 64  # results that are being sent, at most


class Sink:
    """What a run needs of a place that it writes into; see `opened_sink`.

    place: where everything ends. folder: the local folder to work in, which holds the files of the top that are no
    results. Raises `PlaceError` when the place can't be read or written.
    """

    def __init__(self, place: Place, folder: Path):
        self.place, self.folder = rooted(place), folder  # its keys are those of the results
        self.lease: Lease | None = None
        self._sent: dict[str, bytes] = {}  # digest of each whole file of the top, as it is there
        self._flushed: dict[str, int] = {}  # bytes of each file that are there, whole or in parts
        self._parts: list[str] = []
        self._run, self._number = 1, 0
        self._begun = self._last = time.monotonic()

    def fetch(self) -> None:
        """Lists what is there, and brings journals and tables here."""
        store = self.place.store
        try:
            keys = store.remember(store.walk().entries)
        except PlaceError as error:  # some kinds have no folder without files
            if error.errno != errno.ENOENT:
                raise
            keys = store.remember(())
        books = [key for key in keys if "/" not in key and key.lower().endswith(_BOOKS)]
        found = [match for key in keys if (match := _PART.fullmatch(key))]
        found.sort(key=lambda match: (int(match[2]), int(match[3])))
        self._parts = [match[0] for match in found]
        self._run = 1 + max((int(match[2]) for match in found), default=0)
        with ThreadPoolExecutor(store.threads, thread_name_prefix="carclf-fetch") as pool:
            for name, data in zip(books, pool.map(store.read, books), strict=True):
                (self.folder / name).write_bytes(data)
                self._sent[name] = _digest(data)
            for match, data in zip(found, pool.map(store.read, self._parts), strict=True):
                with open(self.folder / match[1], "ab") as file:
                    file.write(data)
        self._flushed = {path.name: path.stat().st_size for path in self.folder.iterdir() if path.is_file()}

    def has(self, name: str) -> bool:
        """Whether a result was there, or has been sent."""
        return self.place.store.known(name) is not None

    def send(self, name: str) -> None:
        """Sends a file of the top, if it is another one than there."""
        self._check()
        data = (self.folder / name).read_bytes()
        if self._sent.get(name) != _digest(data):
            self.place.store.write(name, data)
            self._sent[name] = _digest(data)
        self._flushed[name] = len(data)

    def sent(self, rows: Iterable[Row], files: Callable[[Row], Iterable[str]]) -> Iterator[Row]:
        """The rows, in their order, each when its files are in place; they are removed here."""
        pool = ThreadPoolExecutor(self.place.store.threads, thread_name_prefix="carclf-send")
        try:
            yield from when_sent((row, [pool.submit(self._hand_over, name) for name in files(row)]) for row in rows)
        except BaseException:
            self.place.store.abandon()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def note(self, *appended: str) -> None:
        """Sends what was appended to these files since the last part, if it is time. appended: the journal last, whose
        rows need what is in the others."""
        now = time.monotonic()
        if now - self._last >= max(PAUSE, _SHARE * (now - self._begun)):
            self.flush(*appended)

    def flush(self, *appended: str) -> None:
        """Sends it at once."""
        self._check()
        self._last = time.monotonic()
        sizes = {name: os.path.getsize(self.folder / name) for name in reversed(appended) if self._is_there(name)}
        for name in reversed(sizes):
            start = self._flushed.get(name, 0)
            if sizes[name] > start:
                with open(self.folder / name, "rb") as file:
                    file.seek(start)
                    data = file.read(sizes[name] - start)
                key = f"{PARTS}/{name}/{self._run:06d}-{self._number:06d}-{os.urandom(4).hex()}"
                self._number += 1
                self.place.store.write(key, data)
                self._parts.append(key)
                self._flushed[name] = sizes[name]

    def publish(self, journal: str) -> None:
        """Sends all files that are new or changed, the journal last, and then removes its parts."""
        below = [path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
        names = sorted(path.relative_to(self.folder).as_posix() for path in below)
        with ThreadPoolExecutor(self.place.store.threads, thread_name_prefix="carclf-send") as pool:
            list(pool.map(self.send, (name for name in names if name != journal)))
        if journal in names:
            self.send(journal)
        mine = [key for key in self._parts if key.split("/")[1] in names]
        with ThreadPoolExecutor(self.place.store.threads, thread_name_prefix="carclf-send") as pool:
            list(pool.map(self.place.store.remove, mine))
        self._parts = [key for key in self._parts if key not in set(mine)]

    def drop(self, *names: str) -> None:
        """Removes files of the top there, and their parts: the run begins again."""
        for name in names:
            for key in [key for key in self._parts if key.split("/")[1] == name]:
                self.place.store.remove(key)
                self._parts.remove(key)
            if self._sent.pop(name, None) is not None:
                self.place.store.remove(name)
            self._flushed.pop(name, None)

    def _is_there(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def _check(self) -> None:
        """Raises `UsageError` when the place is another run's by now."""
        if self.lease is not None:
            self.lease.check()

    def _hand_over(self, name: str) -> None:
        self._check()
        path = self.folder / name
        self.place.store.write(name, path.read_bytes())
        path.unlink()


def when_sent(rows: Iterable[tuple[Row, Sequence[Future[None]]]], most: int = _ON_THE_WAY) -> Iterator[Row]:
    """The rows, in their order, each when what is being sent for it has arrived. most: rows that are held back."""
    waiting: deque[tuple[Row, Sequence[Future[None]]]] = deque()
    for one in rows:
        waiting.append(one)
        while waiting and (len(waiting) > most or all(sending.done() for sending in waiting[0][1])):
            yield _when_sent(waiting)
    while waiting:
        yield _when_sent(waiting)


@contextmanager
def results_at(path: str | Path) -> Iterator[Path]:
    """A local folder to write results into: the one that is named, or one whose files go to a place at the end.

    Raises `UsageError` when nothing can be written there.
    """
    place = place_of(path)
    if place is None:
        yield Path(path)
        return
    place.store.check_writable()
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp, place.name or "results")
        folder.mkdir()
        yield folder
        try:
            for file in sorted(one for one in folder.rglob("*") if one.is_file()):
                (place / file.relative_to(folder).as_posix()).write_bytes(file.read_bytes())
        except PlaceError as error:
            raise usage(f"'{place}' can't be written", error) from error


@contextmanager
def opened_sink(place: Place, part: str = "") -> Iterator[Sink]:
    """A `Sink` for a folder in a place. part: of several runs that write there at a time, each its own.

    Raises `UsageError` when another run writes there, on this machine or another one, or the place can't be read or
    written. Sentences of errors name the place, not the local folder.
    """
    place = rooted(place)  # its keys are those of the results
    place.store.check_writable()
    folder = kept_here(place, part)
    lock = Lock.beside(folder)
    with suppress(NoLocks):
        if not lock.take():
            raise UsageError(f"Another run writes to '{place}': wait for it, or choose another OUT.")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        sink = Sink(place, folder)
        with _leased(sink, part, folder.with_name(f"{folder.name}.claim")):
            try:
                sink.fetch()
            except PlaceError as error:
                raise usage(f"'{place}' can't be read", error) from error
            yield sink
    except UsageError as error:
        if str(folder) not in str(error):
            raise
        raise UsageError(str(error).replace(str(folder), str(place))) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


@contextmanager
def _leased(sink: Sink, part: str, token: Path) -> Iterator[None]:
    """Meanwhile no other machine writes there. What lives in this process alone needs no more than its lock."""
    if not sink.place.store.distant:
        yield
        return
    lease = Lease(sink.place, part, token)
    try:
        lease.take()
        sink.lease = lease
        yield
    finally:
        lease.release()


def kept_here(place: Path, part: str = "") -> Path:
    """Where this machine keeps what belongs to a place, until it is done. Its folder is there."""
    digest = hashlib.sha256(f"{place}\0{part}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
    folder = cache_folder() / "places" / digest
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def _when_sent(waiting: deque[tuple[Row, Sequence[Future[None]]]]) -> Row:
    row, sending = waiting.popleft()
    for one in sending:
        one.result()
    return row


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
