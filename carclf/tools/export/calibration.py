"""Which photos an int8 export is made with and which judge it, and what its networks are given on the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from carclf.classifier.onnx.classifier import OnnxClassifier
from carclf.classifier.onnx.folder import CLASSIFIER, read_classifier
from carclf.classifier.preprocessing import squash
from detection.common.errors import UsageError
from detection.detectors.check.car_check import SIDE
from detection.detectors.onnx.car_check import OnnxCarCheck
from detection.detectors.onnx.detector import OnnxDetector
from detection.detectors.onnx.folder import BOXES, CHECK, FEATURES, MASKS, read_detector
from detection.detectors.onnx.session import open_session
from detection.images.read import load_image

MOST_CALIBRATING = MOST_CHOOSING = 32
LEAST_PHOTOS = 8


def share_photos(files: Sequence[Path]) -> tuple[list[Path], list[Path], list[Path]]:
    """Photos that calibrate, that choose which layers stay in float, and that judge the result: at least half of them.

    No photo is in two of them. Raises `UsageError` for too few.
    """
    if len(files) < LEAST_PHOTOS:
        raise UsageError(f"An int8 export needs at least {LEAST_PHOTOS} photos, not {len(files)}: give more.")
    calibrating, choosing = _spread(files[::4], MOST_CALIBRATING), _spread(files[1::4], MOST_CHOOSING)
    used = {*calibrating, *choosing}
    return calibrating, choosing, [file for file in files if file not in used]


def _spread(files: Sequence[Path], most: int) -> list[Path]:
    count = min(most, len(files))
    return [files[index * len(files) // count] for index in range(count)]


def record_feeds(export: Path, files: Iterable[Path]) -> dict[str, list[dict[str, np.ndarray]]]:
    """What each network of a float export is given on the way of these photos, by the network's file name."""
    from carclf.recognition.recognizer import CarRecognizer

    taps = {name: _Tap(open_session(export / name)) for name in (FEATURES, BOXES, MASKS, CHECK, CLASSIFIER)}
    settings, (info, fingerprint) = read_detector(export), read_classifier(export)
    check = OnnxCarCheck(lambda: taps[CHECK], settings.check_names)
    detector = OnnxDetector([taps[name] for name in (FEATURES, BOXES, MASKS)], settings, lambda: check)
    classifier = OnnxClassifier(taps[CLASSIFIER], info, fingerprint, str(export))
    recognizer = CarRecognizer(classifier, detector)
    for file in files:
        recognizer(str(file))
        # The check sees unsure vehicles only: whole photos, too, so that it never has nothing to calibrate with.
        check.look([squash(load_image(file), (SIDE, SIDE))])
    return {name: tap.seen for name, tap in taps.items() if tap.seen}


class _Tap:
    """A session that keeps copies of what it is given."""

    def __init__(self, session: Any):
        self._session = session
        self.seen: list[dict[str, np.ndarray]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: Sequence[str] | None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.seen.append({name: np.array(feed) for name, feed in feeds.items()})
        return self._session.run(names, feeds)

    def run_with_ort_values(self, names: Sequence[str], feeds: dict[str, Any]) -> list[Any]:
        self.seen.append({name: np.array(feed.numpy()) for name, feed in feeds.items()})
        return self._session.run_with_ort_values(names, feeds)
