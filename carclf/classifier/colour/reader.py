"""Which of a dozen words a vehicle's paint is called by, from the pixels of its mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from carclf.classifier.colour.features import FEATURES, features_of
from carclf.classifier.colour.view import Cells, vehicle_view
from carclf.weights import WEIGHTS
from detection.common.errors import UsageError
from detection.common.networks.arrays import read_arrays
from detection.vehicle import Vehicle

WORDS = (
    *("white", "silver", "grey", "black", "red", "blue"),
    *("green", "yellow", "orange", "brown", "beige", "purple"),
)
COLOURS = WEIGHTS / "colour.safetensors"
# One paint is silver to one dealer and grey to the next: which of the two it is must not make it unsure.
_ALIKE = (WORDS.index("silver"), WORDS.index("grey"))
FAR = 4  # standard deviations: in strange light, a feature says no more than in the strangest that was seen


@dataclass(frozen=True)
class Colour:
    """word: one of `WORDS`, None where none is sure. confidence: how probable the best word is, 0 to 1, with silver and
    grey counted as one."""

    word: str | None
    confidence: float


class ColourReader:
    """Multinomial logistic regression on what all pixels of a vehicle say together.

    arrays: mean and scale of the features, weight and bias, float32. temperature: sharper or softer than they say.
    least: the least confidence of a word.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], temperature: float = 1.0, least: float = 0.0):
        self._of, self.temperature, self.least = dict(arrays), temperature, least

    @classmethod
    def load(cls, path: Path = COLOURS) -> ColourReader:
        """Raises `UsageError` for a file that is missing, damaged or of another kind."""
        arrays, about = read_arrays(path)
        if about.get("words") != ",".join(WORDS) or arrays["weight"].shape != (len(WORDS), FEATURES):
            raise UsageError(f"'{path}' does not name the colours of this version: install carclf again.")
        return cls(arrays, float(about["temperature"]), float(about["least"]))

    def __call__(self, photo: np.ndarray, vehicle: Vehicle) -> Colour:
        """photo: RGB uint8 HxWx3. vehicle: with its mask in pixels of the photo."""
        return self.told(self.probabilities(*vehicle_view(photo, vehicle)))

    def told(self, probabilities: np.ndarray | None) -> Colour:
        """probabilities: float [len(WORDS)]; None of a vehicle that is too small."""
        if probabilities is None:
            return Colour(None, 0.0)
        together = probabilities.copy()
        together[list(_ALIKE)] = probabilities[list(_ALIKE)].sum()
        best = int(np.argmax(together))
        if best in _ALIKE:
            best = max(_ALIKE, key=lambda word: float(probabilities[word]))
        confidence = float(together[best])
        return Colour(WORDS[best] if confidence >= self.least else None, round(confidence, 6))

    def probabilities(self, rgb: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
        """float32 [len(WORDS)] of a view, see `vehicle_view`; None where too little of the vehicle is seen."""
        cells = Cells.of(rgb, mask)
        return None if cells is None else self.of_features(features_of(cells))

    def of_features(self, features: np.ndarray) -> np.ndarray:
        """float32 [..., len(WORDS)] of [..., FEATURES]; what is farther from the mean than was seen is held back."""
        away = np.clip((features - self._of["mean"]) / self._of["scale"], -FAR, FAR)
        return _softmax((away @ self._of["weight"].T + self._of["bias"]) / self.temperature)


def _softmax(values: np.ndarray, axis: int = -1) -> np.ndarray:
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)
