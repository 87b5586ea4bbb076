"""All runs under some folders: finding them, naming one, and which run another continued."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from carclf.runs.registry.entry import RunEntry, is_run, read_run
from detection.common.errors import UsageError

DEPTH = 4  # folders below the one that is given
# What a run keeps in folders of its own: no run lies in there, but thousands of photos may.
INSIDE = {"stages", "checkpoints", "validation", "crops"}


@dataclass(frozen=True)
class Registry:
    """The runs, by the order of their folders' names."""

    runs: tuple[RunEntry, ...]

    @classmethod
    def read(cls, folders: Sequence[str | Path] = ("runs",)) -> Registry:
        """Raises `UsageError` for a folder that does not exist; a run that can't be read is one in state broken."""
        entries = (read_run(folder) for folder in find_runs(folders))
        return cls(tuple(entry for entry in entries if entry is not None))

    def find(self, name: str) -> RunEntry:
        """The run of a path, of a folder name, or of the end of a path (`sweep/2`), be it in these folders or not.

        Raises `UsageError` when there is none, or several.
        """
        folder = Path(name)
        if is_run(folder):
            run = self.at(folder) or read_run(folder)
            if run is None:
                raise UsageError(f"'{name}' is the training of a detector: only runs of classifiers are listed here.")
            return run
        parts = folder.parts
        found = [run for run in self.runs if run.folder.absolute().parts[-len(parts) :] == parts] if parts else []
        if len(found) > 1:
            places = ", ".join(str(run.folder) for run in found[:4])
            raise UsageError(f"'{name}' matches {len(found)} runs ({places}): give a longer part of the path.")
        if not found:
            raise UsageError(f"There is no run '{name}': `carclf runs` lists all runs, --folder says where to look.")
        return found[0]

    def at(self, folder: Path) -> RunEntry | None:
        """The run in just this folder."""
        place = folder.resolve()
        return next((run for run in self.runs if run.folder.resolve() == place), None)

    def parent(self, run: RunEntry) -> RunEntry | None:
        """The run that it continued; None when it continued none, or one that is not there any more."""
        if run.parent is None:
            return None
        for path in _places(run.parent, run.folder):
            # A run folder, or one of the weights in it: runs/first/stages/1-head.safetensors.
            for folder in (path, *list(path.parents)[:2]):
                if is_run(folder) and folder.resolve() != run.folder.resolve():
                    return self.at(folder) or read_run(folder)
        return None

    def chain(self, run: RunEntry) -> list[RunEntry]:
        """The run, the one that it continued, the one before, and so on; a circle ends where it closes."""
        chain, seen = [], set()
        step: RunEntry | None = run
        while step is not None and (place := step.folder.resolve()) not in seen:
            seen.add(place)
            chain.append(step)
            step = self.parent(step)
        return chain

    def children(self, run: RunEntry) -> list[RunEntry]:
        """The runs that continued this one."""
        place = run.folder.resolve()
        return [one for one in self.runs if (up := self.parent(one)) is not None and up.folder.resolve() == place]


def find_runs(folders: Sequence[str | Path], depth: int = DEPTH) -> list[Path]:
    """The run folders in these folders or below, each once, sorted. Raises `UsageError` for one that does not exist."""
    found: dict[Path, Path] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise UsageError(f"There is no folder '{folder}' of runs: name the right one with --folder.")
        for run in _search(folder, depth):
            found.setdefault(run.resolve(), run)
    return sorted(found.values())


def _search(folder: Path, depth: int) -> Iterator[Path]:
    inside: Iterable[str] = ()
    if is_run(folder):
        yield folder
        inside = INSIDE
    elif (folder / "manifest.csv").is_file():  # stage 1 wrote it: photos, and many
        return
    if depth:
        try:
            with os.scandir(folder) as entries:
                below = [one.name for one in entries if one.is_dir() and not one.name.startswith(".")]
        except OSError:  # a folder that may not be looked into holds no run for this user
            return
        for name in sorted(below):
            if name not in inside:
                yield from _search(folder / name, depth - 1)


def _places(name: str, folder: Path) -> Iterator[Path]:
    """Where a path that a config names may be: it was relative to where the training was started, perhaps a folder
    above the run."""
    path = Path(name)
    if not path.is_absolute():
        for above in folder.absolute().parents:
            yield above / path
    yield path
