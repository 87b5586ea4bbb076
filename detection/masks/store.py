"""Decoded training photos and masks, kept in memory as far as it goes."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np

from detection.masks.records import MaskRecord

# A training photo is shown at most this much larger than the example made of it, so more pixels would be thrown away.
OVERSAMPLING = 2.5


class PhotoStore:
    """Photos (RGB uint8 HxWx3) and their masks (bool HxW each), shrunk to `side` where they are larger.

    They are kept until `budget` bytes (None: a third of the machine's memory) are used; the rest is decoded anew each
    time. A camera's 12 megapixels shrink to some 3 MB with one mask.
    """

    def __init__(self, side: int, budget: int | None = None):
        self.side, self.used = side, 0
        self.budget = _third_of_memory() if budget is None else budget
        self._kept: dict[tuple[str, str], tuple[np.ndarray, tuple[np.ndarray, ...]]] = {}

    def get(self, record: MaskRecord) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """The photo and one mask per instance, of the photo's shape."""
        key = record.source, record.path
        found = self._kept.get(key)
        if found is None:
            image = record.image(self.side)
            found = image, tuple(_not_empty(mask) for mask in record.decoded_masks(image.shape[:2]))
            size = image.nbytes + sum(mask.nbytes for mask in found[1])
            if self.used + size <= self.budget:
                self._kept[key] = found
                self.used += size
        return found

    def preload(self, records: Iterable[MaskRecord]) -> None:
        """Decodes photos while there is room, so that loader workers forked later share them."""
        for record in records:
            if self.used >= 0.98 * self.budget:
                return
            self.get(record)


def _not_empty(mask: np.ndarray) -> np.ndarray:
    """A mask too small to survive the shrinking keeps a pixel, so that the list stays parallel to the record's."""
    if not mask.any():
        mask[mask.shape[0] // 2, mask.shape[1] // 2] = True
    return mask


def _third_of_memory() -> int:
    if not hasattr(os, "sysconf"):  # as on Windows
        return 2 * 1024**3
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 3
    except (ValueError, OSError):
        return 2 * 1024**3
