"""The check of what a detector has found, by ONNX Runtime and without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detection.common.errors import UsageError
from detection.common.networks.imagenet import imagenet_arrays, imagenet_file
from detection.detectors.car_check import ARCHITECTURE, looks
from detection.detectors.compact.files import bundled_path
from detection.detectors.contract import CarChecker
from detection.detectors.imagenet import CLASS_NAMES
from detection.detectors.onnx.folder import CHECK, EXPORT_FILE
from detection.detectors.onnx.session import has_ends, open_graphs, open_part
from detection.vehicle import Look

if TYPE_CHECKING:
    import onnxruntime

# On a CPU larger batches take memory and gain no time.
_AT_ONCE = 4


class OnnxCarCheck(CarChecker):
    """Looks at boxes that were found, as `detection.detectors.car_check.CarCheck` does."""

    def __init__(self, session: onnxruntime.InferenceSession, names: Sequence[str]):
        """names: of the classes."""
        self._session = session
        self._names = tuple(names)

    @classmethod
    def of_export(
        cls,
        folder: Path,
        names: Sequence[str],
        threads: int | None = None,
        runtime: str = "auto",
        device: str = "auto",
    ) -> OnnxCarCheck:
        """threads, runtime, device: see `open_session`. Raises `UsageError`."""
        session = open_part(folder, CHECK, threads, runtime, device)
        if not has_ends(session, {"views": "tensor(uint8)"}, ["probabilities"]) or (
            session.get_outputs()[0].shape[-1:] != [len(names)]
        ):
            raise UsageError(f"'{folder / CHECK}' is not the one of its {EXPORT_FILE}: export the model again.")
        return cls(session, names)

    @classmethod
    def bundled(cls, threads: int | None = None, runtime: str = "auto", device: str = "auto") -> OnnxCarCheck:
        """With the ImageNet weights that are installed. Raises `UsageError` where there are none."""
        arrays = {name: array for name, array in imagenet_arrays(ARCHITECTURE).items() if array.dtype == np.float32}
        weights, _ = imagenet_file(ARCHITECTURE)
        (session,) = open_graphs([bundled_path(CHECK)], weights, arrays, threads, runtime, device)
        return cls(session, CLASS_NAMES)

    def look(self, views: Sequence[np.ndarray]) -> list[Look]:
        """views: as `car_view` gives them."""
        found: list[Look] = []
        for start in range(0, len(views), _AT_ONCE):
            batch = np.stack(views[start : start + _AT_ONCE])
            (probabilities,) = self._session.run(["probabilities"], {"views": batch})
            found += looks(probabilities, self._names)
        return found
