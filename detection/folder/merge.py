"""Making one folder of what several shards have written: files, rows and journal as of one run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from detection.common.errors import UsageError
from detection.common.files import bring_file, remove_leftovers, replace_chunks, user_path, write_changed
from detection.common.files.sorted_names import sorted_names, without
from detection.common.output_folder import lies_in
from detection.common.places.place import Place
from detection.folder.out.folder import DETECTIONS
from detection.folder.out.journal import Journal
from detection.folder.out.manifest import Record, manifest_columns, write_manifest, write_vehicles
from detection.folder.out.summary import CleanSummary
from detection.folder.plan import read_settings, settings_bytes
from detection.folder.shards import Shard, shards_in
from detection.images.find import survey_images

_OWN = ("run.json", DETECTIONS, "vehicles.csv", "manifest.csv", "journal.jsonl")  # the journal last: it is the proof


@dataclass
class _Part:
    """One shard's results."""

    shard: Shard
    folder: Path
    journal: Journal

    def file(self, name: str) -> Path:
        return self.folder / self.shard.file(name)


def merge_shards(folders: Sequence[Path]) -> CleanSummary:
    """Merges the shards in `folders` into the last one, which may be the only one (all shards wrote there) or new.

    That folder is then as one run would have left it, and can be continued without --shard. Files from other folders
    are linked where the file system can, else copied. Started again after it was killed, it resumes.
    Raises `UsageError` when shards are missing, double or not finished, their settings differ, photos of IN have no
    row, a photo has two, or a row's file is missing; nothing is written then.
    """
    started = time.perf_counter()
    for folder in folders:
        if isinstance(user_path(folder), Place):
            raise UsageError(f"'{user_path(folder)}' can't be merged: only folders here can, so copy the shards first.")
    target = Path(folders[-1])
    homes = list({folder.resolve(): Path(folder) for folder in map(Path, folders)}.values())
    if (target / "journal.jsonl").is_file() and (target / "manifest.csv").is_file() and shards_in(target):
        return _end_removal(target, started)
    with ExitStack() as stack:
        settings, found = _survey(homes, target)
        parts = [
            _Part(shard, home, stack.enter_context(closing(Journal(home / shard.file("journal.jsonl")))))
            for shard, home in found
        ]
        sources, notes = _sources(parts, Path(settings["source"]), settings.get("exclude", ()))
        _check_files(parts)
        try:
            target.mkdir(parents=True, exist_ok=True)
            remove_leftovers(target, 0.0)
            _bring_files(parts, target)
            counts = _write(parts, target, sources, settings)
        except OSError as error:
            raise UsageError(
                f"'{target}' can't be written ({error.strerror or error}): make room, and merge again."
            ) from error
        for part in parts:
            part.journal.close_file()
        _remove_own(target, [part.shard for part in parts if part.folder.resolve() == target.resolve()])
    what = f"merged from {len(parts)} shards"
    return CleanSummary(counts, 0, time.perf_counter() - started, target / "manifest.csv", notes, what=what)


def _survey(homes: list[Path], target: Path) -> tuple[dict, list[tuple[Shard, Path]]]:
    """The common settings, and all shards in order with their folders."""
    found: dict[Shard, Path] = {}
    first: tuple[Path, dict] | None = None
    for home in homes:
        shards = shards_in(home) if home.is_dir() else []
        if not shards:
            new = home == target and len(homes) > 1 and not (home / "journal.jsonl").exists()
            if new:
                continue
            raise UsageError(f"'{home}' holds no results of shards: merge folders that were made with --shard.")
        settings = read_settings(home / "settings.json", home) if (home / "settings.json").is_file() else {}
        first = first or (home, settings)
        for key in [*first[1], *settings]:
            if settings.get(key) != first[1].get(key):
                then, now = first[1].get(key), settings.get(key)
                raise UsageError(
                    f"'{first[0]}' was made with {key} '{then}' and '{home}' with '{now}': they can't be merged."
                )
        for shard in shards:
            if shard in found:
                raise UsageError(f"The shard {shard} is in '{found[shard]}' and in '{home}': leave one out.")
            found[shard] = home
    if first is None or "source" not in first[1]:
        raise UsageError(f"'{homes[0]}' has no settings.json: run its shards again.")
    counts = sorted({shard.count for shard in found})
    if len(counts) > 1:
        raise UsageError(f"Shards of {counts[0]} and of {counts[1]} can't be merged: leave out those of one kind.")
    missing = [str(shard) for index in range(counts[0]) if (shard := Shard(counts[0], index + 1)) not in found]
    if missing:
        raise UsageError(f"The shards {', '.join(missing)} are missing: run them, or name their folders, too.")
    unfinished = [
        str(shard) for shard, home in sorted(found.items()) if not (home / shard.file("manifest.csv")).is_file()
    ]
    if unfinished:
        raise UsageError(f"The shards {', '.join(unfinished)} have not ended: run them again, then merge.")
    return first[1], sorted(found.items())


def _sources(parts: list[_Part], origin: Path, exclude: Sequence[str]) -> tuple[Sequence[str], tuple[str, ...]]:
    """All photos in order, and what could not be checked."""
    sources = sorted_names(source for part in parts for source in part.journal)
    double = next((one for one, other in pairwise(sources) if one == other), None)
    if double is not None:
        raise UsageError(f"'{double}' has a row in two shards: they are not of one run.")
    if not origin.is_dir():
        return sources, (f"'{origin}' is not there, so it was not checked whether each of its photos has a row.",)
    missing = sorted_names(without(survey_images(origin, exclude).names, sources))
    if missing:
        shard = next(part.shard for part in parts if part.shard.holds(missing[0]))
        raise UsageError(
            f"{len(missing)} photos of '{origin}' have no row, the first is '{missing[0]}' of shard {shard}: run the "
            "shards again, then merge."
        )
    return sources, ()


def _check_files(parts: list[_Part]) -> None:
    for part in parts:
        for record in part.journal.records(part.journal):
            for name, size in record.files.items():
                path = part.folder / name
                if not path.is_file() or path.stat().st_size != size:
                    raise UsageError(
                        f"'{path}' is missing or not as shard {part.shard} wrote it: run that shard again, then merge."
                    )


def _bring_files(parts: list[_Part], target: Path) -> None:
    """Links or copies files that lie in other folders."""
    for part in parts:
        if part.folder.resolve() == target.resolve():
            continue
        for record in part.journal.records(part.journal):
            for name, size in record.files.items():
                there = target / name
                if not lies_in(there.parent, target):
                    raise UsageError(
                        f"'{name}' would lie outside '{target}': the journal of '{part.folder}' is damaged."
                    )
                there.parent.mkdir(parents=True, exist_ok=True)
                if not (there.is_file() and there.stat().st_size == size):
                    bring_file(part.folder / name, there)


def _write(parts: list[_Part], target: Path, sources: Sequence[str], settings: dict) -> dict[str, int]:
    """Writes what one run would have written; the journal last."""
    counts: Counter[str] = Counter()

    def records() -> Iterator[Record]:
        counts.clear()
        for source in sources:
            record = next(record for part in parts if (record := part.journal.get(source)) is not None)
            counts[record.status] += 1
            yield record

    write_changed(target / "settings.json", lambda: [settings_bytes(settings)])
    if settings.get("all_vehicles"):
        write_vehicles(target / "vehicles.csv", records)
    if all(part.file(DETECTIONS).is_file() for part in parts):
        replace_chunks(target / DETECTIONS, _joined([part.file(DETECTIONS) for part in parts]))
    columns = manifest_columns(bool(settings.get("hide")), bool(settings.get("studio")))
    write_manifest(target / "manifest.csv", records, columns)
    replace_chunks(target / "journal.jsonl", (record.line() for record in records()))
    return dict(counts)


def _joined(files: list[Path]) -> Iterator[bytes]:
    """The lines of detections files below one header."""
    for number, path in enumerate(files):
        with open(path, "rb") as lines:
            header = next(lines, b"")
            if number == 0:
                yield header
            yield from lines


def _remove_own(folder: Path, shards: list[Shard]) -> None:
    for shard in shards:
        for name in _OWN:
            (folder / shard.file(name)).unlink(missing_ok=True)


def _end_removal(target: Path, started: float) -> CleanSummary:
    """A merge in place that was killed in its last step: all is written, some files of shards are left."""
    shards = shards_in(target)
    with closing(Journal(target / "journal.jsonl")) as journal:
        counts = Counter(record.status for record in journal.records(journal))
    _remove_own(target, shards)
    what = "merged before"
    return CleanSummary(dict(counts), 0, time.perf_counter() - started, target / "manifest.csv", what=what)
