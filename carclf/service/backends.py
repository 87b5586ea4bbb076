"""Which backend the settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carclf.service.backend import Backend
from carclf.service.settings import ServiceSettings

if TYPE_CHECKING:
    from carclf.pipeline import CarRecognizer
    from carclf.service.metrics import Metrics


def make_backend(settings: ServiceSettings, metrics: Metrics | None = None) -> Backend:
    """The one place that knows of the kinds. Imports nothing that is slow: the service is to listen at once."""
    if settings.broker is not None:
        from carclf.service.broker import BrokerBackend

        return BrokerBackend(
            settings.broker.get_secret_value(), timeout=settings.answer_timeout, max_waiting=settings.queue_length
        )
    from functools import partial

    from carclf.service.local import LocalBackend

    return LocalBackend(partial(load_recognizer, settings), settings, metrics)


def load_recognizer(settings: ServiceSettings) -> CarRecognizer:
    """The recognizer, warm; to be called in the thread that will use it. Raises `UsageError`."""
    import numpy as np

    from carclf.console import quiet_stdout
    from carclf.pipeline import CarRecognizer
    from detection.allocator import hand_back

    if settings.threads is not None:
        import torch

        torch.set_num_threads(settings.threads)
    with quiet_stdout():
        recognizer = CarRecognizer(
            settings.model,
            detector=settings.detector,
            device=settings.device,
            tta=settings.tta,
            threshold=settings.threshold,
        )
        # The first photo chooses kernels and allocates: that is not to be the first client's time.
        grey = np.full((480, 640, 3), 128, np.uint8)
        recognizer([grey])
        recognizer.classifier.predict([grey])
    hand_back()
    return recognizer
