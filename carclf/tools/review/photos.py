"""The photos of a source in columns: 50,000 of them take a few dozen megabytes, whatever is known of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

BEST = 5
Outline = list[list[float]]  # polygons x1, y1, x2, y2, ... in pixels of the photo


@dataclass(frozen=True)
class Issue:
    """One thing that seems wrong with a photo. score: 0 to 1. text: what, or the class that it looks like."""

    name: str
    score: float
    text: str


@dataclass(frozen=True)
class Entry:
    """One photo, as a source tells it. file: its path. name: as it is shown, and as the journal calls it. label: its
    class, empty for none. suggestion: the class that it seems to be, empty for none. group: what is decided together.
    top: (class, probability) best first, probability None where it is not known. box: x1, y1, x2, y2 in pixels of the
    photo; size: its width and height, None where it is not known. digest: of its content, if that is known already."""

    file: str
    name: str
    label: str = ""
    suspicion: float = 0.0
    issues: Sequence[Issue] = ()
    suggestion: str = ""
    group: str = ""
    top: Sequence[tuple[str, float | None]] = ()
    box: Sequence[float] | None = None
    size: Sequence[int] | None = None
    split: str = ""
    digest: str = ""


@dataclass(eq=False)
class Photos:
    """Columns of N photos. label, suggestion, top: numbers in `classes`, -1 for none. group: numbers in `groups`.

    top: int32 [N, 5]; share: float32 [N, 5], NaN where it is not known; box: float32 [N, 4] of NaN where there is none;
    size: int32 [N, 2] of 0. issues: name -> (photos, scores), photos in the order of the source. vectors: the file
    that they come from, None for none. outline: of a photo by its number.
    """

    kind: str
    title: str
    files: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    label: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    suggestion: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    group: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    suspicion: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    top: np.ndarray = field(default_factory=lambda: np.empty((0, BEST), np.int32))
    share: np.ndarray = field(default_factory=lambda: np.empty((0, BEST), np.float32))
    box: np.ndarray = field(default_factory=lambda: np.empty((0, 4), np.float32))
    size: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int32))
    issues: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    vectors: Path | None = None
    outline: Callable[[int], Outline | None] = lambda number: None
    _told: dict[int, list[Issue]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files)

    def issues_of(self, number: int) -> list[Issue]:
        return self._told.get(number, [])

    def class_of(self, number: int) -> str:
        """The label that the source gives it; empty for none."""
        return self._name(int(self.label[number]))

    def suggestion_of(self, number: int) -> str:
        return self._name(int(self.suggestion[number]))

    def best_of(self, number: int) -> list[tuple[str, float | None]]:
        """The model's best classes, at most five."""
        pairs = zip(self.top[number], self.share[number], strict=True)
        return [(self.classes[one], None if np.isnan(share) else float(share)) for one, share in pairs if one >= 0]

    def _name(self, number: int) -> str:
        return self.classes[number] if number >= 0 else ""

    @classmethod
    def of(cls, kind: str, title: str, entries: Iterable[Entry], classes: Iterable[str] = ()) -> Photos:
        """classes: those that there are beside the labels and guesses of the entries."""
        photos = cls(kind, title)
        numbers: dict[str, int] = {}
        groups: dict[str, int] = {}
        rows: dict[str, list] = {name: [] for name in ("label", "suggestion", "group", "suspicion", "box", "size")}
        top: list[list[int]] = []
        share: list[list[float]] = []
        found: dict[str, tuple[list[int], list[float]]] = {}

        def number(name: str) -> int:
            return numbers.setdefault(name, len(numbers)) if name else -1

        for name in classes:
            number(name)
        for place, one in enumerate(entries):
            photos.files.append(one.file)
            photos.names.append(one.name)
            photos.digests.append(one.digest)
            photos.splits.append(one.split)
            rows["label"].append(number(one.label))
            rows["suggestion"].append(number(one.suggestion))
            rows["group"].append(groups.setdefault(one.group, len(groups)) if one.group else -1)
            rows["suspicion"].append(one.suspicion)
            rows["box"].append([np.nan] * 4 if one.box is None else list(one.box))
            rows["size"].append([0, 0] if one.size is None else list(one.size))
            best = list(one.top)[:BEST]
            short = BEST - len(best)
            top.append([number(name) for name, _ in best] + [-1] * short)
            share.append([np.nan if value is None else value for _, value in best] + [np.nan] * short)
            if one.issues:
                photos._told[place] = list(one.issues)
            for issue in one.issues:
                those = found.setdefault(issue.name, ([], []))
                those[0].append(place)
                those[1].append(issue.score)
        photos.classes, photos.groups = list(numbers), list(groups)
        kinds = {"suspicion": np.float32, "box": np.float32}
        for column, values in rows.items():
            shape = (len(values), {"box": 4, "size": 2}[column]) if column in ("box", "size") else len(values)
            setattr(photos, column, np.array(values, kinds.get(column, np.int32)).reshape(shape))
        photos.top = np.array(top, np.int32).reshape(-1, BEST)
        photos.share = np.array(share, np.float32).reshape(-1, BEST)
        photos.issues = {
            name: (np.array(places, np.int32), np.array(scores, np.float32)) for name, (places, scores) in found.items()
        }
        return photos
