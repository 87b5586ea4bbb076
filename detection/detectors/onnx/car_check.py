"""The check of what a detector has found, by ONNX Runtime and without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detection.common.networks.imagenet import imagenet_arrays, imagenet_file
from detection.detectors.car_check import ARCHITECTURE, looks
from detection.detectors.compact.files import bundled_path
from detection.detectors.contract import CarChecker
from detection.detectors.imagenet import CLASS_NAMES
from detection.detectors.onnx.folder import CHECK
from detection.detectors.onnx.session import open_graphs, open_session
from detection.vehicle import Look

if TYPE_CHECKING:
    import onnxruntime


class OnnxCarCheck(CarChecker):
    """Looks at boxes that were found, as `detection.detectors.car_check.CarCheck` does."""

    def __init__(self, session: onnxruntime.InferenceSession, names: Sequence[str]):
        """names: of the classes."""
        self._session = session
        self._names = tuple(names)

    @classmethod
    def of_export(cls, folder: Path, names: Sequence[str], threads: int | None = None) -> OnnxCarCheck:
        """threads: see `open_session`. Raises `UsageError`."""
        return cls(open_session(folder / CHECK, threads), names)

    @classmethod
    def bundled(cls, threads: int | None = None) -> OnnxCarCheck:
        """With the ImageNet weights that are installed. Raises `UsageError` where there are none."""
        arrays = {name: array for name, array in imagenet_arrays(ARCHITECTURE).items() if array.dtype == np.float32}
        weights, _ = imagenet_file(ARCHITECTURE)
        (session,) = open_graphs([bundled_path(CHECK)], weights, arrays, threads)
        return cls(session, CLASS_NAMES)

    def look(self, views: Sequence[np.ndarray]) -> list[Look]:
        """views: as `car_view` gives them."""
        found: list[Look] = []
        for view in views:  # one by one: what a batch keeps does not fit the processor's caches
            (probabilities,) = self._session.run(["probabilities"], {"views": view[None]})
            found += looks(probabilities, self._names)
        return found
