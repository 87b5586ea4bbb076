"""Where a folder run gets a photo's vehicles from: a detector, or the file of an earlier run."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import numpy as np

from detection.common.errors import UsageError
from detection.common.stream import try_batch
from detection.folder.flow.reader import Photo
from detection.folder.out.detections import Detections
from detection.vehicle import Vehicle

Found = list[Vehicle] | Exception


class VehicleDetector(Protocol):
    """What a folder run needs of a detector.

    It may have `input_shape(height, width)`, equal for photos that it can see in one batch, and `kinds`, the names
    of the vehicles that it knows.
    """

    name: str
    fingerprint: str

    def detect(self, images: list[np.ndarray]) -> list[list[Vehicle]]: ...


class DetectorFinder:
    """Shows photos to a detector."""

    shrunk = True

    def __init__(self, detector: VehicleDetector):
        self._detector = detector
        self.name, self.fingerprint = detector.name, detector.fingerprint
        self.kinds: tuple[str, ...] | None = getattr(detector, "kinds", None)

    def shape(self, small: np.ndarray) -> Hashable:
        """Photos with an equal one are batched; those of a detector that does not say come in their order."""
        ask = getattr(self._detector, "input_shape", None)
        return None if ask is None else ask(*small.shape[:2])

    def find(self, photos: Sequence[Photo]) -> list[Found]:
        """The vehicles of each photo, or the exception that the detector raised for it."""
        return try_batch(self._detector.detect, [photo.small for photo in photos])


class FileFinder:
    """Looks up what an earlier run has found: no photo has to be shown to a detector again."""

    shrunk = False
    kinds = None

    def __init__(self, detections: Detections):
        self._detections = detections
        self.name, self.fingerprint = detections.detector, detections.fingerprint

    def shape(self, small: np.ndarray) -> Hashable:
        return None

    def find(self, photos: Sequence[Photo]) -> list[Found]:
        return [self._look_up(photo) for photo in photos]

    def _look_up(self, photo: Photo) -> Found:
        try:
            found = self._detections.get(photo.source, photo.stamp)
        except Exception as error:
            return error
        if found is not None:
            return found
        why = "is of an earlier state of the photo" if photo.source in self._detections else "knows nothing of it"
        return LookupError(f"'{self._detections.path.name}' {why}")


Finder = DetectorFinder | FileFinder


def make_finders(
    detector: VehicleDetector | Callable[[], VehicleDetector] | Sequence, detections: Detections | None
) -> list[Finder]:
    """One for each detector thread. Functions are called to load their detector.

    Raises `UsageError` when several detectors are not alike: the results would depend on chance.
    """
    if detections is not None:
        return [FileFinder(detections)]
    several = detector if isinstance(detector, (list, tuple)) else [detector]
    finders = [DetectorFinder(one if hasattr(one, "detect") else one()) for one in several]
    if len({(finder.name, finder.fingerprint) for finder in finders}) != 1:
        raise UsageError("The detectors of one run must have the same model, weights and threshold.")
    return finders


def check_kinds(only: Sequence[str], finder: Finder) -> None:
    """Raises `UsageError` for a kind of vehicle that the detector does not know."""
    known = finder.kinds
    unknown = [] if known is None else [kind for kind in only if kind not in known]
    if unknown:
        raise UsageError(
            f"The detector '{finder.name}' knows no '{unknown[0]}': its kinds are {', '.join(sorted(set(known)))}."
        )
