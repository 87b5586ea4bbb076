"""What names cars, loaded: a classifier, and the finder of vehicles that goes with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TYPE_CHECKING, Any

from carclf.classifier.contract import Classifier, as_classifier
from detection.common.errors import UsageError
from detection.detectors.contract import COMPACT, Detector, as_detector

if TYPE_CHECKING:
    from detection.detectors.finder import VehicleFinder


def load_models(
    model: str | os.PathLike | Classifier,
    detector: Any,
    make_finder: Callable[[Detector], VehicleFinder] | None,
    device: str,
    runtime: str,
    threads: int | None,
) -> tuple[Classifier, VehicleFinder | None]:
    """The classifier, and what `make_finder` makes of the detector; without it, no detector is loaded.

    model, detector: names, or loaded ones; a detector of None is the one that the classifier names. device, runtime,
    threads: of what is loaded here, see `detection.detectors.load`. Raises `UsageError` for the first that can't be
    loaded: classifier, detector, check.
    """

    def load_finder(detector: Any) -> VehicleFinder | None:
        return None if make_finder is None else make_finder(_load_detector(detector, device, runtime, threads))

    name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else None
    beside = None if make_finder is None or name is None else _loads_beside(name, detector, device, runtime)
    with ThreadPoolExecutor(1, thread_name_prefix="carclf-load") as pool:
        early = None if beside is None else pool.submit(load_finder, beside)
        if name is not None:
            from carclf.classifier.catalogue import load_classifier

            model = load_classifier(name, device, runtime, threads)
        classifier = as_classifier(model)
    if make_finder is None:
        return classifier, None
    wanted = detector or classifier.detector or COMPACT
    return classifier, load_finder(wanted) if early is None or wanted != beside else early.result()


def _loads_beside(model: str, detector: Any, device: str, runtime: str) -> str | None:
    """The detector, where it may be loaded in a thread of its own while the classifier is: ONNX Runtime runs both, and
    builds its sessions without Python's lock. What can't be loaded is told by what loads it, the classifier first."""
    from carclf.classifier.catalogue import find_model
    from detection.common.networks.runtime import choose_engine
    from detection.detectors.onnx.folder import is_export

    try:
        found = find_model(model)
        if detector is None:
            detector = str(found.path) if found.is_export else found.info().detector
        if not (isinstance(detector, str) and found.runs_by_onnx and (detector == COMPACT or is_export(detector))):
            return None
        if choose_engine(detector, runtime, device) != "onnx":
            return None
        for module in ("onnxruntime", "carclf.classifier.onnx.classifier", "detection.detectors.onnx.detector"):
            import_module(module)  # here, and not in two threads at once
    except (UsageError, ImportError):
        return None
    return detector


def _load_detector(detector, device: str, runtime: str, threads: int | None) -> Detector:
    if not isinstance(detector, (str, os.PathLike)):
        return as_detector(detector)
    from detection.detectors.load import load_detector

    return as_detector(load_detector(os.fspath(detector), device=device, runtime=runtime, threads=threads))
