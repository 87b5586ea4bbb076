"""Whether dark photos are named as well as bright ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from carclf.evaluation.metrics import wilson_interval
from carclf.recognition.chain.item import Item
from carclf.recognition.photo import read_photo

BINS = 5


def by_brightness(brightness: np.ndarray, right: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Photos in groups of equal number, from the darkest to the brightest.

    brightness: float [N], mean value of a photo, 0 to 1, NaN where it could not be read (left out); right: bool [N].
    Columns: low, high (of the brightness), photos, accuracy, accuracy_low, accuracy_high (Wilson's 95 % interval).
    """
    known = np.isfinite(brightness)
    brightness, right = np.asarray(brightness)[known], np.asarray(right, bool)[known]
    rows = []
    for group in np.array_split(np.argsort(brightness, kind="stable"), min(bins, len(brightness)) or 1):
        if not len(group):
            continue
        low, high = wilson_interval(right[group].sum(), len(group))
        rows.append(
            {"low": brightness[group].min(), "high": brightness[group].max(), "photos": len(group)}
            | {"accuracy": right[group].mean(), "accuracy_low": float(low), "accuracy_high": float(high)}
        )
    columns = ["low", "high", "photos", "accuracy", "accuracy_low", "accuracy_high"]
    return pd.DataFrame(rows, columns=columns).round(6)


def darkened(files: Iterable[str], factor: float) -> Iterator[Item]:
    """Photos as if they had been taken with a part of the light: all values times `factor`."""
    return (_Darkened(file, factor) for file in files)


class _Darkened(Item):
    """A photo that becomes darker as it is read."""

    def __init__(self, file: str, factor: float):
        super().__init__(file, file, file)
        self._factor = factor

    def _load(self, given):
        return np.round(read_photo(given) * np.float32(self._factor)).astype(np.uint8)
