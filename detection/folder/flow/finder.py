"""Where a folder run gets a photo's vehicles from: a detector, or the file of an earlier run."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from detection.common.errors import UsageError
from detection.cutout.extract import detector_view
from detection.detectors.contract import CarChecker, Detector, as_detector
from detection.detectors.finder import Finding, VehicleFinder, apply_rule, check_of, with_rule
from detection.folder.flow.reader import Photo
from detection.folder.out.detections import Detections
from detection.vehicle import Vehicle

Loader = Callable[[], Detector]


class PhotoFinder(Protocol):
    """What a folder run asks for a photo's vehicles.

    shrunk: whether photos are to come with what a detector sees of them. kinds: the names of the vehicles that it
    knows, () where it can't say. threshold: the score from which on a vehicle is one. checked: what was found has to
    look like a car, too. side_by_side: see `Detector`.
    """

    name: str
    fingerprint: str
    kinds: tuple[str, ...]
    threshold: float
    shrunk: bool
    checked: bool
    side_by_side: int = 1

    def earlier(self) -> Sequence[PhotoFinder]:
        """The same by the rules that an earlier run may have begun with: see `VehicleFinder.earlier`."""
        ...

    def shape(self, small: np.ndarray) -> Hashable:
        """Photos with an equal one are batched."""
        ...

    def find(self, photos: Sequence[Photo], only: Sequence[str], every: bool, whole: bool) -> list[Finding | Exception]:
        """What counts in each photo, or the exception that it raised. only, every: see `VehicleFinder.decide`.

        whole: whether `Finding.found` has to hold all that was seen.
        """
        ...


class DetectorFinder(PhotoFinder):
    """Shows photos to a detector."""

    shrunk = True

    def __init__(self, finder: VehicleFinder):
        self._finder = finder
        self.name, self.fingerprint, self.kinds = finder.name, finder.fingerprint, finder.kinds
        self.threshold, self.checked = finder.sure, finder.check is not None
        self.side_by_side = finder.side_by_side

    def earlier(self) -> Sequence[PhotoFinder]:
        return [DetectorFinder(finder) for finder in self._finder.earlier()]

    def shape(self, small: np.ndarray) -> Hashable:
        return self._finder.detector.input_shape(*small.shape[:2])

    def find(self, photos: Sequence[Photo], only: Sequence[str], every: bool, whole: bool) -> list[Finding | Exception]:
        views = [_small(photo) for photo in photos]
        found = self._finder.find(views, whole or every)
        return self._finder.decide([partial(_small, photo) for photo in photos], found, only, every)


class FileFinder(PhotoFinder):
    """Looks up what an earlier run has found: no photo has to be shown to a detector again, turned ones neither.

    check: of vehicles that were not looked at then; None for none.
    """

    shrunk = False

    def __init__(self, detections: Detections, check: CarChecker | None):
        self._detections, self._check = detections, check
        self.name, self.threshold, self.kinds = detections.detector, detections.threshold, detections.kinds
        self.fingerprint, self.checked = with_rule(detections.fingerprint, check is not None), check is not None

    def earlier(self) -> Sequence[PhotoFinder]:
        return [] if self._check is None else [FileFinder(self._detections, None)]

    def shape(self, small: np.ndarray) -> Hashable:
        return None

    def find(self, photos: Sequence[Photo], only: Sequence[str], every: bool, whole: bool) -> list[Finding | Exception]:
        found = [self._look_up(photo) for photo in photos]
        views = [partial(_view, photo) for photo in photos]
        look = None if self._check is None else self._check.look
        return apply_rule(views, found, self.threshold, look, only, every)

    def _look_up(self, photo: Photo) -> list[Vehicle] | Exception:
        try:
            return self._detections.find(photo.source, photo.stamp)
        except Exception as error:
            return error


def make_finders(
    detector: Detector | Loader | Sequence[Any] | None,
    detections: Detections | None,
    check: bool | None = None,
    turned: bool = True,
    closer: bool = False,
) -> Sequence[PhotoFinder]:
    """One for each detector thread. Functions are called to load their detector.

    Raises `UsageError` when several detectors are not alike: the results would depend on chance.
    """
    if detections is not None:
        return [FileFinder(detections, check_of(detections.detector, check))]
    several: Sequence[Any] = detector if isinstance(detector, (list, tuple)) else [detector]
    finders = [
        DetectorFinder(
            VehicleFinder(as_detector(one if hasattr(one, "detect") else one()), check, turned=turned, closer=closer)
        )
        for one in several
    ]
    if len({(finder.name, finder.fingerprint) for finder in finders}) != 1:
        raise UsageError("The detectors of one run must have the same model, weights and threshold.")
    return finders


def _small(photo: Photo) -> np.ndarray:
    assert photo.small is not None  # photos that could not be read do not come here
    return photo.small


def _view(photo: Photo) -> np.ndarray:
    assert photo.image is not None
    return detector_view(photo.image)
