"""A small tree of names, and a classifier whose answers a test chooses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carclf.classifier.levels.names import ClassName
from carclf.classifier.levels.sure import SureRow, SureTable
from detection.cutout.cut import CutoutStyle

CLASSES = ("Audi A4 2010", "Audi S4 Sedan 2007", "Audi S4 Sedan 2012", "BMW X3 2012", "smart fortwo 2012")
NAMES = (
    ClassName(make="Audi", model="Audi A4", years="2010"),
    ClassName(make="Audi", model="Audi S4", body="Sedan", years="2007"),
    ClassName(make="Audi", model="Audi S4", body="Sedan", years="2012"),
    ClassName(make="BMW", model="BMW X3", years="2012"),
    ClassName(make="smart", model="smart fortwo", years="2012"),
)
TABLE = SureTable(
    photos=200,
    rows=(
        SureRow(right=0.9, class_=0.3, model=0.3, make=0.3),
        SureRow(right=0.985, class_=0.8, model=0.75, make=0.7),
    ),
)


class LevelClassifier:
    """Says of every crop what it was told, float [5]."""

    classes, names, levels = CLASSES, NAMES, TABLE
    detector = "fake"
    style = CutoutStyle()
    threshold = 0.5

    def __init__(self, *probabilities: float):
        self.probabilities = np.array(probabilities, np.float32)

    def predict(self, crops: Sequence[np.ndarray], batch_size: int = 32) -> np.ndarray:
        return np.tile(self.probabilities, (len(crops), 1))
