"""What every detector offers, whichever engine runs it. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from detection.vehicle import Vehicle


class Detector(Protocol):
    """Finds vehicles in photos."""

    @property
    def name(self) -> str:
        """What it was loaded by: compact, a model-zoo name, a path."""

    @property
    def device(self) -> str:
        """cpu, cuda or cuda:N."""

    @property
    def precision(self) -> str:
        """What it computes in: float32, bf16 or float16."""

    @property
    def fingerprint(self) -> str:
        """Changes with architecture, weights and threshold: results of equal fingerprints may be mixed."""

    @property
    def score_threshold(self) -> float:
        """The least score, 0 to 1, of what `detect` gives."""

    @property
    def own_threshold(self) -> float:
        """The score from which on a vehicle is one, as the weights say, whichever threshold is used."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of the vehicles that it knows."""

    def input_shape(self, height: int, width: int) -> tuple[int, int]:
        """The padded (height, width), in pixels, in which it sees a photo of that size: equal ones share a batch."""

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Vehicle]]:
        """The vehicles of each photo (RGB uint8 HxWx3, any sizes), best score first.

        Raises `ValueError` for another shape or dtype.
        """
