"""Which photos are copies of each other: the same bytes, or the same picture saved again or scaled."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from detection.common.files import file_sha256
from detection.common.places.ahead import fetched_ahead
from detection.common.places.paths import path_of
from detection.images.duplicates import difference_hash, differing_bits
from detection.images.read import ImageError, load_image


@dataclass(frozen=True)
class PhotoDigest:
    """What one look at a photo tells.

    digest: SHA-256 of the file. picture: a number that copies share; None for a file that can't be read.
    reason: why it can't, one sentence; empty when it can.
    """

    digest: bytes
    picture: int | None
    reason: str = ""


class Pictures:
    """Numbers pictures in the order in which they come; a copy of an earlier one gets its number."""

    # A photo saved again differs in a few bits of its hash. Cut-outs of two cars of one shape do so too, so the
    # thumbnails decide: a copy differs by less than 2 levels, another photo by more than 10.
    BITS, LEVELS = 6, 4

    def __init__(self, most: int):
        """most: how many photos there will be at most."""
        self._hashes = np.zeros(most, np.uint64)
        self._thumbnails: list[np.ndarray] = []
        self._numbers: list[int] = []
        self._by_digest: dict[bytes, PhotoDigest] = {}

    def look(self, file: str) -> PhotoDigest:
        digest = _digest(file)
        if digest not in self._by_digest:
            try:
                self._by_digest[digest] = PhotoDigest(digest, self._number(load_image(file, max_side=72)))
            except ImageError as error:
                self._by_digest[digest] = PhotoDigest(digest, None, str(error))
        return self._by_digest[digest]

    def _number(self, small: np.ndarray) -> int:
        thumbnail = cv2.resize(small, (36, 32), interpolation=cv2.INTER_AREA)
        bits = difference_hash(cv2.cvtColor(thumbnail, cv2.COLOR_RGB2GRAY))
        count = len(self._numbers)
        near = np.flatnonzero(differing_bits(bits, self._hashes[:count]) <= self.BITS)
        twin = next((index for index in near if self._alike(thumbnail, self._thumbnails[index])), None)
        self._hashes[count] = bits
        self._thumbnails.append(thumbnail)
        self._numbers.append(count if twin is None else self._numbers[twin])
        return self._numbers[-1]

    def _alike(self, one: np.ndarray, other: np.ndarray) -> bool:
        return cv2.absdiff(one, other).mean() < self.LEVELS


def picture_numbers(files: Sequence[str]) -> list[int | None]:
    """One number per photo, shared by copies; None for a file that can't be read."""
    pictures = Pictures(len(files))
    return [pictures.look(file).picture for file in fetched_ahead(files, path_of)]


def joined(*keys: Sequence[Hashable]) -> np.ndarray:
    """Int [N]: rows that share a key, or are joined by others that do, get one number; None is shared by none.

    >>> joined([1, 2, 1, None, None], ["a", "a", None, None, "b"]).tolist()
    [0, 0, 0, 1, 2]
    """
    parent = list(range(len(keys[0])))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for column in keys:
        first: dict[Hashable, int] = {}
        for row, key in enumerate(column):
            if key is not None:
                parent[root(row)] = root(first.setdefault(key, row))
    return np.unique([root(row) for row in range(len(parent))], return_inverse=True)[1]


def _digest(file: str) -> bytes:
    try:
        return file_sha256(file)
    except OSError:
        return file.encode("utf-8", "surrogateescape")
