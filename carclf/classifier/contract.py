"""What every classifier offers, whichever engine runs it, and what its file says of it. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from carclf.classifier.info import ModelInfo
from carclf.classifier.levels.names import ClassName
from carclf.classifier.levels.sure import SureTable
from carclf.classifier.tta.views import TtaConfig
from detection.common.errors import UsageError
from detection.cutout.cut import CutoutStyle
from detection.detectors.contract import COMPACT


class Classifier(Protocol):
    """Names crops of cars. Classifiers derive from it, set the attributes and implement the methods.

    info: what the model's file says. device: cpu, cuda or cuda:N. fingerprint: changes with the weights: answers of
    equal fingerprints may be mixed. side_by_side: how many crops it is best shown at a time, each alone in a thread; of
    1, batches are.
    """

    info: ModelInfo
    device: str
    fingerprint: str
    side_by_side: int = 1

    @property
    def classes(self) -> tuple[str, ...]:
        return self.info.classes

    @property
    def style(self) -> CutoutStyle:
        """How the crops that it was trained on were cut out."""
        return self.info.style

    @property
    def detector(self) -> str:
        """The detector that it was trained with, as `load_detector` takes it."""
        return self.info.detector

    @property
    def architecture(self) -> str:
        return self.info.shown_architecture

    @property
    def image_size(self) -> int | tuple[int, int]:
        """Pixels per side, or (height, width)."""
        return self.info.image_size

    @property
    def threshold(self) -> float:
        """The least confidence of an answer, 0 to 1."""
        return self.info.threshold

    @property
    def temperature(self) -> float:
        """The temperature that calibrates the probabilities."""
        return self.info.temperature

    @property
    def names(self) -> tuple[ClassName, ...]:
        """The parts of each class's name; empty where they are not known."""
        return self.info.names

    @property
    def levels(self) -> SureTable | None:
        """How sure an answer must be at each level; None where that was not calibrated."""
        return self.info.levels

    def predict(
        self, crops: Sequence[np.ndarray], batch_size: int = 32, tta: TtaConfig | str | int | bool | None = False
    ) -> np.ndarray:
        """crops: RGB uint8 HxWx3 of any sizes. Returns float32 [N, C], rows summing to 1, calibrated.

        tta: how many views of each crop are averaged, see `TtaConfig.of`; it takes as many times longer.
        """
        ...

    def predict_files(
        self, files: Sequence[str | Path], tta: TtaConfig | str | int | bool | None = False
    ) -> np.ndarray:
        """As `predict`, for crops in files; only some are in memory at a time. float32 [N, C], rows summing to 1."""
        ...

    def predict_and_embed(
        self, crops: Sequence[np.ndarray], batch_size: int = 32, tta: TtaConfig | str | int | bool | None = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """What `predict` returns, and a vector for each crop: float32 [N, F], of length 1, near each other for cars
        that look alike. It is the pooled features of the network, those of an ensemble's members side by side, each at
        one length; with `tta` the mean of all views, again of length 1. Vectors of equal fingerprints may be compared.

        Raises `UsageError` for a classifier that gives none.
        """
        raise UsageError("This classifier gives no vectors: take a bundled model, a trained one, or an export of one.")


def as_classifier(found: Any) -> Classifier:
    """A classifier, or an adapter for an object that only has `classes`, `style` and `predict`."""
    return found if Classifier in type(found).__mro__ else _Adapted(found)


class _Adapted(Classifier):
    """Passes on what an object has, and has defaults for the rest."""

    info: ModelInfo  # only if the object has one

    def __init__(self, found: Any):
        self._found = found
        self.device = getattr(found, "device", "cpu")
        self.fingerprint = getattr(found, "fingerprint", "")

    def __getattr__(self, name: str) -> Any:
        if name == "_found":  # while a copy is made
            raise AttributeError(name)
        return getattr(self._found, name)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self._found.classes)

    @property
    def style(self) -> CutoutStyle:
        return self._found.style

    @property
    def detector(self) -> str:
        return getattr(self._found, "detector", COMPACT)

    @property
    def architecture(self) -> str:
        return getattr(self._found, "architecture", "")

    @property
    def image_size(self) -> int | tuple[int, int]:
        return getattr(self._found, "image_size", 0)

    @property
    def threshold(self) -> float:
        return getattr(self._found, "threshold", 0.0)

    @property
    def temperature(self) -> float:
        return getattr(self._found, "temperature", 1.0)

    @property
    def names(self) -> tuple[ClassName, ...]:
        return getattr(self._found, "names", ())

    @property
    def levels(self) -> SureTable | None:
        return getattr(self._found, "levels", None)

    def predict(
        self, crops: Sequence[np.ndarray], batch_size: int = 32, tta: TtaConfig | str | int | bool | None = False
    ) -> np.ndarray:
        settings: dict[str, Any] = {"tta": tta} if tta else {}  # it need not know of several views
        return self._found.predict(crops, batch_size=batch_size, **settings)

    def predict_files(
        self, files: Sequence[str | Path], tta: TtaConfig | str | int | bool | None = False
    ) -> np.ndarray:
        return self._found.predict_files(files, tta=tta)

    def predict_and_embed(
        self, crops: Sequence[np.ndarray], batch_size: int = 32, tta: TtaConfig | str | int | bool | None = False
    ) -> tuple[np.ndarray, np.ndarray]:
        if not hasattr(self._found, "predict_and_embed"):
            return super().predict_and_embed(crops, batch_size, tta)
        return self._found.predict_and_embed(crops, batch_size=batch_size, tta=tta)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Each row of a float array [..., F] at length 1, float32; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def temper(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities made flatter (above 1) or sharper (below 1) without changing their order.

    probabilities: float [..., C], rows that sum to one. The same as dividing the logits by the temperature before
    softmax (Guo et al. 2017, "On Calibration of Modern Neural Networks"), and defined for averaged answers too.
    """
    if temperature == 1:
        return probabilities
    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), 1e-30)) / temperature
    raised = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return (raised / raised.sum(axis=-1, keepdims=True)).astype(np.float32)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """The logarithms of the probabilities that each row of float [N, K] stands for."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
