"""Finds number plates: a small network proposes them in the photo and in the crop of each vehicle, another one checks.

The first starts with the first blocks of the compact detector's backbone, so only its own part takes room. Both run by
ONNX Runtime. Nothing is read from a plate.
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
from detection.publishing.hiding import check
from detection.publishing.hiding.shape import Shape, one_each
from detection.publishing.hiding.view import View, cut_view, roomy, whole_view
from detection.vehicle import Turn, Vehicle

if TYPE_CHECKING:
    import onnxruntime

GRAPH, WEIGHTS = "plates.onnx", "plates.safetensors"
STRIDE = 8
HEIGHT, WIDTH = 192, 320  # pixels in which the network sees a vehicle
# All of them chosen on the photos to choose by; the model card says how.
PROPOSED = 0.08  # score from which a find is looked at again
MOST_PROPOSED = 32
LEAST = 0.05  # score below which nothing is given
WHOLE_SIDE = 480  # longer side in pixels of the look at the whole photo
LARGE = 0.75  # of a view's width; vehicles that the look at the whole photo shows so large get none of their own
SHARED = 0.3
_RULE = 3  # of the looks: another number where the same weights would find something else


@dataclass(frozen=True, eq=False)
class Plate(Shape):
    """A number plate. on_vehicle: whether it lies in the box of a found vehicle."""

    kind: ClassVar[str] = "plate"
    on_vehicle: bool = True


def plates_fingerprint() -> str:
    """Of the bundled network and its rule: changes when results would."""
    files = WEIGHTS, check.WEIGHTS
    return f"plates{_RULE}-" + "-".join(file_sha256(bundled_path(file)).hex()[:8] for file in files)


class PlateFinder:
    """Finds plates; may be used from several threads at once."""

    def __init__(self, threads: int | None = None, runtime: str = "onnx", device: str = "cpu"):
        """threads, runtime, device: see `open_session`."""
        self._settings = threads, runtime, device
        self._opening = Lock()
        self._check = check.PlateCheck(threads, runtime, device)

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
        whole = whole_view(image, turn, WHOLE_SIDE)
        found = self._look(whole, PROPOSED)
        for box, vehicle in zip(boxes, vehicles, strict=True):
            if vehicle.turned != turn or max(box[2] - box[0], box[3] - box[1]) * whole.scale < LARGE * WIDTH:
                found += self._look(cut_view(image, roomy(box), vehicle.turned, (HEIGHT, WIDTH)), PROPOSED)
        proposed = one_each(found, SHARED)[:MOST_PROPOSED]
        near = [_near(plate.corners, boxes, vehicles) for plate in proposed]
        turns = [turn if one is None else one for one in near]
        kept = []
        for plate, one in zip(self._check.look(image, proposed, turns, least), near, strict=True):
            x, y = plate.corners.mean(axis=0)
            if plate.score >= least and 0 <= x < width and 0 <= y < height:
                kept.append(Plate(plate.corners, plate.score, one is not None))
        return one_each(kept, SHARED)

    def glance(self, image: np.ndarray, side: int, least: float) -> list[Plate]:
        """What the first network proposes in a photo that is shown to it with a longer side of so many pixels."""
        return self._look(whole_view(image, 0, side), least)

    def _look(self, view: View, least: float) -> list[Plate]:
        """What the network proposes in a view, in pixels of the photo."""
        return [Plate(view.back(corners), score) for corners, score in self._see(view.pixels, least)]

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


def _box_in(vehicle: Vehicle, size: tuple[int, int]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = vehicle.box
    down, across = size[0] / vehicle.mask.shape[0], size[1] / vehicle.mask.shape[1]
    return x1 * across, y1 * down, x2 * across, y2 * down


def _near(corners: np.ndarray, boxes: Sequence[Any], vehicles: Sequence[Vehicle]) -> Turn | None:
    """How the vehicle that the plate is on is turned; None for a plate beside all vehicles."""
    x, y = corners.mean(axis=0)
    for box, vehicle in zip(boxes, vehicles, strict=True):
        x1, y1, x2, y2 = roomy(box)
        if x1 <= x <= x2 and y1 <= y <= y2:
            return vehicle.turned
    return None
