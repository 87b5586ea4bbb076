"""A worker in a process of its own, for the tests: `python -m tests.carclf.service.queue_worker URL [SECONDS]`.

All is real but the models: a `FakeDetector`, and a classifier that names the colour of the cut-out. SECONDS: how long
each photo takes. A photo whose cut-out is magenta kills the process; a yellow one makes the recognizer fail as a whole.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time

import numpy as np

from carclf.pipeline import CarRecognizer
from carclf.service.worker import Worker
from detection.cutout import CutoutStyle
from tests.fakes import FakeDetector

RED, GREEN, BLUE = (220, 20, 20), (20, 220, 20), (20, 40, 220)
POISON, FAILING = (220, 20, 220), (220, 220, 20)
BATCH = 4


class ColourClassifier:
    """Names the strongest colour of a cut-out's middle."""

    classes = ("red", "green", "blue")
    detector = "fake"
    style = CutoutStyle(background="white")

    def __init__(self, seconds: float = 0.0):
        self.seconds = seconds

    def predict(self, crops, batch_size=32):
        rows = []
        for crop in crops:
            time.sleep(self.seconds)
            middle = crop[crop.shape[0] // 2, crop.shape[1] // 2].astype(float)
            if np.abs(middle - POISON).max() < 40:
                os.kill(os.getpid(), signal.SIGKILL)
            rows.append(middle / middle.sum())
        return np.array(rows, np.float32)


class Recognizer(CarRecognizer):
    """Fails as no photo should be able to make it fail."""

    def _recognition(self, item):
        if item.probabilities is not None and item.probabilities.max() < 0.49 and item.probabilities[2] < 0.1:
            raise MemoryError("no memory for /secret/folder")
        return super()._recognition(item)


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    recognizer = Recognizer(ColourClassifier(seconds), FakeDetector(), workers=1)
    asyncio.run(Worker(sys.argv[1], recognizer, BATCH).run())


if __name__ == "__main__":
    main()
