"""Which photos look alike, by vectors in a file that is read piece by piece: they never lie in memory as a whole."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from carclf.tools.audit.looks import packed_vectors
from carclf.tools.garage.vectors import read_vectors
from carclf.tools.review.desk.cache import FOLDER
from carclf.tools.review.photos import Photos
from detection.common.files import file_stamp, move_over

_ROWS = 2048  # of vectors in memory at a time
_SKETCH = 32  # dimensions that orders are made in
_LEAF = 32  # photos that are put one after the other by their distances
_SEED = 1


class Likeness:
    """The vectors of the photos: float16 [N, F] in a file beside the journal, made once; NaN where there is none."""

    def __init__(self, photos: Photos, folder: Path):
        self._photos, self._folder = photos, folder
        self._lock = threading.Lock()
        self._file: Path | None = None
        self._length = 0
        self._order: np.ndarray | None = None

    @property
    def there(self) -> bool:
        """Whether the source has vectors at all."""
        return self._photos.vectors is not None

    def prepare(self) -> None:
        """Makes the file, which takes seconds with many photos; later calls return at once. Raises `UsageError`."""
        with self._lock:
            if self._file is None and self._photos.vectors is not None:
                self._make(self._photos.vectors)

    def to(self, number: int) -> np.ndarray | None:
        """The cosine of each photo's vector with that of one, float32 [N], -2 where there is none; None where that
        one has none."""
        self.prepare()
        vector = self._row(number)
        if vector is None:
            return None
        likes = [np.nan_to_num(block @ vector, nan=-2.0) for block in self._blocks()]
        return np.concatenate(likes).astype(np.float32)

    def order(self) -> np.ndarray:
        """int [N]: the photos so that those beside each other look alike, those without a vector last.

        Halved again and again along the direction in which the photos of a part differ most.
        """
        self.prepare()
        with self._lock:
            if self._order is None:
                self._order = self._made_order()
            return self._order

    def _made_order(self) -> np.ndarray:
        random = np.random.default_rng(_SEED)
        mix = random.normal(size=(self._length, _SKETCH)).astype(np.float32) / _SKETCH**0.5
        sketch = np.concatenate([block @ mix for block in self._blocks()])
        there = np.flatnonzero(~np.isnan(sketch[:, 0]))
        away = np.flatnonzero(np.isnan(sketch[:, 0]))
        return np.concatenate([*_halved(sketch, there, random), away]).astype(np.int64)

    def _row(self, number: int) -> np.ndarray | None:
        if self._file is None:
            return None
        size = 2 * self._length
        vector = np.fromfile(self._file, np.float16, self._length, offset=number * size).astype(np.float32)
        return None if np.isnan(vector[0]) else vector

    def _blocks(self) -> Iterator[np.ndarray]:
        assert self._file is not None
        with open(self._file, "rb") as file:
            while len(block := np.fromfile(file, np.float16, _ROWS * self._length)):
                yield block.reshape(-1, self._length).astype(np.float32)

    def _make(self, source: Path) -> None:
        photos = self._photos
        rows = _of_audit(source, photos) if source.suffix == ".jsonl" else _of_embed(source, photos)
        first = next(rows, None)
        if first is None:
            photos.vectors = None
            return
        self._length = len(first[1])
        mark = hashlib.sha256(f"{source}{file_stamp(source)}{len(photos)}{photos.names[-1]}".encode()).hexdigest()[:12]
        path = self._folder / FOLDER / f"vectors-{mark}-{self._length}.f16"
        if not path.is_file():
            temp = path.with_suffix(".tmp")
            table = np.memmap(temp, np.float16, "w+", shape=(len(photos), self._length))
            table[:] = np.nan
            for number, vector in (pair for part in ([first], rows) for pair in part):
                table[number] = vector
            table.flush()
            del table
            move_over(temp, path)
        self._file = path


def _of_audit(source: Path, photos: Photos) -> Iterator[tuple[int, np.ndarray]]:
    numbers: dict[str, list[int]] = {}
    for number, digest in enumerate(photos.digests):
        numbers.setdefault(digest, []).append(number)
    for digest, vector in packed_vectors(source):
        for number in numbers.get(digest, ()):
            yield number, vector


def _of_embed(source: Path, photos: Photos) -> Iterator[tuple[int, np.ndarray]]:
    """By the paths in a file of `carclf embed`, absolute or relative to where it ran; of a photo its first car."""
    numbers = {str(Path(file)): number for number, file in enumerate(photos.files)}
    by_name = {name: number for number, name in enumerate(photos.names)}
    table = read_vectors(source)
    told: set[int] = set()
    for row, vector in zip(table.rows, table.vectors, strict=True):
        number = numbers.get(str(Path(row["file"]).absolute()), by_name.get(row["file"]))
        if number is not None and number not in told and not np.isnan(vector[0]):
            told.add(number)
            yield number, vector


def _halved(sketch: np.ndarray, part: np.ndarray, random: np.random.Generator) -> Iterator[np.ndarray]:
    """The numbers in `part`, in order; each half begins with the end that is nearer to what came before."""
    stack, last = [part], None
    while stack:
        part = stack.pop()
        if not len(part):
            continue
        middle = sketch[part].mean(axis=0)
        if len(part) <= _LEAF:
            part = part[_chain(sketch[part], middle if last is None else last)]
            last = sketch[part[-1]]
            yield part
            continue
        away = sketch[part] - middle
        direction = np.asarray(random.normal(size=sketch.shape[1]), np.float32)
        for _ in range(5):  # power iteration
            direction = away.T @ (away @ direction)
            direction /= np.linalg.norm(direction) or 1.0
        order = np.argsort(away @ direction, kind="stable")
        low, high = part[order[: len(part) // 2]], part[order[len(part) // 2 :]]
        if last is not None and (last - middle) @ direction > 0:
            low, high = high, low
        stack += [high, low]


def _chain(points: np.ndarray, start: np.ndarray) -> list[int]:
    """From the point nearest to `start` always to the nearest one that is left."""
    apart = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    at = int(((points - start) ** 2).sum(axis=1).argmin())
    found = [at]
    for _ in range(len(points) - 1):
        apart[:, at] = np.inf
        at = int(apart[at].argmin())
        found.append(at)
    return found


def far_labels(likes: np.ndarray, number: int, labels: Callable[[int], str], count: int) -> Iterable[tuple[int, float]]:
    """The photos that look most like one and bear another label (empty ones do not count), with their cosines."""
    own = labels(number)
    found: list[tuple[int, float]] = []
    for other in np.argsort(-likes, kind="stable"):
        if likes[other] <= -2 or len(found) == count:
            break
        if int(other) != number and labels(int(other)) not in ("", own):
            found.append((int(other), float(likes[other])))
    return found
