"""A whole folder of photos: read ahead, detect in batches, cut out, write; one manifest row a photo; resumable.

OUT holds the mirrored tree, `manifest.csv`, and what a later run needs: `settings.json` (what the files depend on) and
`journal.jsonl` (the rows so far). A photo's file is in place before its row is in the journal, so after kill -9 every
row is true, and what has no row is done again.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from detection.batches import try_batch
from detection.cutout import CutoutStyle
from detection.errors import UsageError
from detection.files import TEMP_PREFIX
from detection.manifest import FAILED, STATUSES, Journal, Record, write_changed, write_manifest
from detection.plan import Plan, check_settings, plan_folder, settings_bytes, settings_of
from detection.progress import photo_bar
from detection.reader import Photo, photo_batches, read_ahead
from detection.vehicle import MainChoice, Vehicle, rank_vehicles
from detection.writer import finish_photo


class VehicleDetector(Protocol):
    """What a folder run needs of a detector."""

    name: str
    fingerprint: str

    def detect(self, images: list[np.ndarray]) -> list[list[Vehicle]]: ...


@dataclass(frozen=True)
class CleanSummary:
    """How a run ended. `counts` is of all rows by status, `processed` of the photos that this run did itself."""

    counts: dict[str, int]
    processed: int
    seconds: float
    manifest: Path
    notes: tuple[str, ...] = ()

    @property
    def photos_per_second(self) -> float:
        return self.processed / self.seconds if self.seconds > 0 else 0.0

    @property
    def exit_code(self) -> int:
        """0, or 3 when some photos failed; a photo without a car is an answer, not a failure."""
        return 3 if any(self.counts.get(status) for status in FAILED) else 0

    def __str__(self) -> str:
        parts = ", ".join(f"{self.counts[status]} {status}" for status in STATUSES if self.counts.get(status))
        total = sum(self.counts.values())
        earlier = total - self.processed
        done = f"{self.processed} now at {self.photos_per_second:.1f} photos/s" if self.processed else "nothing to do"
        before = f", {earlier} earlier" if earlier else ""
        return f"{total} photo{'s' * (total != 1)}: {parts} ({done}{before})."


def clean_folder(
    source: Path,
    output: Path,
    detector: VehicleDetector | Callable[[], VehicleDetector],
    style: CutoutStyle,
    *,
    batch_size: int = 8,
    workers: int = 2,
    image_format: Literal["jpg", "png", "webp"] | None = None,
    quality: int = 95,
    restart: bool = False,
    progress: bool | Callable[[int, int], None] = True,
) -> CleanSummary:
    """Cuts out the main vehicle of every photo below `source` into the same tree below `output`.

    A bad photo is a row with a reason. A run that was stopped goes on where it was; a finished one does nothing.
    `detector` may be a function that loads one: a wrong path is then told before the model is loaded.
    `restart` removes what an earlier run wrote. `workers` is the number of reader and of writer threads, 0 chooses.
    `progress` is a bar on a terminal, or a function of (done, total).
    Raises `UsageError` for wrong usage, settings other than the earlier run's, and an OUT that can't be written.
    """
    if batch_size < 1 or workers < 0:
        raise UsageError(f"batch_size must be at least 1 and workers 0 or more, not {batch_size} and {workers}.")
    workers = workers or min(4, os.cpu_count() or 1)
    plan = plan_folder(source, output, style, image_format, quality)
    if not hasattr(detector, "detect"):
        detector = detector()
    settings = settings_of(plan, detector.name, detector.fingerprint)
    started = time.perf_counter()
    try:
        journal = _open_output(plan, settings, restart)
    except OSError as error:
        raise _unwritable(plan, error) from error
    try:
        todo = _remaining(plan, journal)
        earlier = len(plan.outputs) - len(todo)
        process = closing(_process(plan, detector, todo, batch_size, workers))
        with _progress(progress, earlier, len(plan.outputs)) as advance, process as finished:
            for record in finished:
                journal.append(record)
                advance()
        gone = sorted(set(journal.records) - set(plan.outputs))
        records = journal.finish(plan.outputs)
        manifest = plan.output / "manifest.csv"
        write_manifest(manifest, records)
    except OSError as error:
        raise _unwritable(plan, error) from error
    except KeyboardInterrupt:
        done = sum(name in journal.records for name in plan.outputs)
        text = f"Stopped after {done} of {len(plan.outputs)} photos: the same command again goes on from there."
        print(text, file=sys.stderr)
        raise
    finally:
        journal.close()
    notes = ()
    if gone:
        notes = (f"{len(gone)} earlier photos are no longer in IN ('{gone[0]}', ...): their files in OUT stay.",)
    counts = dict(Counter(record.status for record in records))
    return CleanSummary(counts, len(todo), time.perf_counter() - started, manifest, notes)


def _open_output(plan: Plan, settings: dict, restart: bool) -> Journal:
    """Makes OUT ready: checks or writes its settings, removes what a killed run left half-written."""
    settings_file = plan.output / "settings.json"
    known = settings_file.is_file()
    if known and not restart:
        check_settings(settings_file, settings, plan.output)
    if not known:
        for name in plan.outputs.values():
            if os.path.lexists(plan.output / name):
                raise UsageError(f"'{plan.output / name}' is in the way and not of an earlier run: choose another OUT.")
    plan.output.mkdir(parents=True, exist_ok=True)
    journal = Journal(plan.output / "journal.jsonl")
    try:
        for leftover in plan.output.rglob(f"{TEMP_PREFIX}*.tmp"):
            leftover.unlink()
        if restart:
            (plan.output / "manifest.csv").unlink(missing_ok=True)
            for record in journal.records.values():
                _remove_output(plan, record)
            journal.clear()
        write_changed(settings_file, settings_bytes(settings))
    except BaseException:
        journal.close()
        raise
    return journal


def _remaining(plan: Plan, journal: Journal) -> list[str]:
    """The sources without a row that still holds. The output of a row that no longer does is removed."""
    todo = []
    for source in plan.outputs:
        record = journal.records.get(source)
        if record is not None and record.holds(plan.source / source, plan.output):
            continue
        if record is not None:
            _remove_output(plan, record)
        todo.append(source)
    return todo


def _remove_output(plan: Plan, record: Record) -> None:
    path = plan.output / record.output
    # The journal is a file that someone may have edited: nothing outside OUT is removed on its word.
    if record.output and path.parent.resolve().is_relative_to(plan.output.resolve()) and not path.is_dir():
        path.unlink(missing_ok=True)


def _process(
    plan: Plan, detector: VehicleDetector, todo: Sequence[str], batch_size: int, workers: int
) -> Iterator[Record]:
    """Records of `todo`, in about that order, each when its file is in place.

    Reading and writing happen in threads ahead of and behind the detector; both queues are bounded.
    """
    readers, writers = ThreadPoolExecutor(workers), ThreadPoolExecutor(workers)
    writing: deque[Future[Record]] = deque()
    try:
        for batch in photo_batches(read_ahead(plan, todo, readers, batch_size, workers), batch_size):
            found = iter(try_batch(detector.detect, [photo.small for photo in batch if photo.small is not None]))
            for photo in batch:
                result = None if photo.small is None else next(found)
                choice = _rank(result, photo)  # here, so that only the chosen mask waits for the writer
                photo.small = None
                writing.append(writers.submit(finish_photo, plan, photo, choice))
            # Batches of large photos are short, and so is then what waits for the writers.
            while writing and (len(writing) > len(batch) or writing[0].done()):
                yield writing.popleft().result()
        while writing:
            yield writing.popleft().result()
    finally:
        readers.shutdown(wait=True, cancel_futures=True)
        writers.shutdown(wait=True, cancel_futures=True)


def _rank(found: list[Vehicle] | Exception | None, photo: Photo) -> MainChoice | Exception | None:
    if found is None or isinstance(found, Exception):
        return found
    try:
        return rank_vehicles(found, photo.small.shape[:2])
    except Exception as error:
        return error


def _unwritable(plan: Plan, error: OSError) -> UsageError:
    return UsageError(
        f"OUT '{plan.output}' can't be written ({error.strerror or error}): make room or choose another one; what is "
        "done is kept, and the same command goes on from there."
    )


@contextmanager
def _progress(wanted: bool | Callable[[int, int], None], done: int, total: int) -> Iterator[Callable[[], None]]:
    """Yields a function to call after each photo; shows a bar with photos/s on a terminal only."""
    if callable(wanted):
        counter = iter(range(done + 1, total + 1))
        yield lambda: wanted(next(counter), total)
        return
    if not wanted:
        yield lambda: None
        return
    with photo_bar("cleaning", total, done) as advance:
        yield advance
