"""The exported check of what a detector has found, by ONNX Runtime and without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detection.detectors.car_check import looks
from detection.detectors.contract import CarChecker
from detection.detectors.onnx.folder import CHECK
from detection.detectors.onnx.session import open_session
from detection.vehicle import Look

# On a CPU larger batches take memory and gain no time.
_AT_ONCE = 4


class OnnxCarCheck(CarChecker):
    """Looks at boxes that were found, as `detection.detectors.car_check.CarCheck` does."""

    def __init__(self, folder: Path, names: Sequence[str], threads: int | None = None):
        """folder: an export. names: of the classes. threads: see `open_session`."""
        self._session = open_session(folder / CHECK, threads)
        self._names = tuple(names)

    def look(self, views: Sequence[np.ndarray]) -> list[Look]:
        """views: as `car_view` gives them."""
        found: list[Look] = []
        for start in range(0, len(views), _AT_ONCE):
            batch = np.stack(views[start : start + _AT_ONCE])
            (probabilities,) = self._session.run(["probabilities"], {"views": batch})
            found += looks(probabilities, self._names)
        return found
