"""The network that corrects the guided edge of a vehicle, by ONNX Runtime."""

from __future__ import annotations

from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from detection.common.files import file_sha256
from detection.common.networks.arrays import read_arrays
from detection.detectors.compact.files import bundled_path
from detection.detectors.onnx.session import open_graphs

if TYPE_CHECKING:
    import onnxruntime

GRAPH, WEIGHTS = "edge.onnx", "edge.safetensors"
STRIDE = 8  # sides of a picture are multiples of so many pixels for the network


class EdgeNetwork:
    """May be used from several threads at once. It is opened when it is first used, with one thread: edges are fitted
    in several threads side by side."""

    def __init__(self) -> None:
        self._opening = Lock()

    @cached_property
    def fingerprint(self) -> str:
        """Changes when results would."""
        return f"edge-{file_sha256(bundled_path(WEIGHTS)).hex()[:12]}"

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        weights = bundled_path(WEIGHTS)
        (session,) = open_graphs([bundled_path(GRAPH)], weights, read_arrays(weights)[0], threads=1)
        return session

    def correct(self, image: np.ndarray, mask: np.ndarray, guided: np.ndarray) -> np.ndarray:
        """A better alpha, float32 HxW from 0 to 1. image: RGB uint8 HxWx3. mask: bool HxW. guided: uint8 HxW."""
        height, width = mask.shape
        given = np.concatenate([image.transpose(2, 0, 1), np.stack([mask * np.uint8(255), guided])])
        more = ((0, 0), (0, -height % STRIDE), (0, -width % STRIDE))
        given = np.pad(given, more, mode="edge").astype(np.float32) / 255
        with self._opening:
            session = self._session
        return np.clip(session.run(None, {"image": given[None]})[0][0, 0, :height, :width], 0, 1)


EDGE_NETWORK = EdgeNetwork()
