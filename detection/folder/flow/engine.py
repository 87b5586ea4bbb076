"""The threads of a folder run: readers, some for each detector, and cutters that also write.

    feeder (with a pool of readers) --batches of like shape--> detector threads --> pool of cutters --> rows

Decoding, OpenCV, encoding and the detector itself release the interpreter's lock, so threads are enough, and photos
need not be copied between processes. The feeder is the only one that ever waits for room: it stops when as many photos
are on their way as `_Room` allows, so the queues behind it need no bounds of their own and nothing can lock up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue

from detection.common.machine import opencv_in_one_thread
from detection.common.places.ahead import fetched_ahead
from detection.common.places.place import Place
from detection.common.stream import PIXELS_AHEAD, read_ahead
from detection.detectors.finder import Finding
from detection.folder.flow.finder import PhotoFinder
from detection.folder.flow.meter import Meter
from detection.folder.flow.reader import Photo, like_batches, read_photo
from detection.folder.flow.writer import finish_photo
from detection.folder.out.detections import DetectionsWriter
from detection.folder.out.manifest import Record
from detection.folder.plan import Plan
from detection.vehicle import Vehicle


class Engine:
    """Does photos of a plan. `workers` is the number of reader and of cutter threads, each.

    A detector that is shown photos side by side has as many threads, and each of them takes a photo at a time.
    """

    def __init__(
        self,
        plan: Plan,
        finders: Sequence[PhotoFinder],
        workers: int,
        meter: Meter,
        saved: DetectionsWriter | None = None,
    ):
        self._plan, self._finders, self._workers = plan, finders, workers
        self._meter, self._saved = meter, saved
        self._askers = [finder for finder in finders for _ in range(finder.side_by_side)]
        self._batch = plan.options.batch_size if len(self._askers) == len(finders) else 1
        # A batch for each detector thread, one waiting behind it, and as many photos as keep the cutters busy.
        self._room = _Room(photos=(2 * len(self._askers) + 1) * self._batch + 2 * workers, pixels=2 * PIXELS_AHEAD)
        self._batches: SimpleQueue[list[Photo] | None] = SimpleQueue()
        self._done: SimpleQueue[Record | BaseException] = SimpleQueue()
        self._readers = ThreadPoolExecutor(workers, thread_name_prefix="carclf-read")
        self._cutters = ThreadPoolExecutor(workers, thread_name_prefix="carclf-cut")

    def run(self, sources: Sequence[str]) -> Generator[Record, None, None]:
        """The record of each source, in about that order, each when its file is in place.

        Raises `UsageError` when the folder of photos vanishes, `OutputError` when nothing more can be written.
        To be called once, and closed when it is not gone through to its end.
        """
        threads = [threading.Thread(target=self._guarded, args=(self._feed, sources), name="carclf-feed")]
        threads += [
            threading.Thread(target=self._guarded, args=(self._detect, finder), name="carclf-detect")
            for finder in self._askers
        ]
        with opencv_in_one_thread():
            for thread in threads:
                thread.start()
            try:
                for _ in sources:
                    result = self._done.get()
                    if isinstance(result, BaseException):
                        raise result
                    yield result
            finally:
                self._room.close()
                for _ in self._askers:
                    self._batches.put(None)
                for thread in threads:
                    thread.join()
                self._readers.shutdown(cancel_futures=True)
                self._cutters.shutdown(cancel_futures=True)

    def _guarded(self, work: Callable, argument: object) -> None:
        """The body of a thread: what goes wrong there is raised in `run`."""
        try:
            work(argument)
        except BaseException as error:
            self._done.put(error)

    def _feed(self, sources: Sequence[str]) -> None:
        ahead = max(self._batch, len(self._askers))
        root = self._plan.source
        names = fetched_ahead(sources, lambda name: root / name) if isinstance(root, Place) else sources
        photos = read_ahead(self._read, names, self._readers, self._workers, ahead)
        for batch in like_batches(photos, self._batch, self._finders[0].shape):
            if not self._room.take(len(batch), sum(photo.cost for photo in batch)):
                return
            if batch[0].image is None:
                self._finish(batch[0], None)
            else:
                self._batches.put(batch)

    def _read(self, source: str) -> Photo:
        if self._room.closed:
            raise CancelledError  # the feeder ends
        with self._meter.part("read"):
            return read_photo(self._plan.source, source, self._finders[0].shrunk)

    def _detect(self, finder: PhotoFinder) -> None:
        while (batch := self._batches.get()) is not None and not self._room.closed:
            with self._meter.part("detect"):
                options = self._plan.options
                whole = self._saved is not None or options.hide is not None  # plates are on any vehicle
                results = finder.find(batch, options.kinds or (), options.every, whole)
            for photo, finding in zip(batch, results, strict=True):
                photo.small = None
                saved: Sequence[Vehicle] | None = None
                if isinstance(finding, Finding):
                    saved = finding.found if self._saved is not None else None
                    if whole or options.every:
                        self._charge(photo, finding.found)
                    else:  # only the chosen mask waits for a cutter
                        finding = replace(finding, choice=replace(finding.choice, runners_up=()), found=())
                self._cutters.submit(self._finish, photo, finding, saved)

    def _charge(self, photo: Photo, found: Sequence[Vehicle]) -> None:
        """Masks that wait for a cutter take room, too: three bytes are a pixel."""
        extra = sum(vehicle.mask.size for vehicle in found) // 3
        photo.cost += extra
        self._room.charge(extra)

    def _finish(
        self, photo: Photo, finding: Finding | Exception | None, found: Sequence[Vehicle] | None = None
    ) -> None:
        """Ends a photo, whatever happens; `found` is to be saved."""
        try:
            if found is not None and self._saved is not None:  # before the row, so that every row has its detections
                with self._meter.part("write"):
                    self._saved.append(photo.source, photo.stamp, photo.view or found[0].mask.shape, found)
            self._done.put(finish_photo(self._plan, photo, finding, self._meter))
        except BaseException as error:
            self._done.put(error)
        finally:
            photo.drop()
            self._room.give(1, photo.cost)


class _Room:
    """How many photos, and pixels of photos, may be on their way behind the feeder. One batch always may."""

    def __init__(self, photos: int, pixels: int):
        self._most = photos, pixels
        self._photos = self._pixels = 0
        self._changed = threading.Condition()
        self.closed = False

    def take(self, photos: int, pixels: int) -> bool:
        """Waits until there is room; false when it was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self._photos == 0 or self._fits(photos, pixels))
            self._photos += photos
            self._pixels += pixels
            return not self.closed

    def charge(self, pixels: int) -> None:
        """Takes more room without waiting."""
        with self._changed:
            self._pixels += pixels

    def give(self, photos: int, pixels: int) -> None:
        with self._changed:
            self._photos -= photos
            self._pixels -= pixels
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def _fits(self, photos: int, pixels: int) -> bool:
        return self._photos + photos <= self._most[0] and self._pixels + pixels <= self._most[1]
