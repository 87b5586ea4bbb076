"""A service whose models are stand-ins: the chain, the batching and the HTTP are real."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from carclf.recognition.recognizer import CarRecognizer
from carclf.service.local.backend import LocalBackend
from carclf.service.settings import ServiceSettings
from detection.cutout.cut import CutoutStyle
from tests.fakes import FakeDetector, draw_car

RED, BLUE, GREEN = (220, 20, 20), (20, 40, 220), (20, 200, 40)
GREY = (128, 128, 128)


class ColourClassifier:
    """Names the colour of a crop; is unsure of green ones. `sizes` are those of the batches it was given."""

    classes = ("Blue Sedan 2012", "Green Van 2009", "Red Coupe 2011")
    detector = "fake"
    style = CutoutStyle()
    threshold = 0.5

    def __init__(self, seconds: float = 0):
        self.seconds = seconds
        self.sizes: list[int] = []

    def predict(self, crops: Sequence[np.ndarray], batch_size: int = 32) -> np.ndarray:
        self.sizes.append(len(crops))
        time.sleep(self.seconds)
        rows = []
        for crop in crops:
            middle = crop[crop.shape[0] // 2, crop.shape[1] // 2].astype(int)
            best = int(middle[[2, 1, 0]].argmax())
            rows.append(np.roll([0.4, 0.31, 0.29], best) if best == 1 else np.roll([0.9, 0.06, 0.04], best))
        return np.array(rows, np.float32)


def make_recognizer(seconds: float = 0) -> CarRecognizer:
    return CarRecognizer(ColourClassifier(seconds), FakeDetector())


def make_local(settings: ServiceSettings, metrics=None) -> LocalBackend:
    return LocalBackend(make_recognizer, settings, metrics)


def photo(colour: tuple[int, int, int] = RED, size: tuple[int, int] = (96, 128), format: str = "JPEG", **more) -> bytes:
    """The file of a photo; height and width of `size`, with a car of that colour. Grey ones show none."""
    height, width = size
    box = (width // 4, height * 2 // 5, width * 3 // 4, height * 3 // 4)
    file = io.BytesIO()
    Image.fromarray(draw_car(colour, size, box)).save(file, format, **more)
    return file.getvalue()


def as_files(*photos: bytes, name: str = "car", kind: str = "image/jpeg") -> list:
    """What an HTTP client takes for files: car1.jpg, car2.jpg, ..."""
    return [("photos", (f"{name}{number}.jpg", data, kind)) for number, data in enumerate(photos, start=1)]
