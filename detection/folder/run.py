"""A whole folder of photos: read ahead, detect in batches, cut out, write; one manifest row per photo; resumable.

OUT holds the mirrored tree, `manifest.csv`, and what a later run needs: `settings.json` (what the files depend on) and
`journal.jsonl` (the rows so far). A photo's file is in place before its row is in the journal, so after kill -9 every
row is true, and what has no row is done again.
"""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from detection.cluster.connect import Cluster, connected
from detection.cluster.crew import Crew
from detection.common.console import photo_bar
from detection.common.errors import UsageError
from detection.common.files import file_stamp, replace_file
from detection.common.files.sorted_names import sorted_names, without
from detection.common.machine import usable_cores
from detection.common.tally import counted
from detection.cutout.cut import CutoutStyle
from detection.detectors.contract import Detector
from detection.detectors.finder import wanted_kinds
from detection.folder.clashes import BEGINNING
from detection.folder.flow.engine import Engine
from detection.folder.flow.far import FarEngine, FarFinder, FolderWork
from detection.folder.flow.finder import Loader, PhotoFinder, make_finders
from detection.folder.flow.meter import Meter
from detection.folder.flow.writer import OutputError
from detection.folder.options import CleanOptions
from detection.folder.out.detections import DetectionsWriter, read_detections
from detection.folder.out.folder import DETECTIONS, open_output, remaining, remove_files, write_results
from detection.folder.out.journal import Journal
from detection.folder.out.manifest import FAILED, Record, row_cells
from detection.folder.out.summary import CleanSummary
from detection.folder.plan import SHEETS, Plan, at_hand, plan_folder, read_settings, settings_of

# Nobody looks at more pages than these make; of more photos they show some, evenly spread.
_MOST_ON_SHEETS = 2400


def clean_folder(
    source: Path,
    output: Path,
    detector: Detector | Loader | Sequence[Detector | Loader] | None,
    style: CutoutStyle,
    *,
    options: CleanOptions | None = None,
    cluster: Cluster | None = None,
    progress: bool | Callable[[int, int], None] = True,
    **values: Any,
) -> CleanSummary:
    """Cuts out the main vehicle of every photo below `source` into the same tree below `output`.

    A bad photo is a row with a reason. A run that was stopped resumes where it was; a finished one does nothing.
    `detector` may be a function that loads one: a wrong path is then told before the model is loaded. Of several, each
    gets a thread of its own; with `detections` none is needed. The options are those of `CleanOptions`, as an object
    or by name. `progress` is a bar on a terminal, or a function of (done, total).
    Raises `UsageError` for wrong usage, settings other than the earlier run's, an OUT that can't be written, and
    folders that vanish.
    """
    options = CleanOptions.of(**{**dict(options or ()), **values})
    plan = plan_folder(source, output, style, options)
    with ExitStack() as stack:
        plan = stack.enter_context(at_hand(plan))
        crew = None if cluster is None else stack.enter_context(_crew(cluster, detector, options))
        stored = None
        if options.detections is not None and crew is None:
            stored = stack.enter_context(read_detections(options.detections))
        finders = (
            make_finders(detector, stored, options.check, options.turned, options.closer)
            if crew is None
            else [crew.load()]
        )
        plan = _with_kinds(plan, finders[0])
        finders = _as_begun(plan, finders)
        settings = settings_of(plan, finders[0].name, finders[0].fingerprint)
        try:
            journal = stack.enter_context(closing(open_output(plan, settings)))
            run = _Run(plan, journal, finders, progress, crew)
            if options.save_detections:
                path = plan.output / options.shard.file(DETECTIONS)
                run.saved = stack.enter_context(DetectionsWriter(path, *_about(finders[0])))
            if plan.sink is not None:
                plan.sink.send("settings.json")
            return run.once() if options.watch is None else run.watch(options.watch)
        except (OSError, OutputError) as error:
            raise _unwritable(plan, error) from error


class _Run:
    """One run with its journal open."""

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        finders: Sequence[PhotoFinder],
        progress: bool | Callable[[int, int], None],
        crew: Crew | None = None,
    ):
        self._plan, self._journal, self._finders, self._progress = plan, journal, finders, progress
        self._crew = crew
        self._workers = plan.options.workers or min(4, usable_cores())
        self._working, self._processed = 0.0, 0
        self._meter = Meter()
        self.saved: DetectionsWriter | None = None
        self._told = ""
        self._clashes_told: set[str] = set()

    def once(self) -> CleanSummary:
        """Does all photos that have no row which still holds."""
        try:
            self._do(self._todo())
        except KeyboardInterrupt:
            done = sum(name in self._journal for name in self._plan.sources)
            total = len(self._plan.sources)
            text = f"Stopped after {done} of {total} photos: the same command resumes from there."
            print(text, file=sys.stderr)
            raise
        return self._end()

    def watch(self, pause: float) -> CleanSummary:
        """Does photos as they come, until Ctrl-C. pause: seconds between two looks."""
        todo = self._todo()
        failed = [record.source for record in self._journal.records(todo) if record.status in FAILED]
        again = failed if self._plan.options.retry_failed else []
        self._plan = replace(self._plan, options=self._plan.options.again())
        waiting: dict[str, tuple[int, int] | None] = {}
        next_manifest = 0.0
        try:
            self._do(again)
            while True:
                stamps = {source: file_stamp(self._plan.source / source) for source in todo}
                steady = [source for source in todo if source in waiting and waiting[source] == stamps[source]]
                waiting = stamps
                if steady:
                    self._do(steady)
                    if time.perf_counter() >= next_manifest:  # of a million rows it takes a while
                        before = time.perf_counter()
                        write_results(self._plan, self._journal, self._rows())
                        if self._plan.sink is not None:
                            self._plan.sink.send(self._plan.options.shard.file("manifest.csv"))
                        next_manifest = time.perf_counter() + 20 * (time.perf_counter() - before)
                time.sleep(pause)
                self._look_again()
                todo = remaining(self._plan, self._journal)
        except KeyboardInterrupt:
            return self._end()
        except UsageError:  # IN has vanished
            self._end()
            raise

    def _todo(self) -> Sequence[str]:
        if self.saved is None:
            return remaining(self._plan, self._journal)
        with read_detections(self.saved.path) as saved:
            return remaining(self._plan, self._journal, saved)

    def _do(self, todo: Sequence[str]) -> None:
        if not todo:
            return
        before = time.perf_counter()
        for source in todo:
            record = self._journal.get(source)
            if record is not None:  # it does not hold any more
                remove_files(self._plan.results, record)
        engine = self._engine()
        total = len(self._plan.sources)
        clashes, sink = self._plan.clashes, self._plan.sink
        free = sorted_names(source for source in todo if source not in clashes) if clashes else todo
        finished = closing(engine.run(free))
        try:
            with _progress(self._progress, total - len(todo), total) as advance, finished as records:
                clashing = (self._clash(source) for source in todo if source in clashes)
                done = chain(clashing, records)
                # The workers of a cluster send what they have written.
                here = sink is not None and self._crew is None
                for record in sink.sent(done, lambda record: record.files) if sink is not None and here else done:
                    self._journal.append(record)
                    self._processed += 1
                    if sink is not None:
                        sink.note(*self._appended)
                    advance()
        finally:
            self._working += time.perf_counter() - before
            if sink is not None:
                with suppress(OSError):  # the fault that ended the run is the one to be told
                    sink.flush(*self._appended)

    def _engine(self) -> Engine | FarEngine:
        if self._crew is None:
            return Engine(self._plan, self._finders, self._workers, self._meter, self.saved)
        finder = self._finders[0]
        assert isinstance(finder, FarFinder)
        return FarEngine(self._plan, finder, self._workers, self._crew)

    @property
    def _appended(self) -> list[str]:
        """The files that only grow, the journal last."""
        saved = [] if self.saved is None else [self.saved.path.name]
        return [*saved, self._journal.path.name]

    def _clash(self, source: str) -> Record:
        """The row of a photo whose result would meet another's."""
        reason = self._plan.clashes[source].reason
        if self._plan.options.watch is not None and reason not in self._clashes_told:
            print(reason, file=sys.stderr)
            self._clashes_told.add(reason)
        return Record(row_cells(source, "error", reason=reason), file_stamp(self._plan.source / source), None)

    def _look_again(self) -> None:
        """Lists IN anew. What can't be done now (a link into OUT) is told, and waited for."""
        try:
            plan = plan_folder(self._plan.source, self._plan.results, self._plan.style, self._plan.options)
            self._plan = replace(plan, output=self._plan.output, sink=self._plan.sink)
        except UsageError as error:
            if not self._plan.source.is_dir():
                raise
            if str(error) != self._told:
                print(error, file=sys.stderr)
            self._told = str(error)

    def _end(self) -> CleanSummary:
        plan, journal, shard = self._plan, self._journal, self._plan.options.shard
        notes = list(plan.found.notes)
        gone = self._gone()
        if gone and plan.options.watch is None and not plan.single:
            notes.append(f"{len(gone)} earlier photos are no longer in IN ('{gone[0]}', ...): their files in OUT stay.")
        before = time.perf_counter()
        counts = write_results(plan, journal, self._rows())
        seconds = self._working + time.perf_counter() - before  # without what --watch waited for
        manifest = plan.results / shard.file("manifest.csv")
        if plan.options.review:
            notes.append(self._review(plan.output / shard.file("manifest.csv")))
        if plan.options.contact_sheet:
            notes.append(self._contact_sheet(plan.output / shard.file("manifest.csv")))
        threads = dict.fromkeys(("read", "cut", "write"), self._workers)
        threads["detect"] = sum(finder.side_by_side for finder in self._finders)
        busy = self._meter.busy(self._working, threads) if self._processed and self._crew is None else {}
        missed = plan.found.missed
        summary = CleanSummary(counts, self._processed, seconds, manifest, tuple(notes), busy, missed=missed)
        if self._processed:
            replace_file(plan.output / shard.file("run.json"), summary.as_json())
        journal.compact(self._rows())
        if plan.sink is not None:
            plan.sink.publish(journal.path.name)
        return summary

    def _gone(self) -> Sequence[str]:
        """Photos with a row that are not in IN any more."""
        return sorted_names(without(self._journal, self._plan.sources))

    def _rows(self) -> Sequence[str]:
        """The photos that the manifest lists: those of IN, and where a folder is watched or one photo done, those that
        were there."""
        if self._plan.options.watch is None and not self._plan.single:
            return self._plan.sources
        gone = (source for source in self._gone() if not self._clashed(source))
        return sorted_names(chain(self._plan.sources, gone))

    def _clashed(self, source: str) -> bool:
        record = self._journal.get(source)
        return record is not None and record.reason.startswith(BEGINNING)

    def _review(self, manifest: Path) -> str:
        from detection.folder.out.review import REVIEW, write_review

        name = self._plan.options.shard.file(REVIEW)
        hide = self._plan.options.hide
        count = write_review(manifest, self._plan.output / name, hide.what if hide else ())
        if self._plan.sink is not None:
            self._plan.sink.send(name)
        return f"{counted(count, 'photo')} to look at: {self._plan.results / name}"

    def _contact_sheet(self, manifest: Path) -> str:
        from detection.folder.sheet import write_contact_sheets

        source, output, options = self._plan.source, self._plan.results, self._plan.options
        target = self._plan.output / SHEETS
        if options.whole_photos:
            from detection.folder.out.review import write_hidden_sheets

            write_hidden_sheets(source, manifest, target, _MOST_ON_SHEETS)
            return f"what was hidden and nearly hidden, to look at: {output / SHEETS / 'index.html'}"
        file = self.saved.path if self.saved else options.detections
        with read_detections(file) if file else nullcontext() as found:
            pages = write_contact_sheets(
                source, output, manifest, target, detections=found, limit=_MOST_ON_SHEETS, workers=self._workers
            )
        return f"{len(pages)} page{'s' * (len(pages) != 1)} to look at: {output / SHEETS / 'index.html'}"


@contextmanager
def _crew(cluster: Cluster, detector: Any, options: CleanOptions) -> Iterator[Crew]:
    if options.watch is not None:
        raise UsageError("--engine ray does not watch a folder: leave out --watch, or let one machine watch it.")
    if options.save_detections:
        raise UsageError("--engine ray does not save detections: leave out --save-detections, or use --shard.")
    with connected(cluster.address) as ray, Crew(ray, FolderWork(detector, options), cluster) as crew:
        yield crew


def _with_kinds(plan: Plan, finder: PhotoFinder) -> Plan:
    """The plan with the kinds of vehicle that count. An OUT that was begun with all of them, as before version 0.5.0,
    ends so where none are named."""
    options, path = plan.options, plan.output / "settings.json"
    kinds = wanted_kinds(options.kinds, finder.name, finder.kinds)
    if options.kinds is None and kinds and not options.restart and path.is_file():
        before = read_settings(path, plan.output)
        kinds = kinds if before.get("only") else ()
    return replace(plan, options=options.model_copy(update={"kinds": kinds}))


def _as_begun(plan: Plan, finders: Sequence[PhotoFinder]) -> Sequence[PhotoFinder]:
    """The finders by the rule that OUT was begun with, perhaps by an earlier version: such a run ends by it, since its
    rows can't be told apart."""
    path = plan.output / "settings.json"
    if plan.options.restart or not path.is_file():
        return finders
    before = read_settings(path, plan.output).get("fingerprint")
    rules = [[finder, *finder.earlier()] for finder in finders]
    begun = next((index for index, finder in enumerate(rules[0]) if finder.fingerprint == before), 0)
    return [several[begun] for several in rules]


def _about(finder: PhotoFinder) -> tuple[str, str, float, tuple[str, ...]]:
    """What the header of the detections file says of the finder: name, fingerprint, threshold and kinds."""
    return finder.name, finder.fingerprint, finder.threshold if finder.checked else 0.0, finder.kinds


def _unwritable(plan: Plan, error: OSError | OutputError) -> UsageError:
    cause = error.__cause__ if isinstance(error, OutputError) else error
    assert isinstance(cause, OSError)
    if cause.errno == errno.ENOENT and not plan.output.is_dir():
        return UsageError(f"OUT '{plan.output}' has vanished: put it back, or choose another one, and start again.")
    return UsageError(
        f"OUT '{plan.output}' can't be written ({cause.strerror or cause}): make room or choose another one; what is "
        "done is kept, and the same command resumes from there."
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
