"""Photos that are near-duplicates of each other, by difference hash."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def difference_hash(grey: np.ndarray) -> int:
    """64 bits: which of the neighbours is brighter in a 9x8 version of a uint8 HxW picture.

    Scaling, compression and light change few of the bits.
    """
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    return int(sum(1 << index for index, bit in enumerate(bits) if bit))


def differing_bits(one: int, others: np.ndarray) -> np.ndarray:
    """How many bits of one hash differ from each of `others` (uint64 [N])."""
    return np.bitwise_count(np.uint64(one) ^ others)


def near_duplicate_groups(hashes: Sequence[int], distance: int) -> list[list[int]]:
    """Indices in groups, connected when at most `distance` bits differ.

    >>> near_duplicate_groups([0b000, 0b001, 0b011, 0b111000], 1)
    [[0, 1, 2], [3]]
    """
    known = np.array(hashes, dtype=np.uint64)
    parent = list(range(len(hashes)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for index in range(len(hashes)):
        for near in np.flatnonzero(differing_bits(hashes[index], known[index + 1 :]) <= distance):
            parent[root(index + 1 + int(near))] = root(index)
    groups: dict[int, list[int]] = {}
    for index in range(len(hashes)):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())
