"""Something private in a photo as four corners, and what is asked of several such shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from detection.detectors.onnx.boxes import suppress


@dataclass(frozen=True, eq=False)
class Shape:
    """corners: float32 4x2 (x, y in pixels of the photo), from its top left clockwise. score: how sure it is, 0 to 1.

    kind: what it is: plate or face.
    """

    kind: ClassVar[str]
    corners: np.ndarray
    score: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        (x1, y1), (x2, y2) = self.corners.min(axis=0), self.corners.max(axis=0)
        return float(x1), float(y1), float(x2), float(y2)


AnyShape = TypeVar("AnyShape", bound=Shape)


def one_each(shapes: Sequence[AnyShape], shared: float) -> list[AnyShape]:
    """Of shapes whose boxes share more than that (intersection over union) the surest, the surest first."""
    if not shapes:
        return []
    boxes = np.array([shape.box for shape in shapes], np.float32)
    scores = np.array([shape.score for shape in shapes], np.float32)
    return [shapes[index] for index in suppress(boxes, scores, np.zeros(len(shapes), int), shared, len(shapes))]
