"""The classifier: its file, its network, and how crops become probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detection.common.lazy import hand_on

if TYPE_CHECKING:
    from carclf.classifier.catalogue import find_model, load_classifier
    from carclf.classifier.classifier import TorchClassifier
    from carclf.classifier.contract import Classifier
    from carclf.classifier.onnx.classifier import OnnxClassifier

_HOMES = {
    "Classifier": "carclf.classifier.contract",
    "TorchClassifier": "carclf.classifier.classifier",
    "OnnxClassifier": "carclf.classifier.onnx.classifier",
    "load_classifier": "carclf.classifier.catalogue",
    "find_model": "carclf.classifier.catalogue",
}
__all__ = ["Classifier", "OnnxClassifier", "TorchClassifier", "find_model", "load_classifier"]

__getattr__, __dir__ = hand_on(__name__, _HOMES)
