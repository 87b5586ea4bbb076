"""A worker in a process of its own, for the tests: `python -m tests.carclf.service.queue_worker URL [SECONDS]`.

All is real but the models. SECONDS: how long a batch takes. A photo of a magenta car kills the process; the models fail
at a yellow one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

import numpy as np

from carclf.pipeline import CarRecognizer
from carclf.service.local import LocalBackend
from carclf.service.settings import ServiceSettings
from carclf.service.worker import Worker
from tests.carclf.service.stand_ins import ColourClassifier
from tests.fakes import FakeDetector

POISON, FAILING = (220, 20, 220), (220, 220, 20)
BATCH = 4


class DeadlyClassifier(ColourClassifier):
    def predict(self, crops: Sequence[np.ndarray], batch_size: int = 32) -> np.ndarray:
        for crop in crops:
            middle = crop[crop.shape[0] // 2, crop.shape[1] // 2].astype(int)
            if np.abs(middle - POISON).max() < 40:
                os.kill(os.getpid(), signal.SIGKILL)
            if np.abs(middle - FAILING).max() < 40:
                raise MemoryError("no memory for /secret/folder")
        return super().predict(crops, batch_size)


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0

    async def run() -> None:
        settings = ServiceSettings.of(batch_size=BATCH)
        backend = LocalBackend(lambda: CarRecognizer(DeadlyClassifier(seconds), FakeDetector()), settings)
        await Worker(sys.argv[1], backend, BATCH).run()

    asyncio.run(run())


if __name__ == "__main__":
    main()
