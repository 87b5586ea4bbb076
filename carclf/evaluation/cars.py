"""Which photos show one car: those are no independent witnesses of how good a classifier is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from carclf.datasets.copies import joined, picture_numbers
from carclf.datasets.layouts.lists import CAR


def car_numbers(table: pd.DataFrame) -> np.ndarray:
    """Int [N], one number for the photos of one car.

    Those are copies of one picture (see `carclf.datasets.copies`), and photos that the table's column `car` gives one
    name, in one class or several. Photos that can't be read, or have no name, are of cars of their own.
    """
    keys: list[Sequence] = [picture_numbers(table["file"].tolist())]
    if CAR in table:
        keys.append([name or None for name in table[CAR]])
    return joined(*keys)
