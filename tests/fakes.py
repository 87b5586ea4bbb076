"""Stand-ins for the tests in which Detectron2 itself is not the thing tested."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import cv2
import numpy as np

from detection.detectors.contract import Detector

BACKGROUND = (128, 128, 128)


def refuse_folders(monkeypatch, name: str) -> None:
    """Folders whose path ends so can't be listed, as for a user without rights; root may list all."""
    scandir = os.scandir

    def refuse(folder):
        if str(folder).endswith(name):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr("detection.images.find.os.scandir", refuse)


class FakeDetector(Detector):
    """Takes every strongly coloured blob for a car: same interface as the real detector, no Detectron2.

    The score is 0.5 + half the share of its box that the blob fills, so a filled rectangle scores 1.0. `calls` holds
    the number of images of each call of `detect`.
    """

    name = "fake"
    device = "cpu"
    fingerprint = "fake-1"

    def __init__(self, saturation: int = 90, min_area: int = 20) -> None:
        self.saturation = saturation
        self.min_area = min_area
        self.calls: list[int] = []

    def detect(self, images: Sequence[np.ndarray]) -> list[list]:
        """For each RGB uint8 HxWx3 image its list of `Vehicle`, best first; boxes are xyxy in pixels, end exclusive."""
        self.calls.append(len(images))
        return [self._blobs(image) for image in images]

    def _blobs(self, image: np.ndarray) -> list:
        from detection.vehicle import Vehicle

        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise TypeError(f"a detector takes RGB uint8 HxWx3, not {image.dtype} {image.shape}")
        channels = image.astype(np.int16)
        coloured = (channels.max(axis=2) - channels.min(axis=2)) > self.saturation
        count, labels, stats, _ = cv2.connectedComponentsWithStats(coloured.astype(np.uint8))
        found = []
        for index in range(1, count):
            left, top, width, height, area = (int(value) for value in stats[index])
            if area < self.min_area:
                continue
            box = (float(left), float(top), float(left + width), float(top + height))
            score = 0.5 + 0.5 * area / (width * height)
            found.append(Vehicle(box=box, mask=labels == index, score=score, kind="car"))
        return sorted(found, key=lambda vehicle: -vehicle.score)


class MeetingDetector(FakeDetector):
    """Each photo waits until another one is looked at in another thread."""

    side_by_side = 2

    def __init__(self) -> None:
        super().__init__()
        self.meeting = threading.Barrier(2, timeout=30)

    def detect(self, images: Sequence[np.ndarray]) -> list[list]:
        self.meeting.wait()
        return super().detect(images)


def draw_car(
    colour: tuple[int, int, int] = (220, 20, 20),
    size: tuple[int, int] = (96, 128),
    box: tuple[int, int, int, int] = (32, 40, 96, 72),
) -> np.ndarray:
    """A grey RGB uint8 image of `size` (height, width) with a filled rectangle at `box` (xyxy, end exclusive)."""
    image = np.full((*size, 3), BACKGROUND, np.uint8)
    left, top, right, bottom = box
    image[top:bottom, left:right] = colour
    return image
