"""Which backend the settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carclf.classifier.catalogue import find_model
from carclf.classifier.onnx.folder import kept_export
from carclf.service.contract import Backend
from carclf.service.settings import ServiceSettings
from detection.common.errors import has_module
from detection.common.machine import usable_cores
from detection.common.networks.runtime import may_have_gpu
from detection.detectors.contract import COMPACT
from detection.detectors.onnx.folder import is_export

if TYPE_CHECKING:
    from carclf.recognition.recognizer import CarRecognizer
    from carclf.service.metrics import Metrics


def with_export(settings: ServiceSettings) -> ServiceSettings:
    """The same with the export of its model, where torch would run that, `carclf export` has made one, and nothing
    speaks against it.

    Raises `UsageError` for a model that can't be found.
    """
    if not wants_export(settings):
        return settings
    kept = kept_export(find_model(settings.model).weights)
    return settings.model_copy(update={"model": str(kept)}) if is_export(kept) else settings


def wants_export(settings: ServiceSettings) -> bool:
    """Whether torch would run its model, though an export of it could be run without. Raises `UsageError`."""
    if settings.broker is not None or settings.detector is not None or not _on_cpu(settings):
        return False
    found = find_model(settings.model)
    return not (found.is_garage or found.runs_by_onnx)


def runs_by_onnx(settings: ServiceSettings) -> bool:
    """Whether ONNX Runtime runs all networks, which may be used by several threads then. Asks no GPU.

    Raises `UsageError` for a model that can't be found.
    """
    detector = settings.detector is None or settings.detector == COMPACT or is_export(settings.detector)
    found = find_model(settings.model)
    return detector and (found.network.is_export or (found.runs_by_onnx and _on_cpu(settings)))


def _on_cpu(settings: ServiceSettings) -> bool:
    """Whether ONNX Runtime may be taken: not where a GPU is asked for, or may be there and is faster."""
    if settings.runtime == "torch":
        return False
    return settings.device == "cpu" or (settings.device == "auto" and not may_have_gpu())


def make_backend(settings: ServiceSettings, metrics: Metrics | None = None) -> Backend:
    """The one place that knows of the kinds. Imports nothing that is slow: the service is to listen at once."""
    if settings.broker is not None:
        from carclf.service.queue.broker import BrokerBackend

        return BrokerBackend(
            settings.broker.get_secret_value(), timeout=settings.answer_timeout, max_waiting=settings.queue_length
        )
    from functools import partial

    from carclf.service.local.backend import LocalBackend

    side_by_side = max(1, usable_cores() // threads_by_onnx(settings)) if runs_by_onnx(settings) else 1
    return LocalBackend(partial(load_recognizer, settings), settings, metrics, side_by_side)


def load_recognizer(settings: ServiceSettings) -> CarRecognizer:
    """The recognizer, warm; to be called in the thread that will use it. Raises `UsageError`."""
    import numpy as np

    from carclf.recognition.chain.item import Item
    from carclf.recognition.recognizer import CarRecognizer
    from detection.common.console import quiet_stdout
    from detection.common.machine import hand_back

    with quiet_stdout():
        threads = settings.threads
        if runs_by_onnx(settings):
            threads = threads_by_onnx(settings)
        elif threads is not None and has_module("torch"):
            import torch

            torch.set_num_threads(threads)
        recognizer = CarRecognizer(
            settings.model,
            detector=settings.detector,
            device=settings.device,
            tta=settings.tta,
            threshold=settings.threshold,
            levels=settings.levels,
            sure=settings.sure,
            only=settings.only,
            colour=settings.colour,
            kinds=settings.kinds,
            runtime=settings.runtime,
            threads=threads,
        )
        # The first photo chooses kernels and allocates: that is not to be the first client's time.
        grey = np.full((480, 640, 3), 128, np.uint8)
        list(recognizer.recognize_fully([Item(grey, "", hide=settings.hide)], pictures=True))
        recognizer.classifier.predict([grey])
        if recognizer.check is not None:
            recognizer.check.look([grey[:224, :224]])
    hand_back()
    return recognizer


def threads_by_onnx(settings: ServiceSettings) -> int:
    """Of each network: one, so that as many photos as there are cores are answered side by side."""
    return settings.threads or 1
