"""From a photo of a car to its make and model.

    from carclf import CarRecognizer
    CarRecognizer()("photo.jpg")

Importing the package is cheap: torch and the models load with the first use of a name below.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carclf.pipeline import CarRecognizer
    from carclf.recognition.prediction import Prediction, Predictions

__version__ = "0.4.0"
__all__ = ["CarRecognizer", "Prediction", "Predictions", "__version__"]

_HOME = {
    "CarRecognizer": "carclf.pipeline",
    "Prediction": "carclf.recognition.prediction",
    "Predictions": "carclf.recognition.prediction",
}


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'carclf' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
