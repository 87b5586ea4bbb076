"""A long run of predictions: rows that stream, or rows kept until all are there, which a killed run resumes from."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from carclf.recognition.chain.item import Item
from carclf.recognition.inputs import Source
from carclf.recognition.output.formats import row_of, write_rows
from carclf.recognition.prediction import FAILED, STATUSES, VEHICLE, row_columns
from detection.common.console import Advance
from detection.common.files import file_stamp, user_path
from detection.common.places.ahead import fetched_ahead
from detection.common.places.paths import path_of
from detection.common.places.place import Place
from detection.common.places.sink import kept_here, when_sent
from detection.common.rows import RowJournal
from detection.common.tally import StatusCounts, counted

if TYPE_CHECKING:
    from carclf.recognition.far import FarRecognizer
    from carclf.recognition.pictures.folders import Pictures
    from carclf.recognition.recognizer import CarRecognizer
    from detection.folder.out.detections import Detections


JOURNAL = ".partial.jsonl"
_ON_THE_WAY = 16  # photos whose pictures are being sent, at most: they are in memory


@dataclass
class Tally:
    """What a run has done so far. photos: those with a row; before: those of them that an earlier run did."""

    photos: int = 0
    before: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    vehicles: int = 0

    def count(self, row: dict) -> None:
        self.counts[row["status"]] += 1
        self.vehicles += row.get(VEHICLE) is not None

    @property
    def exit_code(self) -> int:
        """0 when every photo was read (a photo without a car is an answer), 3 when some failed."""
        return self._statuses.exit_code

    def __str__(self) -> str:
        """For example `12 photos: 10 ok, 1 no_car, 1 unreadable`."""
        vehicles = f", {counted(self.vehicles, 'vehicle')}" if self.vehicles else ""
        before = f" ({self.before} done before)" if self.before else ""
        return f"{counted(self.photos, 'photo')}{vehicles}: {self._statuses}{before}"

    @property
    def _statuses(self) -> StatusCounts:
        return StatusCounts(self.counts, STATUSES, FAILED)


class Naming:
    """The photos of `sources` named by a recognizer, one after the other; `tally` counts them.

    pictures: what is written of each photo beside its rows. advance: called for each photo that is done.
    """

    def __init__(
        self,
        recognizer: CarRecognizer | FarRecognizer,
        sources: Iterable[Source],
        pictures: Pictures | None = None,
        advance: Advance = lambda: None,
    ):
        self._recognizer, self._sources, self._pictures, self._advance = recognizer, sources, pictures, advance
        self.columns = row_columns(
            recognizer.every_vehicle, recognizer.levels, recognizer.tells_colour, recognizer.hide is not None
        )
        self.tally = Tally()

    def rows(self) -> Iterator[dict]:
        """One row per photo, with `every_vehicle` one per vehicle, as soon as it is known; none is kept."""
        for _, rows in self._named(self._sources):
            self.tally.photos += 1
            for row in rows:
                self.tally.count(row)
                yield row
            self._advance()

    def write(self, output: Path, format: str, restart: bool = False, retry_failed: bool = False) -> None:
        """Writes the rows of all photos to a file.

        Until then they are in OUTPUT.partial.jsonl: a run that was stopped resumes from there, and does again only what
        has changed since, with `retry_failed` also what failed. The journal goes away when no photo failed. In memory
        are 8 bytes per photo. Raises `UsageError` when the journal is of other settings or in use, or nothing can be
        written; `restart` begins anew.
        """
        output = user_path(output)
        path = (kept_here(output) if isinstance(output, Place) else output).with_name(output.name + JOURNAL)
        older = {"detector": self._recognizer.found_by[1]}
        journal = RowJournal(path, self._recognizer.settings, restart, what="rows", older=older)
        done = False
        try:
            places = self._fill(journal, retry_failed)
            write_rows(output, self._kept(journal, places), format, self.columns)
            done = self.tally.exit_code == 0
            if not done:
                journal.end()
        finally:
            journal.close(done)

    def _fill(self, journal: RowJournal, retry_failed: bool) -> array:
        """The place of each photo's rows in the journal, which then knows them all."""
        places = array("Q")
        waiting: deque[tuple[int, tuple[int, int] | None]] = deque()

        def remaining() -> Iterator[Source]:
            for source in self._sources:
                # Before it is read: a file that changes in between is read again by the next run.
                stamp, place = file_stamp(path_of(source.path)), journal.find(source.path)
                if place is not None and self._holds(source, journal.read(place), stamp, retry_failed):
                    places.append(place)
                    self.tally.photos += 1
                    self.tally.before += 1
                    self._advance()
                    continue
                waiting.append((len(places), stamp))
                places.append(0)
                yield source

        for source, rows in self._named(remaining()):
            index, stamp = waiting.popleft()
            places[index] = journal.add(source.path, {"stamp": stamp, "rows": rows})
            self.tally.photos += 1
            self._advance()
        return places

    def _kept(self, journal: RowJournal, places: Iterable[int]) -> Iterator[dict]:
        for place in places:
            for row in journal.read(place)["rows"]:
                self.tally.count(row)
                yield {name: row.get(name) for name in self.columns}  # 0.4.0 noted no kind and no colour

    def _holds(self, source: Source, kept: dict, stamp: tuple[int, int] | None, retry_failed: bool) -> bool:
        before, rows = kept.get("stamp"), kept.get("rows")
        if not rows or (None if before is None else tuple(before)) != stamp:
            return False
        if retry_failed and any(row["status"] in FAILED for row in rows):
            return False
        return self._pictures is None or self._pictures.there(source, rows)

    def _named(self, sources: Iterable[Source]) -> Iterator[tuple[Source, list[dict]]]:
        """Each photo with its rows, when its pictures are in place."""
        # Of unknown number, photos come one by one, and whoever gives them waits for each row.
        return when_sent(self._finished(sources), most=_ON_THE_WAY if self._known else 0)

    def _finished(self, sources: Iterable[Source]) -> Iterator[tuple[tuple[Source, list[dict]], list[Future[None]]]]:
        """Each photo with its rows, and what is still being sent of it."""
        waiting: deque[Source] = deque()
        rows: list[dict] = []

        def items() -> Iterator[Item]:
            for source in sources:
                waiting.append(source)
                yield Item.of(source.path, self._name_in_detections(source))

        def finished() -> tuple[tuple[Source, list[dict]], list[Future[None]]]:
            nonlocal rows
            source, whole, rows = waiting.popleft(), rows, []
            return (source, whole), [] if self._pictures is None else self._pictures.finish(source)

        # The workers of a cluster fetch theirs.
        if self._known and self._recognizer.reads_here:
            sources = fetched_ahead(sources, lambda source: path_of(source.path))
        for seen in self._recognizer.recognize_fully(items(), pictures=self._pictures is not None):
            rank = seen.prediction.vehicle
            if rows and rank in (None, 1):
                yield finished()
            if self._pictures is not None:
                self._pictures.take(waiting[0], seen)
            rows.append(row_of(seen.prediction, self.columns))
            if rank is None:  # no further vehicle of this photo can come
                yield finished()
        if rows:
            yield finished()

    @property
    def _known(self) -> bool:
        """Whether the number of photos is."""
        return getattr(self._sources, "total", None) is not None

    def _name_in_detections(self, source: Source) -> str:
        detections = self._recognizer.detections
        return source.below if detections is None else _known_name(source, detections)


def _known_name(source: Source, detections: Detections) -> str:
    """How a file of detections calls a photo: its path below the folder that was cleaned, wherever that is.

    As the file knows the photo's size and time too, another one of that name is not taken for it.
    """
    parts = Path(source.path).absolute().parts[1:]
    tails = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((name for name in (source.below, *tails) if name in detections), source.below)
