"""Which side of a car is seen, from the pixels of its mask: a small network in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from carclf.classifier.colour.view import vehicle_view
from carclf.tools.stock.side.features import FEATURES, features_of
from carclf.tools.stock.side.sides import KINDS, MIRRORED
from carclf.weights import WEIGHTS
from detection.common.errors import UsageError
from detection.common.networks.arrays import read_arrays
from detection.vehicle import Vehicle

WEIGHTS_FILE = WEIGHTS / "side.safetensors"
FAR = 4  # standard deviations: a stranger feature says no more than the strangest that was seen


class SideReader:
    """Two layers on `features_of`, for the car and for its mirror image, whose left is the car's right.

    arrays: mean and scale of the features, and weight and bias of each layer, float32. temperature: sharper or flatter
    than they say. least: the least confidence of a side that counts as sure.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], temperature: float = 1.0, least: float = 0.0):
        self._of, self.temperature, self.least = dict(arrays), temperature, least

    @classmethod
    def load(cls, path: Path = WEIGHTS_FILE) -> SideReader:
        """Raises `UsageError` for a file that is missing, damaged or of another kind."""
        arrays, about = read_arrays(path)
        if about.get("sides") != ",".join(KINDS) or arrays["mean"].shape != (FEATURES,):
            raise UsageError(f"'{path}' does not name the sides of this version: install carclf again.")
        return cls(arrays, float(about["temperature"]), float(about["least"]))

    def __call__(self, photo: np.ndarray, vehicle: Vehicle) -> np.ndarray | None:
        """float32 [len(KINDS)], how probable each kind is; None of a vehicle that is too small.

        photo: RGB uint8 HxWx3. vehicle: with its mask in pixels of the photo.
        """
        return self.probabilities(*vehicle_view(photo, vehicle))

    def probabilities(self, rgb: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
        """Of a view as `vehicle_view` gives it."""
        found = [features_of(np.ascontiguousarray(rgb[:, ::way]), mask[:, ::way]) for way in (1, -1)]
        if found[0] is None or found[1] is None:
            return None
        return self.of_features(found[0], found[1])

    def of_features(self, seen: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
        """float32 [..., len(KINDS)] of [..., FEATURES], of cars and of their mirror images."""
        logits = (self._logits(seen) + self._logits(mirrored)[..., MIRRORED]) / 2 / self.temperature
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)

    def _logits(self, features: np.ndarray) -> np.ndarray:
        values = np.clip((features - self._of["mean"]) / self._of["scale"], -FAR, FAR)
        hidden = np.maximum(values @ self._of["first"].T + self._of["first_bias"], 0)
        return hidden @ self._of["second"].T + self._of["second_bias"]
