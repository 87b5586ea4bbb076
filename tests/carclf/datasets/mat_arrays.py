"""Arrays as MATLAB saves them: what `scipy.io.savemat` is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def structures(rows: Sequence[tuple], fields: Sequence[str]) -> np.ndarray:
    """An array of structures [1, N], one per row."""
    array = np.zeros((1, len(rows)), dtype=[(field, object) for field in fields])
    for number, row in enumerate(rows):
        array[0, number] = row
    return array


def cell(things: Sequence) -> np.ndarray:
    """A cell array [1, N]."""
    array = np.zeros((1, len(things)), dtype=object)
    array[0, :] = things
    return array
