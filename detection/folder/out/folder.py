"""The folder that a run writes into: made ready, checked against the run before, and closed with its manifest."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

from detection.common.errors import UsageError
from detection.common.files import TEMP_PREFIX, file_stamp, remove_leftovers, replace_file, write_changed
from detection.common.files.sorted_names import sorted_names
from detection.common.output_folder import lies_in
from detection.folder.clashes import BEGINNING
from detection.folder.out.journal import Journal
from detection.folder.out.manifest import FAILED, Record, manifest_columns, write_manifest, write_vehicles
from detection.folder.plan import Plan, check_settings, read_settings, settings_bytes
from detection.folder.shards import Shard, shards_in

DETECTIONS = "detections.jsonl"
# A temp file lives for as long as one file takes to be written. Where other shards write, an older one is of a run
# that was killed.
_OLD_TEMP = 3600.0


def open_output(plan: Plan, settings: dict[str, Any]) -> Journal:
    """Makes OUT ready: checks or writes its settings, removes what a killed run left half-written.

    Raises `UsageError` when what is there does not fit this run, OSError when it can't be written.
    """
    check_output(plan, settings)
    plan.output.mkdir(parents=True, exist_ok=True)
    journal = Journal(plan.output / plan.options.shard.file("journal.jsonl"))
    try:
        remove_torn(plan)
        if plan.options.restart:
            _remove_results(plan, journal)
        _note_settings(plan, settings)
    except BaseException:
        journal.close()
        raise
    return journal


def remove_torn(plan: Plan) -> None:
    """Removes the temp files of those that were killed while they wrote into OUT."""
    remove_leftovers(plan.output, 0.0 if plan.options.shard.whole else _OLD_TEMP)


def check_output(plan: Plan, settings: dict[str, Any]) -> None:
    """Raises `UsageError` when what is in OUT does not fit this run. Writes nothing."""
    settings_file = plan.output / "settings.json"
    known = settings_file.is_file()
    if known and not (plan.options.restart and _alone(plan)):
        _check_known(plan, settings)
    _check_shards(plan)
    if not known:
        _check_free(plan)


def _check_known(plan: Plan, settings: dict[str, Any]) -> None:
    """Raises `UsageError` where OUT was made with other settings. IN may have moved: then its photos must be those that
    have rows."""
    path = plan.output / "settings.json"
    elsewhere = read_settings(path, plan.output).get("source", "") != settings["source"]
    check_settings(path, settings, plan.output, _unlike(plan) if elsewhere else "")


def _unlike(plan: Plan) -> str | None:
    """Why IN does not hold the photos that OUT has rows of, as far as sizes and times tell; None where it does."""
    sizes, lost, older = [], [], 0
    for shard in {Shard(), *shards_in(plan.output)}:
        with closing(Journal(plan.output / shard.file("journal.jsonl"), read_only=True)) as journal:
            for record in journal.records(journal):
                then, now = record.stamp, file_stamp(plan.source / record.source)
                if now is None or (then is not None and then[0] != now[0]):
                    lost.append(record.source)
                elif then is not None:
                    sizes.append(then[0])
                    older += then[1] != now[1]
    total = len(sizes) + len(lost)
    if lost:
        return f"where {len(lost)} of its {total} photos are missing or have another size, for example '{lost[0]}'"
    # A copy may have new times, and then photos are done again. Sizes that are all alike say nothing.
    if older and len(set(sizes)) * 2 <= len(sizes):
        return "whose photos may be others, as they have other times"
    # Two shards that start at once, on different folders, would have no row yet.
    return None if total or plan.options.shard.whole else ""


def remaining(plan: Plan, journal: Journal, saved: Container[str] | None = None) -> Sequence[str]:
    """The sources without a row that still holds. Nothing is touched.

    saved: the photos that the detections file knows, when a row is not enough without it.
    """
    todo = sorted_names(source for source in plan.sources if not _holds(plan, journal.get(source), saved))
    # A cut-out that was there before its name was wanted twice stays, unless several rows claim it.
    kept = {source for source in plan.clashes if source not in todo
            and (record := journal.get(source)) is not None and record.files}  # fmt: skip
    claims = Counter(plan.clashes[source].key for source in kept)
    again = [source for source in kept if claims[plan.clashes[source].key] > 1]
    return sorted_names(chain(todo, again)) if again else todo


def write_results(plan: Plan, journal: Journal, sources: Sequence[str]) -> dict[str, int]:
    """Writes the manifest (and vehicles.csv) of these photos; returns the number of rows by status."""
    counts: Counter[str] = Counter()

    def records() -> Iterator[Record]:
        counts.clear()
        for record in journal.records(sources):
            counts[record.status] += 1
            yield record

    shard = plan.options.shard
    columns = manifest_columns(plan.options.hide is not None, plan.options.studio is not None)
    write_manifest(plan.output / shard.file("manifest.csv"), records, columns)
    if plan.options.all_vehicles:
        write_vehicles(plan.output / shard.file("vehicles.csv"), records)
    return dict(counts)


def remove_files(output: Path, record: Record) -> None:
    """Removes what was written for a photo."""
    for name in record.files:
        path = output / name
        # The journal is a file that someone may have edited: nothing outside OUT is removed on its word.
        if lies_in(path.parent, output) and not path.is_dir():
            path.unlink(missing_ok=True)


def _holds(plan: Plan, record: Record | None, saved: Container[str] | None) -> bool:
    if record is None or (plan.options.retry_failed and record.status in FAILED):
        return False
    clash = plan.clashes.get(record.source)
    reason = record.reason
    if reason.startswith(BEGINNING) and (clash is None or clash.reason != reason):  # it is over, or another one
        return False
    if clash is not None and not record.files and reason != clash.reason:
        return False
    if saved is not None and record.status not in FAILED and record.source not in saved:
        return False
    return record.holds(plan.source / record.source, plan.results)


def _alone(plan: Plan) -> bool:
    """Whether no other shard has written into OUT: then its settings are this run's own."""
    return all(shard == plan.options.shard for shard in shards_in(plan.output))


def _note_settings(plan: Plan, settings: dict[str, Any]) -> None:
    """Writes settings.json. Of shards that start at once the first does, and the others must have the same."""
    path, content = plan.output / "settings.json", settings_bytes(settings)
    if plan.options.restart or plan.options.shard.whole:
        write_changed(path, lambda: [content])
        return
    mine = plan.output / f"{TEMP_PREFIX}{os.getpid()}-{plan.options.shard.index}-settings.tmp"
    try:
        mine.write_bytes(content)
        os.link(mine, path)  # unlike a rename it fails when the file is there
    except FileExistsError:
        _check_known(plan, settings)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        replace_file(path, content)  # a file system without links
    finally:
        mine.unlink(missing_ok=True)


def _check_shards(plan: Plan) -> None:
    """Raises `UsageError` when OUT is of a run with another number of shards: two would do the same photos."""
    shard = plan.options.shard
    others = [other for other in shards_in(plan.output) if other.count != shard.count]
    if others:
        text = f"'{plan.output}' is of a run in {others[0].count} shards"
        raise UsageError(f"{text}: pass --shard i/{others[0].count}, merge them with --merge, or choose another OUT.")
    if not shard.whole and (plan.output / Shard().file("journal.jsonl")).is_file():
        raise UsageError(f"'{plan.output}' is of a run without shards: leave out --shard, or choose another OUT.")


def _check_free(plan: Plan) -> None:
    if not plan.output.is_dir():
        return
    ranks = (0, 1) if plan.options.all_vehicles else (None,)
    for source in plan.sources:
        for rank in ranks if source not in plan.clashes else ():
            name = plan.target(source, rank)
            if os.path.lexists(plan.output / name) if plan.sink is None else plan.sink.has(name):
                path = plan.results / name
                raise UsageError(f"'{path}' is in the way and not of an earlier run: choose another OUT.")


def _remove_results(plan: Plan, journal: Journal) -> None:
    names = [plan.options.shard.file(name) for name in ("manifest.csv", "vehicles.csv", "run.json", DETECTIONS)]
    for name in names:
        (plan.output / name).unlink(missing_ok=True)
    if plan.sink is not None:
        plan.sink.drop(*names)
    for record in journal.records(list(journal)):
        remove_files(plan.results, record)
    if plan.sink is not None:
        plan.sink.drop(journal.path.name)
    journal.clear()
