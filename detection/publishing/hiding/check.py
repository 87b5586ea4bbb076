"""A second, closer look at what may be a number plate: whether it is one, and its corners."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from detection.common.networks.arrays import read_arrays
from detection.detectors.compact.files import bundled_path
from detection.detectors.onnx.session import open_graphs
from detection.publishing.hiding.shape import Shape
from detection.publishing.hiding.view import View, cut_view
from detection.vehicle import Turn

if TYPE_CHECKING:
    import onnxruntime

GRAPH, WEIGHTS = "plate_check.onnx", "plate_check.safetensors"
SIZE = (80, 128)  # height and width in pixels of the window that it sees
ROOM = 3.6  # its width, as a multiple of the find's
# Of the score, as exponents: what the first network thought, and this one, which is sure of too much.
_PROPOSED, _CHECKED = 1 / 3, 2 / 3
_AT_ONCE = 16  # windows, so that memory stays the same however much is proposed


class PlateCheck:
    """The network; may be used from several threads at once."""

    def __init__(self, threads: int | None = None, runtime: str = "onnx", device: str = "cpu"):
        """threads, runtime, device: see `open_session`."""
        self._settings = threads, runtime, device
        self._opening = Lock()

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        weights = bundled_path(WEIGHTS)
        (session,) = open_graphs([bundled_path(GRAPH)], weights, read_arrays(weights)[0], *self._settings)
        return session

    def look(self, image: np.ndarray, finds: Sequence[Shape], turns: Sequence[Turn], least: float) -> list[Shape]:
        """Each find as it is seen from close by: its corners, and its score, by its first score and two looks.

        image: RGB uint8 HxWx3. turns: how the photo is turned where each of them is. least: what the first look scores
        lower gets no second one.
        """
        seen = self._see(image, finds, turns)
        again = [number for number, one in enumerate(seen) if one.score >= least]
        second = self._see(image, [seen[number] for number in again], [turns[number] for number in again])
        for number, one in zip(again, second, strict=True):
            seen[number] = Shape(one.corners, (seen[number].score + one.score) / 2)
        return [
            Shape(one.corners, find.score**_PROPOSED * one.score**_CHECKED)
            for find, one in zip(finds, seen, strict=True)
        ]

    def _see(self, image: np.ndarray, finds: Sequence[Shape], turns: Sequence[Turn]) -> list[Shape]:
        seen: list[Shape] = []
        for start in range(0, len(finds), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            views = [window(image, find, turn) for find, turn in zip(finds[part], turns[part], strict=True)]
            pixels = np.stack([view.pixels for view in views]).transpose(0, 3, 1, 2)
            feed = {"image": (pixels.astype(np.float32) - 127.5) / 127.5}
            with self._opening:  # several threads may ask for the first time
                session = self._session
            scores, corners = session.run(["plate", "corners"], feed)
            middle = np.array(SIZE[::-1], np.float32) / 2
            seen += [
                Shape(view.back(own * SIZE[1] + middle).astype(np.float32), float(score))
                for view, own, score in zip(views, corners, scores, strict=True)
            ]
        return seen


def window(image: np.ndarray, find: Shape, turn: Turn) -> View:
    """What the network sees of a find: it in the middle, and its surroundings."""
    x1, y1, x2, y2 = find.box
    wide, high = (y2 - y1, x2 - x1) if turn in (90, 270) else (x2 - x1, y2 - y1)
    across = window_width(wide, high) / 2
    down = across * SIZE[0] / SIZE[1]
    if turn in (90, 270):
        across, down = down, across
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return cut_view(image, (x - across, y - down, x + across, y + down), turn, SIZE)


def window_width(wide: float, high: float) -> float:
    """Of a find of that width and height, all in pixels of the photo."""
    return max(wide, high * SIZE[1] / SIZE[0] / 1.5, 4.0) * ROOM
