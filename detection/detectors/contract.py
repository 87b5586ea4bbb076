"""What every detector and every car check offers, whichever engine runs it. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from detection.vehicle import Look, Vehicle

Box = tuple[float, float, float, float]
COMPACT = "compact"  # the name of the detector that comes with the package


class CarChecker(Protocol):
    """A second opinion on what was found: does it look like a car to a network that knows a thousand things?"""

    def look(self, views: Sequence[np.ndarray]) -> list[Look]:
        """views: RGB uint8 224x224x3, as `car_view` gives them."""
        ...


class SureOnes(list[Vehicle]):
    """The vehicles of a photo that a detector is sure of, where the others have not been outlined yet: `rest` does it,
    and gives them, best score first. places: boxes round these others (x1, y1, x2, y2, pixels), as far as known."""

    def __init__(self, sure: Sequence[Vehicle], rest: Callable[[], list[Vehicle]], places: Sequence[Box] = ()):
        super().__init__(sure)
        self.rest, self.places = rest, places


class Detector(Protocol):
    """Finds vehicles in photos. To be derived from: only `name`, `fingerprint` and `detect` have no default.

    name: what it was loaded by: compact, a model-zoo name, a path. fingerprint: changes with architecture, weights and
    threshold: results of equal fingerprints may be mixed. device: cpu, cuda or cuda:N. precision: float32, bf16 or
    float16. side_by_side: how many photos it is best shown at a time, each alone in a thread; of 1, batches are.
    """

    name: str
    fingerprint: str
    device: str = "cpu"
    precision: str = "float32"
    side_by_side: int = 1

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Vehicle]]:
        """The vehicles of each photo (RGB uint8 HxWx3, any sizes), best score first.

        Raises `ValueError` for another shape or dtype.
        """
        ...

    def detect_sure(self, images: Sequence[np.ndarray], sure: float) -> list[list[Vehicle]]:
        """As `detect`; a photo with vehicles of at least the score `sure` may come without the others, as `SureOnes`.

        For who needs them only where the sure ones turn out to be none.
        """
        return self.detect(images)

    @property
    def score_threshold(self) -> float:
        """The least score, 0 to 1, of what `detect` gives."""
        return self.own_threshold

    @property
    def own_threshold(self) -> float:
        """The score from which on a vehicle is one, as the weights say, whichever threshold is used."""
        return 0.0

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of the vehicles that it knows; () where it does not say."""
        return ()

    def input_shape(self, height: int, width: int) -> tuple[int, int]:
        """The padded (height, width) in which it sees a photo of that size, in pixels: equal ones share a batch."""
        return 0, 0

    def with_threshold(self, score_threshold: float) -> Detector:
        """The same detector with another least score; both share their networks. One without scores is itself."""
        return self

    @property
    def without_check(self) -> Detector:
        """The same detector with scores of its own; itself, where no check has a part in them (`RescoredDetector`)."""
        return self

    def car_check(self) -> CarChecker | None:
        """The second opinion that it needs on what it finds; None where it knows other vehicles itself."""
        return None


def as_detector(found: Any) -> Detector:
    """A detector, or an adapter for an object that has no more than `detect`, perhaps `name` and `fingerprint`."""
    return found if Detector in type(found).__mro__ else _Adapted(found)


class _Adapted(Detector):
    """Passes on what an object has, and has the defaults for the rest."""

    def __init__(self, found: Any):
        self._found = found
        self.name = getattr(found, "name", type(found).__name__)
        self.fingerprint = getattr(found, "fingerprint", self.name)

    def __getattr__(self, name: str) -> Any:
        if name == "_found":  # while a copy is made
            raise AttributeError(name)
        return getattr(self._found, name)

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Vehicle]]:
        return self._found.detect(images)

    def input_shape(self, height: int, width: int) -> tuple[int, int]:
        ask = getattr(self._found, "input_shape", None)
        return (0, 0) if ask is None else ask(height, width)

    @property
    def own_threshold(self) -> float:
        return getattr(self._found, "own_threshold", 0.0)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(getattr(self._found, "kinds", ()))
