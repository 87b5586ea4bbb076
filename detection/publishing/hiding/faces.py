"""Finds faces: YuNet, a small network of the OpenCV Zoo, on the whole photo and on overlapping tiles, by ONNX Runtime.

No face is recognized: the network says where faces are, not whose. Source, licence and figures: see the model card.
Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, ClassVar

import cv2
import numpy as np

from detection.common.files import file_sha256
from detection.detectors.compact.files import bundled_path
from detection.detectors.onnx.session import open_session
from detection.publishing.hiding.shape import Shape, one_each
from detection.vehicle import Turn, Vehicle, box_turned_back, turned_array

if TYPE_CHECKING:
    import onnxruntime

NETWORK = "faces.onnx"
SIDE = 640  # pixels across and down in which the network sees a tile
STRIDES = (8, 16, 32)
# All of them chosen on the photos to choose by: see benchmarks/faces.py.
OVERLAP = 128  # of neighbouring tiles, in their pixels: a face of up to this size is whole in one of them
STEP = 2.5  # from one scale to the next finer one
ENLARGED, SMALL = 2.0, 1024  # photos of at most SMALL pixels (longer side) are looked at enlarged, too
LEAST = 0.2
SHARED = 0.4


class Face(Shape):
    """A face: its box."""

    kind: ClassVar[str] = "face"


def faces_fingerprint() -> str:
    """Of the bundled network: changes when results would."""
    return f"faces-{file_sha256(bundled_path(NETWORK)).hex()[:12]}"


class FaceFinder:
    """Finds faces; may be used from several threads at once."""

    def __init__(self, threads: int | None = None):
        """threads: see `open_session`."""
        self._threads = threads
        self._opening = Lock()

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return open_session(bundled_path(NETWORK), self._threads)

    def find(self, image: np.ndarray, vehicles: Sequence[Vehicle] = (), least: float = LEAST) -> list[Face]:
        """All faces that may be in a photo, the surest first.

        image: RGB uint8 HxWx3. vehicles: what was found in it; the first one says how the photo is turned.
        least: the lowest score that is given.
        """
        turned = vehicles[0].turned if vehicles else 0
        found = self._find(image, 0, least)
        if turned:  # people may stand upright all the same, and the vehicle be no witness
            found += self._find(image, turned, least)
            found = one_each(found, SHARED)
        return found

    def _find(self, image: np.ndarray, turn: Turn, least: float) -> list[Face]:
        """As `find`, of the photo turned clockwise by `turn`."""
        upright = turned_array(image, turn)
        boxes, scores = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.float32)]
        for scale in scales(max(image.shape[:2])):
            size = (max(1, round(upright.shape[1] * scale)), max(1, round(upright.shape[0] * scale)))
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            shown = upright if size == upright.shape[1::-1] else cv2.resize(upright, size, interpolation=how)
            for left, top in _tiles(size):
                found, sure = self._see(shown[top : top + SIDE, left : left + SIDE], least)
                boxes.append((found + np.array([left, top, left, top])) / scale)
                scores.append(sure)
        return one_each(
            [
                Face(_corners(box_turned_back(box, turn, image.shape[:2])), float(score))
                for box, score in zip(np.concatenate(boxes), np.concatenate(scores), strict=True)
            ],
            SHARED,
        )

    def _see(self, tile: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (Nx4 xyxy, pixels of the tile) and scores of at least `least`. tile: RGB uint8, SIDE or less a side."""
        with self._opening:  # several threads may ask for the first time
            session = self._session
        pixels = np.zeros((SIDE, SIDE, 3), np.float32)
        pixels[: tile.shape[0], : tile.shape[1]] = tile[..., ::-1]  # it was trained on BGR, 0 to 255
        names = [f"{name}_{stride}" for stride in STRIDES for name in ("cls", "obj", "bbox")]
        outputs = session.run(names, {"input": np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])})
        boxes, scores = [], []
        for stride, (face, thing, shifts) in zip(STRIDES, zip(*[iter(outputs)] * 3, strict=True), strict=True):
            sure = np.sqrt(np.clip(face[0, :, 0], 0, 1) * np.clip(thing[0, :, 0], 0, 1))
            places = np.flatnonzero(sure >= least)
            rows, columns = np.divmod(places, SIDE // stride)
            x, y = columns + shifts[0, places, 0], rows + shifts[0, places, 1]
            wide, high = np.exp(shifts[0, places, 2]) / 2, np.exp(shifts[0, places, 3]) / 2
            boxes.append(np.stack([x - wide, y - high, x + wide, y + high], axis=1) * stride)
            scores.append(sure[places])
        return np.concatenate(boxes), np.concatenate(scores)


def scales(longer: int) -> list[float]:
    """The scales at which a photo is looked at, the coarsest first. longer: its longer side in pixels.

    >>> [round(scale, 2) for scale in scales(480)], [round(scale, 2) for scale in scales(4000)]
    ([1.33, 2.0], [0.16, 0.4, 1.0])
    """
    finest = ENLARGED if longer <= SMALL else 1.0
    found = [min(finest, SIDE / longer)]
    while found[-1] < finest:
        found.append(min(finest, found[-1] * STEP))
    return found


def _tiles(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Left and top of the tiles of a picture of (width, height) `size`."""

    def starts(side: int) -> list[int]:
        if side <= SIDE:
            return [0]
        steps = -(-(side - SIDE) // (SIDE - OVERLAP))
        return [round(number * (side - SIDE) / steps) for number in range(steps + 1)]

    for top in starts(size[1]):
        for left in starts(size[0]):
            yield left, top


def _corners(box: Sequence[float]) -> np.ndarray:
    x1, y1, x2, y2 = box
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)
