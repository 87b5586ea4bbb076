"""A folder run on a cluster: each worker does whole photos, with an engine of its own, and only rows come back."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detection.cluster.crew import KILLED, Crew
from detection.cluster.work import Work, findable
from detection.common.errors import UsageError
from detection.common.files import file_stamp
from detection.common.places.paths import folder_of
from detection.common.places.place import Place
from detection.common.places.sink import Sink
from detection.detectors.finder import Finding
from detection.folder.flow.engine import Engine
from detection.folder.flow.finder import PhotoFinder, make_finders
from detection.folder.flow.meter import Meter
from detection.folder.flow.reader import Photo
from detection.folder.flow.writer import OutputError
from detection.folder.options import CleanOptions
from detection.folder.out.detections import read_detections
from detection.folder.out.folder import remove_torn
from detection.folder.out.manifest import Record, row_cells
from detection.folder.plan import Plan
from detection.images.find import FoundImages


@dataclass(frozen=True)
class FarFinder(PhotoFinder):
    """What is known here of the workers' finder. rule: which of its rules (`PhotoFinder.earlier`), 0 for today's."""

    name: str
    fingerprint: str
    kinds: tuple[str, ...]
    threshold: float
    checked: bool
    rule: int = 0
    others: tuple[FarFinder, ...] = ()
    shrunk: bool = True
    side_by_side: int = 1

    @classmethod
    def of(cls, finder: PhotoFinder) -> FarFinder:
        rules = [
            cls(one.name, one.fingerprint, one.kinds, one.threshold, one.checked, rule)
            for rule, one in enumerate([finder, *finder.earlier()])
        ]
        return replace(rules[0], others=tuple(rules[1:]))

    def earlier(self) -> Sequence[PhotoFinder]:
        return self.others


@dataclass(frozen=True)
class Order:
    """A plan without its photos, as it is sent to the workers. settings: the content of OUT's settings.json, by which a
    worker sees that its OUT is the same folder."""

    source: str
    output: str
    plan: Plan
    rule: int
    workers: int
    settings: bytes


class FolderWork(Work):
    """What a worker does of a folder run."""

    def __init__(self, detector: Any, options: CleanOptions):
        file = options.detections and Path(findable(str(options.detections)))
        self._detector, self._options = detector, options.model_copy(update={"detections": file})

    def load(self) -> FarFinder:
        options = self._options
        stored = None if options.detections is None else read_detections(options.detections)
        finder = make_finders(self._detector, stored, options.check, options.turned, options.closer)[0]
        self._found = threading.Lock()
        self._rules = [finder, *finder.earlier()]
        return FarFinder.of(finder)

    def begin(self, order: Order) -> None:
        source = folder_of(order.source) or Path(order.source)
        output = folder_of(order.output) or Path(order.output)
        if not source.is_dir():
            raise UsageError(
                f"A worker does not see IN '{source}': it must lie where all machines find it by this path, on a "
                "shared file system or in a place such as s3://."
            )
        if isinstance(output, Place):
            self._temp = tempfile.TemporaryDirectory(prefix="carclf-worker-")
            sink = Sink(output, Path(self._temp.name))
            self._plan = replace(order.plan, source=source, output=sink.folder, sink=sink)
        else:
            settings = output / "settings.json"
            if not settings.is_file() or settings.read_bytes() != order.settings:
                raise UsageError(
                    f"A worker does not see OUT '{output}' as this machine does: choose one on a file system that all "
                    "machines share, or in a place such as s3://."
                )
            self._plan = replace(order.plan, source=source, output=output)
        finder = self._rules[order.rule]
        self._finder = finder if finder.side_by_side > 1 else _OneAtATime(finder, self._found)
        self._workers = order.workers

    def do(self, items: Sequence[str]) -> Iterator[tuple[int, Record]]:
        places = {source: place for place, source in enumerate(items)}
        engine = Engine(self._plan, [self._finder], self._workers, Meter())
        sink = self._plan.sink
        with closing(engine.run(items)) as records:
            try:
                for record in records if sink is None else sink.sent(records, lambda record: record.files):
                    yield places[record.source], record
            except OutputError as error:
                raise error.__cause__ or error from None


class _OneAtATime(PhotoFinder):
    """A finder that two engines share, where it may be asked by one thread only."""

    def __init__(self, finder: PhotoFinder, lock: Any):
        self._finder, self._lock = finder, lock
        self.name, self.fingerprint, self.kinds = finder.name, finder.fingerprint, finder.kinds
        self.threshold, self.shrunk, self.checked = finder.threshold, finder.shrunk, finder.checked

    def earlier(self) -> Sequence[PhotoFinder]:
        return self._finder.earlier()

    def shape(self, small: Any) -> Any:
        return self._finder.shape(small)

    def find(self, photos: Sequence[Photo], only: Sequence[str], every: bool, whole: bool) -> list[Finding | Exception]:
        with self._lock:
            return self._finder.find(photos, only, every, whole)


class FarEngine:
    """As `Engine`, with the workers of a cluster in place of threads."""

    def __init__(self, plan: Plan, finder: FarFinder, workers: int, crew: Crew):
        self._plan, self._crew = plan, crew
        settings = (plan.output / "settings.json").read_bytes()
        bare = replace(plan, sources=[], clashes={}, found=FoundImages(), source=Path(), output=Path(), sink=None)
        self._order = Order(_named(plan.source), _named(plan.results), bare, finder.rule, workers, settings)

    def run(self, sources: Sequence[str]) -> Generator[Record, None, None]:
        """As `Engine.run`; a photo that kills its worker is a row, too."""
        for _, record in self._crew.run(sources, self._order, self._killed, total=len(sources)):
            yield record
        if self._crew.lost:  # they may have been killed while they wrote
            remove_torn(self._plan)

    def _killed(self, source: str) -> Record:
        return Record(row_cells(source, "error", reason=KILLED), file_stamp(self._plan.source / source), None)


def _named(path: Path) -> str:
    return str(path) if isinstance(path, Place) else os.path.abspath(path)
