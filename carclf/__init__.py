"""From a photo of a car to its make and model.

    from carclf import CarRecognizer
    CarRecognizer()("photo.jpg")

Importing the package is cheap: torch and the models load with the first use of a name below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detection.common.lazy import hand_on
from detection.version import __version__

if TYPE_CHECKING:
    from carclf.classifier.catalogue import load_classifier
    from carclf.classifier.contract import Classifier
    from carclf.classifier.tta.views import TtaConfig
    from carclf.recognition.prediction import Prediction, Predictions
    from carclf.recognition.recognizer import CarRecognizer
    from carclf.training.loop import train
    from detection.common.errors import UsageError

_HOMES = {
    "CarRecognizer": "carclf.recognition.recognizer",
    "Prediction": "carclf.recognition.prediction",
    "Predictions": "carclf.recognition.prediction",
    "Classifier": "carclf.classifier.contract",
    "load_classifier": "carclf.classifier.catalogue",
    "train": "carclf.training.loop",
    "TtaConfig": "carclf.classifier.tta.views",
    "UsageError": "detection.common.errors",
}
__all__ = [
    "CarRecognizer",
    "Classifier",
    "Prediction",
    "Predictions",
    "TtaConfig",
    "UsageError",
    "__version__",
    "load_classifier",
    "train",
]

__getattr__, __dir__ = hand_on(__name__, _HOMES)
