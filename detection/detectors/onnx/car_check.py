"""The check of what a detector has found, by ONNX Runtime and without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from detection.common.errors import UsageError
from detection.common.networks.imagenet import imagenet_arrays, whole_imagenet_file
from detection.detectors.check.car_check import ARCHITECTURE, looks
from detection.detectors.check.evidence import Evidence
from detection.detectors.check.imagenet import CLASS_NAMES
from detection.detectors.compact.files import bundled_path
from detection.detectors.contract import CarChecker
from detection.detectors.onnx.folder import CHECK, EXPORT_FILE
from detection.detectors.onnx.session import has_ends, open_graphs, open_part
from detection.vehicle import Look

if TYPE_CHECKING:
    import onnxruntime


class OnnxCarCheck(CarChecker):
    """Looks at boxes that were found, as `detection.detectors.check.car_check.CarCheck` does."""

    def __init__(
        self, open: Callable[[], onnxruntime.InferenceSession], names: Sequence[str], evidence: Evidence | None = None
    ):
        """open: gives the session, when the check is first asked: most photos do without. names: of the classes.
        evidence: what `Look.evidence` comes from; None leaves it out."""
        self._open = open
        self._names = tuple(names)
        self._evidence = evidence
        self._opening = Lock()

    @classmethod
    def of_export(
        cls,
        folder: Path,
        names: Sequence[str],
        threads: int | None = None,
        runtime: str = "auto",
        device: str = "auto",
        evidence: Evidence | None = None,
    ) -> OnnxCarCheck:
        """threads, runtime, device: see `open_session`. Raises `UsageError`."""
        session = open_part(folder, CHECK, threads, runtime, device)
        if not has_ends(session, {"views": "tensor(uint8)"}, ["probabilities"]) or (
            session.get_outputs()[0].shape[-1:] != [len(names)]
        ):
            raise UsageError(f"'{folder / CHECK}' is not the one of its {EXPORT_FILE}: export the model again.")
        return cls(lambda: session, names, evidence)

    @classmethod
    def bundled(
        cls,
        threads: int | None = None,
        runtime: str = "auto",
        device: str = "auto",
        evidence: Evidence | None = None,
    ) -> OnnxCarCheck:
        """With the ImageNet weights that are installed. Raises `UsageError` where there are none."""
        weights = whole_imagenet_file(ARCHITECTURE)

        def open() -> onnxruntime.InferenceSession:
            found = imagenet_arrays(ARCHITECTURE).items()
            arrays = {name: array for name, array in found if array.dtype == np.float32}
            (session,) = open_graphs([bundled_path(CHECK)], weights, arrays, threads, runtime, device)
            return session

        return cls(open, CLASS_NAMES, evidence)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return self._open()

    def look(self, views: Sequence[np.ndarray]) -> list[Look]:
        """views: as `car_view` gives them."""
        with self._opening:  # several threads may ask for the first time
            session = self._session
        found: list[Look] = []
        for view in views:  # one by one: what a batch keeps does not fit the processor's caches
            (probabilities,) = session.run(["probabilities"], {"views": view[None]})
            found += looks(probabilities, self._names, self._evidence)
        return found
