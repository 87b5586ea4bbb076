"""Corrections of a table of labelled photos: labels that people changed, and photos that show no car, by content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from carclf.datasets.content import OWN, SOURCE, with_digests
from carclf.datasets.corrections.decision import ACCEPT, CLASS, NO_CAR, Decision, History
from carclf.datasets.corrections.journal import journal_file, journal_hash, read_about, read_decisions, write_decisions
from carclf.datasets.names import names
from detection.common.errors import UsageError
from detection.common.tally import counted

APPLIED = "corrections-applied.jsonl"  # in a run folder, or beside the figures of an evaluation
_COUNTS = (ACCEPT, CLASS, NO_CAR)


class Corrections:
    """What is in force in a journal. decisions: at most one per photo, the oldest first. sha256: of the journal."""

    def __init__(self, path: Path, decisions: Sequence[Decision], sha256: str):
        self.path, self.decisions, self.sha256 = path, decisions, sha256
        self._own = {one.sha256: place for place, one in enumerate(decisions)}
        self._source = {one.source_sha256: place for place, one in enumerate(decisions) if one.source_sha256}

    def find(self, own: str, source: str = "") -> Decision | None:
        """The last decision about a photo of this content, or one cut out of such; or about a cut-out of it."""
        places = [
            place
            for index, digest in ((self._own, own), (self._own, source), (self._source, source), (self._source, own))
            if digest and (place := index.get(digest)) is not None
        ]
        if not places:
            return None
        humans = [place for place in places if self.decisions[place].human]
        return self.decisions[max(humans or places)]


def read_corrections(corrections: str | Path) -> Corrections:
    """Those in a folder or file that was reviewed, or in a journal. Raises `UsageError` where nothing was decided."""
    path = journal_file(corrections)
    histories: dict[str, History] = {}
    order: dict[str, int] = {}
    for number, one in enumerate(read_decisions(path)):
        histories.setdefault(one.sha256, History()).add(one)
        order[one.id] = number
    standing = [found for history in histories.values() if (found := history.in_force) is not None]
    return Corrections(path, sorted(standing, key=lambda decided: order[decided.id]), journal_hash(path))


@dataclass(frozen=True)
class Applied:
    """What corrections did to a table. decisions: of the photos that were in it, one per photo. changed: photos whose
    label is another one now; removed: those that show no car; agreed: those whose label a person found right. note: a
    sentence on classes that are new, or that no photo is left of; empty for none."""

    corrections: Corrections
    decisions: Sequence[Decision]
    changed: int
    removed: int
    agreed: int
    note: str = ""

    @property
    def unknown(self) -> int:
        """Corrected photos that are not among the data."""
        used = {one.id for one in self.decisions}
        return sum(one.decision in _COUNTS and one.id not in used for one in self.corrections.decisions)

    def __str__(self) -> str:
        """A sentence.

        >>> str(Applied(Corrections(Path("a.jsonl"), (), ""), (), 2, 1, 0))
        "corrections of 'a.jsonl': 2 labels changed, 1 photo without a car removed, 0 labels found right"
        """
        parts = [
            f"{counted(self.changed, 'label')} changed",
            f"{counted(self.removed, 'photo')} without a car removed",
            f"{counted(self.agreed, 'label')} found right",
        ]
        if self.unknown:
            parts.append(f"{counted(self.unknown, 'corrected photo is', 'corrected photos are')} not among the data")
        return f"corrections of '{self.corrections.path}': {', '.join(parts)}"

    @property
    def told(self) -> list[str]:
        """Lines for a person."""
        return [str(self), *([self.note] if self.note else [])]

    def about(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "journal": str(self.corrections.path),
            "sha256": self.corrections.sha256,
            "changed": self.changed,
            "removed": self.removed,
            "agreed": self.agreed,
            "unknown": self.unknown,
        }

    def write(self, folder: Path) -> None:
        """The list of what was applied, as a journal: `read_corrections` reads it again."""
        folder.mkdir(parents=True, exist_ok=True)
        self.write_to(folder / APPLIED)

    def write_to(self, path: Path) -> None:
        """The same in a file of that name."""
        write_decisions(path, self.decisions, self.about())


def applied_before(folder: Path) -> dict[str, Any] | None:
    """What `Applied.about` said of the corrections that were noted in a folder; None for none."""
    return read_about(folder / APPLIED)


def apply_corrections(table: pd.DataFrame, corrections: Corrections) -> tuple[pd.DataFrame, Applied]:
    """The table (columns file and label) as people corrected it, and what that was.

    A photo is known by its content, or that of the photo it was cut out of, wherever it lies now and whatever its name.
    Raises `UsageError` where no photo is left.
    """
    marked = with_digests(table)
    found = [corrections.find(own, source) for own, source in zip(marked[OWN], marked[SOURCE], strict=True)]
    labels, kept, used = [], [], []
    changed = removed = agreed = 0
    for label, decision in zip(table["label"], found, strict=True):
        known = decision is not None and decision.decision in _COUNTS
        new = decision.new if decision is not None and decision.decision in (ACCEPT, CLASS) else label
        gone = decision is not None and decision.decision == NO_CAR
        if known and decision is not None:
            used.append(decision)
        removed += gone
        changed += known and not gone and new != label
        agreed += known and not gone and new == label
        labels.append(new)
        kept.append(not gone)
    if not any(kept):
        raise UsageError(f"The corrections of '{corrections.path}' leave no photo: all of them show no car.")
    corrected = table.assign(label=pd.Series(labels, table.index, dtype=object))[kept].reset_index(drop=True)
    unique = list({one.id: one for one in used}.values())
    return corrected, Applied(corrections, unique, changed, removed, agreed, _note(table, corrected))


def _note(before: pd.DataFrame, after: pd.DataFrame) -> str:
    old, new = set(before["label"]), set(after["label"])
    parts = []
    if lost := sorted(old - new):
        parts.append(f"no photo is left of {counted(len(lost), 'class', 'classes')} ({names(lost)})")
    if added := sorted(new - old):
        parts.append(f"{counted(len(added), 'class is', 'classes are')} new ({names(added)})")
    return f"By the corrections {'; '.join(parts)}." if parts else ""
