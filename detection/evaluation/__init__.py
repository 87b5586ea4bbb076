"""How good a detector is on photos with masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detection.common.lazy import hand_on

if TYPE_CHECKING:
    from detection.evaluation.evaluate import evaluate_detector, iou

_HOMES = {
    "evaluate_detector": "detection.evaluation.evaluate",
    "iou": "detection.evaluation.evaluate",
}
__all__ = ["evaluate_detector", "iou"]

__getattr__, __dir__ = hand_on(__name__, _HOMES)
