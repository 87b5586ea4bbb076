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


class FakePlates:
    """In place of the network that finds plates: one on the first vehicle, sure if that is red, unsure if it is blue.
    None on a green one.

    On the car of `draw_car` its corners are `PLATE`. shift: how many pixels it lies further right and down.
    """

    shift = 0

    def find(self, image: np.ndarray, vehicles: Sequence = (), least: float = 0.0) -> list:
        from detection.publishing.hiding.plates import Plate

        if not vehicles:
            return []
        x1, y1, x2, y2 = vehicles[0].box
        red, green, blue = image[int(y1) : int(y2), int(x1) : int(x2)].reshape(-1, 3).mean(axis=0)
        if green > max(red, blue):
            return []
        corners = np.array([x1, y1], np.float32) + np.array([x2 - x1, y2 - y1], np.float32) * _ON_ITS_BOX
        return [Plate(corners + self.shift, 0.9 if red > blue else 0.2)]


_ON_ITS_BOX = np.array([[0.28125, 0.5625], [0.75, 0.5625], [0.75, 0.8125], [0.28125, 0.8125]], np.float32)
PLATE = np.array([[50, 58], [80, 58], [80, 66], [50, 66]], np.float32)
