"""Which backend the settings ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from carclf.classifier.catalogue import find_model
from carclf.classifier.onnx.folder import kept_export
from carclf.service.contract import Backend
from carclf.service.settings import ServiceSettings
from detection.common.machine import usable_cores
from detection.detectors.onnx.folder import is_export

if TYPE_CHECKING:
    from carclf.recognition.recognizer import CarRecognizer
    from carclf.service.metrics import Metrics


def with_export(settings: ServiceSettings) -> ServiceSettings:
    """The same with the export of its model, where `carclf export` has made one and nothing speaks against it.

    Raises `UsageError` for a model that can't be found.
    """
    if settings.broker is not None or settings.detector is not None or settings.device not in ("auto", "cpu"):
        return settings
    if settings.device == "auto" and Path("/dev/nvidia0").exists():  # the model itself is faster there
        return settings
    found = find_model(settings.model)
    if found.is_export:
        return settings
    kept = kept_export(found.weights)
    return settings.model_copy(update={"model": str(kept)}) if is_export(kept) else settings


def make_backend(settings: ServiceSettings, metrics: Metrics | None = None) -> Backend:
    """The one place that knows of the kinds. Imports nothing that is slow: the service is to listen at once."""
    if settings.broker is not None:
        from carclf.service.queue.broker import BrokerBackend

        return BrokerBackend(
            settings.broker.get_secret_value(), timeout=settings.answer_timeout, max_waiting=settings.queue_length
        )
    from functools import partial

    from carclf.service.local.backend import LocalBackend

    side_by_side = 1
    if is_export(settings.model) and settings.detector is None:  # its networks may be used by several threads
        side_by_side = max(1, usable_cores() // threads_of_export(settings))
    return LocalBackend(partial(load_recognizer, settings), settings, metrics, side_by_side)


def load_recognizer(settings: ServiceSettings) -> CarRecognizer:
    """The recognizer, warm; to be called in the thread that will use it. Raises `UsageError`."""
    import numpy as np

    from carclf.recognition.recognizer import CarRecognizer
    from detection.common.console import quiet_stdout
    from detection.common.machine import hand_back

    with quiet_stdout():
        model, detector = settings.model, settings.detector
        if is_export(model):
            model, detector = _load_export(settings)
        elif settings.threads is not None:
            import torch

            torch.set_num_threads(settings.threads)
        recognizer = CarRecognizer(
            model,
            detector=detector,
            device=settings.device,
            tta=settings.tta,
            threshold=settings.threshold,
            kinds=settings.kinds,
        )
        # The first photo chooses kernels and allocates: that is not to be the first client's time.
        grey = np.full((480, 640, 3), 128, np.uint8)
        recognizer([grey])
        recognizer.classifier.predict([grey])
    hand_back()
    return recognizer


def threads_of_export(settings: ServiceSettings) -> int:
    """Of each network: one, so that as many photos as there are cores are answered side by side."""
    return settings.threads or 1


def _load_export(settings: ServiceSettings) -> tuple:
    """Classifier and detector of an export; the detector may be another one."""
    from carclf.classifier.onnx.classifier import OnnxClassifier
    from detection.detectors.onnx.detector import OnnxDetector

    threads = threads_of_export(settings)
    detector = settings.detector or OnnxDetector(settings.model, threads=threads)
    return OnnxClassifier(settings.model, threads), detector
