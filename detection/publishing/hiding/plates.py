"""Finds number plates: a small network on the photo and on the crop of each vehicle, by ONNX Runtime.

It starts with the first blocks of the compact detector's backbone, so only its own part takes room. Nothing is read
from a plate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np

from detection.common.files import file_sha256
from detection.common.networks.arrays import read_arrays
from detection.detectors.compact.files import bundled_path, compact_weights
from detection.detectors.onnx.graph import read_network
from detection.detectors.onnx.session import open_graphs
from detection.publishing.hiding.shape import Shape, one_each
from detection.vehicle import Turn, Vehicle, box_iou, turned_array

if TYPE_CHECKING:
    import onnxruntime

GRAPH, WEIGHTS = "plates.onnx", "plates.safetensors"
STRIDE = 8
HEIGHT, WIDTH = 192, 320  # pixels in which the network sees a vehicle
GROUND = 114  # grey beside the photo
# All of them chosen on the photos to choose by; the model card says how.
LEAST = 0.12  # below this nothing is worth a second look
ROOM = 1.12  # a vehicle's view, as a multiple of its box: plates may hang out of it
WHOLE_SIDE = 480  # longer side in pixels of the look at the whole photo
LARGE = 0.75  # of a view's width; vehicles that the look at the whole photo shows so large get none of their own
CLOSE = (3.6, 5.5)  # widths of the closer looks, as multiples of the plate's
SHARED = 0.3
_RULE = 2  # of the looks: another number where the same weights would find something else
_CELLS = 32  # a view's sides are multiples of so many pixels


@dataclass(frozen=True, eq=False)
class Plate(Shape):
    """A number plate. on_vehicle: whether it lies in the box of a found vehicle."""

    kind: ClassVar[str] = "plate"
    on_vehicle: bool = True


@dataclass(frozen=True)
class _View:
    """A part of a photo as the network sees it. scale: its pixels per pixel of the photo. size: (height, width) of the
    part, as it lies in the photo."""

    pixels: np.ndarray
    corner: tuple[float, float]
    scale: float
    turn: Turn
    size: tuple[int, int]

    def back(self, points: np.ndarray) -> np.ndarray:
        """Points of the view (..., 2) in the photo."""
        height, width = self.size
        across, down = points[..., 0] / self.scale, points[..., 1] / self.scale
        if self.turn == 90:
            across, down = down, height - across
        elif self.turn == 180:
            across, down = width - across, height - down
        elif self.turn == 270:
            across, down = width - down, across
        return np.stack([across + self.corner[0], down + self.corner[1]], axis=-1)


def plates_fingerprint() -> str:
    """Of the bundled network and its rule: changes when results would."""
    return f"plates{_RULE}-{file_sha256(bundled_path(WEIGHTS)).hex()[:12]}"


class PlateFinder:
    """Finds plates; may be used from several threads at once."""

    def __init__(self, threads: int | None = None, runtime: str = "onnx", device: str = "cpu"):
        """threads, runtime, device: see `open_session`."""
        self._settings = threads, runtime, device
        self._opening = Lock()

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        graph, weights = bundled_path(GRAPH), bundled_path(WEIGHTS)
        _, facts = read_network(graph, "reinstall carclf")
        backbone = {name: array for name, array in read_arrays(compact_weights())[0].items() if name in facts.given}
        (session,) = open_graphs([graph], weights, backbone | read_arrays(weights)[0], *self._settings)
        return session

    def find(self, image: np.ndarray, vehicles: Sequence[Vehicle] = (), least: float = LEAST) -> list[Plate]:
        """All plates that may be in a photo, the surest first.

        image: RGB uint8 HxWx3. vehicles: what was found in it; small ones are looked at by themselves. Their boxes are
        in pixels of their masks, which may be smaller than the photo. least: the lowest score that is given.
        """
        boxes = [_box_in(vehicle, image.shape[:2]) for vehicle in vehicles]
        turn = vehicles[0].turned if vehicles else 0
        height, width = image.shape[:2]
        whole = _whole_view(image, turn)
        found = self._look(whole, least)
        for box, vehicle in zip(boxes, vehicles, strict=True):
            if vehicle.turned != turn or max(box[2] - box[0], box[3] - box[1]) * whole.scale < LARGE * WIDTH:
                found += self._look(_cut(image, _roomy(box), vehicle.turned), least)
        kept = []
        for plate in one_each(found, SHARED):
            near = _near(image, plate, boxes, vehicles)
            closer = self._closer(image, plate, near or turn, least)
            x, y = closer.corners.mean(axis=0)
            if closer.score >= least and 0 <= x < width and 0 <= y < height:
                kept.append(Plate(closer.corners, closer.score, near is not None))
        return one_each(kept, SHARED)

    def _look(self, view: _View, least: float) -> list[Plate]:
        """What the network sees in a view, in pixels of the photo."""
        return [Plate(view.back(corners), score) for corners, score in self._see(view.pixels, least)]

    def _closer(self, image: np.ndarray, plate: Plate, turn: Turn, least: float) -> Plate:
        """The plate as closer looks at its surroundings have it; its score is the mean of all looks."""
        scores, corners = [plate.score], plate.corners
        for width in CLOSE:
            again = self._look_round(image, plate, turn, width)
            scores.append(0.0 if again is None else again.score)
            if again is not None and len(scores) == 2:
                corners = again.corners
            if np.mean(scores) < least:
                break
        return Plate(corners, float(np.mean(scores)))

    def _look_round(self, image: np.ndarray, plate: Plate, turn: Turn, width: float) -> Plate | None:
        """What a look finds in a plate's place. width: of the look, as a multiple of the plate's."""
        x1, y1, x2, y2 = plate.box
        side = max(x2 - x1, (y2 - y1) * WIDTH / HEIGHT / 1.5, 4.0) * width
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        across, down = side / 2, side / 2 * HEIGHT / WIDTH
        if turn in (90, 270):
            across, down = down, across
        view = _cut(image, (x - across, y - down, x + across, y + down), turn)
        again = [one for one in self._look(view, LEAST / 2) if box_iou(one.box, plate.box) > 0.1]
        return max(again, key=lambda one: one.score, default=None)

    def _see(self, pixels: np.ndarray, least: float) -> Iterator[tuple[np.ndarray, float]]:
        """Corners (float32 4x2, pixels of the view) and score of each peak. pixels: uint8 HxWx3, multiples of 32."""
        with self._opening:  # several threads may ask for the first time
            session = self._session
        image = (pixels.astype(np.float32) - 127.5) / 127.5
        feed = {"image": np.ascontiguousarray(image.transpose(2, 0, 1)[None])}
        heat, corners = session.run(["heat", "corners"], feed)
        heat, corners = heat[0, 0], corners[0]
        peaks = (heat == cv2.dilate(heat, np.ones((3, 3), np.uint8))) & (heat >= least)
        for row, column in np.argwhere(peaks):
            shape = corners[:, row, column].reshape(4, 2) + np.array([column + 0.5, row + 0.5])
            yield (shape * STRIDE).astype(np.float32), float(heat[row, column])


def _cut(image: np.ndarray, box: Sequence[float], turn: Turn, size: tuple[int, int] = (HEIGHT, WIDTH)) -> _View:
    """The box (x1, y1, x2, y2, perhaps beyond the photo) upright in (height, width) pixels, as large as it fits."""
    x1, y1, x2, y2 = (round(value) for value in box)
    x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    left, top = max(0, x1), max(0, y1)
    right, bottom = min(image.shape[1], x2), min(image.shape[0], y2)
    across, down = (y2 - y1, x2 - x1) if turn in (90, 270) else (x2 - x1, y2 - y1)
    scale = min(size[0] / down, size[1] / across)
    view = _View(np.full((*size, 3), GROUND, np.uint8), (x1, y1), scale, turn, (y2 - y1, x2 - x1))
    if right <= left or bottom <= top:
        return view
    # Only what the photo has is made small, and lies in the view where it lies in the box.
    wide, high = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    part = turned_array(cv2.resize(image[top:bottom, left:right], (wide, high), interpolation=how), turn)
    beside = {0: (left - x1, top - y1), 90: (y2 - bottom, left - x1), 180: (x2 - right, y2 - bottom)}
    x, y = (round(value * scale) for value in beside.get(turn, (top - y1, x2 - right)))
    part = part[: size[0] - y, : size[1] - x]
    view.pixels[y : y + part.shape[0], x : x + part.shape[1]] = part
    return view


def _whole_view(image: np.ndarray, turn: Turn) -> _View:
    height, width = image.shape[:2]
    scale = WHOLE_SIDE / max(height, width)
    across, down = (height, width) if turn in (90, 270) else (width, height)
    size = (
        max(_CELLS, -(-round(down * scale) // _CELLS) * _CELLS),
        max(_CELLS, -(-round(across * scale) // _CELLS) * _CELLS),
    )
    return _cut(image, (0, 0, width, height), turn, size)


def _roomy(box: Sequence[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    across, down = (x2 - x1) * (ROOM - 1) / 2, (y2 - y1) * (ROOM - 1) / 2
    return x1 - across, y1 - down, x2 + across, y2 + down


def _box_in(vehicle: Vehicle, size: tuple[int, int]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = vehicle.box
    down, across = size[0] / vehicle.mask.shape[0], size[1] / vehicle.mask.shape[1]
    return x1 * across, y1 * down, x2 * across, y2 * down


def _near(image: np.ndarray, plate: Plate, boxes: Sequence[Any], vehicles: Sequence[Vehicle]) -> Turn | None:
    """How the vehicle that the plate is on is turned; None for a plate beside all vehicles."""
    x, y = plate.corners.mean(axis=0)
    for box, vehicle in zip(boxes, vehicles, strict=True):
        x1, y1, x2, y2 = _roomy(box)
        if x1 <= x <= x2 and y1 <= y <= y2:
            return vehicle.turned
    return None
