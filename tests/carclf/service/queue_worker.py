"""A worker in a process of its own, for the tests.

    python -m tests.carclf.service.queue_worker URL [SECONDS [STALLED [THRESHOLD]]]

All is real but the models. SECONDS: how long a batch takes. STALLED: after how many it counts as hung.
THRESHOLD: another one makes another model. A photo of a
magenta car kills the process; the models fail at a yellow one, and hang at a cyan one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence

import numpy as np

from carclf.recognition.recognizer import CarRecognizer
from carclf.service.local.backend import LocalBackend
from carclf.service.queue.worker import Worker
from carclf.service.settings import ServiceSettings
from tests.carclf.service.stand_ins import ColourClassifier
from tests.fakes import FakeDetector

POISON, FAILING, HANGING = (220, 20, 220), (220, 220, 20), (20, 220, 220)
BATCH = 4


class DeadlyClassifier(ColourClassifier):
    def predict(self, crops: Sequence[np.ndarray], batch_size: int = 32) -> np.ndarray:
        for crop in crops:
            middle = crop[crop.shape[0] // 2, crop.shape[1] // 2].astype(int)
            if np.abs(middle - POISON).max() < 40:
                os.kill(os.getpid(), signal.SIGKILL)
            if np.abs(middle - FAILING).max() < 40:
                raise MemoryError("no memory for /secret/folder")
            if np.abs(middle - HANGING).max() < 40:
                time.sleep(1000)
        return super().predict(crops, batch_size)


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    url, *numbers = sys.argv[1:]
    seconds, stalled, threshold = (float(number) for number in (*numbers, *("0", "900", "0.5")[len(numbers) :]))

    async def run() -> None:
        settings = ServiceSettings.of(batch_size=BATCH)
        backend = LocalBackend(
            lambda: CarRecognizer(DeadlyClassifier(seconds), FakeDetector(), threshold=threshold), settings
        )
        await Worker(url, backend, BATCH, stalled=stalled).run()

    asyncio.run(run())


if __name__ == "__main__":
    main()
