"""The decisions about the photos of one source: who says what is written to the journal, then it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from carclf.datasets.content import CutOuts
from carclf.datasets.corrections.decision import ACCEPT, CLASS, LATER, NO_CAR, UNDO, Decision, new_id, now
from carclf.datasets.corrections.journal import Journal
from carclf.tools.review.desk.cache import Cache
from carclf.tools.review.photos import Photos
from detection.common.console import Track, untracked
from detection.common.machine import usable_cores
from detection.common.places.paths import path_of


@dataclass(frozen=True)
class Wish:
    """What a person wants of one photo. seen: the id of the decision that the person saw in force, empty for none.

    id: of the line to be; a wish that is sent twice is fulfilled once.
    """

    number: int
    seen: str
    id: str


@dataclass
class Outcome:
    """What became of wishes: the photos decided, those that somebody else had decided on meanwhile, and those that are
    gone (a sentence each)."""

    saved: list[int] = field(default_factory=list)
    conflicts: list[int] = field(default_factory=list)
    gone: dict[int, str] = field(default_factory=dict)


class Desk:
    """For any number of threads. `changes` are the numbers of photos whose state changed, oldest first."""

    def __init__(self, photos: Photos, folder: Path, cache: Cache, track: Track = untracked):
        """folder: of the journal. track: photos whose content must be looked at go through it. Raises `UsageError`."""
        self.photos, self.cache = photos, cache
        self.journal = Journal(folder)
        self.changes: list[int] = []
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(usable_cores(), "carclf-digests")
        self._cutouts = CutOuts()
        self._state: dict[int, Decision] = {}
        self._numbers: dict[str, set[int]] = {}  # digest -> photos of this content, as far as they are known
        self._told: dict[str, list[int]] = {}  # the same, as the source says it
        try:
            self._match(track)
        except BaseException:
            self.close()
            raise

    def state(self, number: int) -> Decision | None:
        """The decision in force about a photo."""
        return self._state.get(number)

    @property
    def decided(self) -> dict[int, Decision]:
        return self._state

    def label(self, number: int) -> str:
        """The label of a photo as it is now; empty for none."""
        state = self._state.get(number)
        if state is not None and state.decision in (ACCEPT, CLASS, NO_CAR):
            return state.new or ""
        return self.photos.class_of(number)

    def counts(self) -> dict[str, int]:
        """How many photos there are, and how many of them bear which decision."""
        found = dict.fromkeys((ACCEPT, CLASS, NO_CAR, LATER), 0)
        for one in list(self._state.values()):
            found[one.decision] += 1
        return {"photos": len(self.photos), **found}

    def decide(self, by: str, wishes: Sequence[Wish], decision: str, new: str | None, batch: str = "") -> Outcome:
        """Writes what `by` decides about several photos, and returns when it is on the disk.

        new: the class, of `class`; of `accept` each photo keeps its own label. Raises OSError where it can't be
        written; nothing is decided then.
        """
        outcome, lines, numbers = Outcome(), [], []
        digests = list(self._pool.map(lambda wish: self.cache.digest(self.photos.files[wish.number]), wishes))
        with self._lock:
            for wish, digest in zip(wishes, digests, strict=True):
                number, before = wish.number, self._state.get(wish.number)
                if self.journal.knows(wish.id):
                    outcome.saved.append(number)
                elif not digest:
                    outcome.gone[number] = f"'{self.photos.names[number]}' is not there any more."
                elif wish.seen != ("" if before is None else before.id):
                    outcome.conflicts.append(number)
                else:
                    label = self.label(number)
                    named = {ACCEPT: label, CLASS: new, NO_CAR: None, LATER: None}[decision]
                    if decision in (ACCEPT, CLASS) and not named:
                        outcome.gone[number] = f"'{self.photos.names[number]}' has no label that could be right."
                        continue
                    lines.append(self._line(wish.id, by, decision, number, digest, label, named, batch))
                    numbers.append(number)
            self.journal.add(lines)
            for number, line in zip(numbers, lines, strict=True):
                self._changed(number, line.sha256)
        outcome.saved += numbers
        return outcome

    def undo(self, by: str) -> list[int]:
        """Takes back what this person decided last, all of it at once; the photos. Raises OSError."""
        with self._lock:
            last = self.journal.last_batch(by)
            lines: list[Decision] = []
            numbers: list[int] = []
            for one in last:
                after = self.journal.history(one.sha256).without(one.id)
                label = None if after is None else after.new
                lines.append(
                    Decision(new_id(), now(), by, UNDO, one.file, one.sha256, one.source_sha256, one.new, label,
                             undoes=one.id)
                )  # fmt: skip
                numbers += self._numbers.get(one.sha256, ())
            self.journal.add(lines)
            for line in lines:
                for number in self._numbers.get(line.sha256, ()):
                    self._changed(number, line.sha256)
        return numbers

    def people(self) -> dict[str, int]:
        """Who decided about how many photos."""
        found: dict[str, int] = {}
        for one in list(self._state.values()):
            found[one.by] = found.get(one.by, 0) + 1
        return found

    def close(self) -> None:
        self._pool.shutdown()
        with self._lock:
            self.journal.close()

    def _line(
        self, id: str, by: str, decision: str, number: int, digest: str, old: str, new: str | None, batch: str
    ) -> Decision:
        source = self._cutouts.source(path_of(self.photos.files[number]))
        raw = self.cache.digest(source) if source else ""
        name = self.photos.names[number]
        return Decision(id, now(), by, decision, name, digest, raw, old or None, new, batch=batch)

    def _changed(self, number: int, digest: str) -> None:
        """Notes the state of a photo, and of its copies as far as they are known."""
        known = self._numbers.setdefault(digest, set())
        known.add(number)
        for copy in self._told.get(digest, ()):
            if copy not in known and self.cache.digest(self.photos.files[copy]) == digest:
                known.add(copy)
        standing = self.journal.history(digest).in_force
        for one in self._numbers[digest]:
            if standing is None:
                self._state.pop(one, None)
            else:
                self._state[one] = standing
            self.changes.append(one)

    def _match(self, track: Track) -> None:
        """Finds the photos that were decided on before: by name where the content is the same, else by content."""
        photos, digest_of = self.photos, self.cache.digest
        for number, digest in enumerate(photos.digests):
            if digest:
                self._told.setdefault(digest, []).append(number)
            # What a source says of contents may be old.
            if digest in self.journal.histories and digest_of(photos.files[number]) == digest:
                self._numbers.setdefault(digest, set()).add(number)
        by_name = {name: number for number, name in enumerate(photos.names)}
        astray = []
        for digest, history in self.journal.histories.items():
            if digest in self._numbers or not history.standing:
                continue
            named = by_name.get(history.standing[-1].file)
            if named is not None and digest_of(photos.files[named]) == digest:
                self._numbers[digest] = {named}
            else:
                astray.append(digest)
        if astray:
            self._search(set(astray), track, digest_of)
        for digest, numbers in self._numbers.items():
            standing = self.journal.history(digest).in_force
            if standing is not None:
                self._state.update(dict.fromkeys(numbers, standing))

    def _search(self, digests: set[str], track: Track, digest_of: Callable[[str], str]) -> None:
        taken = {number for numbers in self._numbers.values() for number in numbers}
        rest = [number for number in range(len(self.photos)) if number not in taken]
        found = self._pool.map(digest_of, [self.photos.files[number] for number in rest])
        for number, digest in zip(rest, track(found, len(rest)), strict=True):
            if digest in digests:
                self._numbers.setdefault(digest, set()).add(number)
