"""Training of detectors on photos with masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detection.common.lazy import hand_on

if TYPE_CHECKING:
    from detection.training.train import evaluate_held_out, resume_detector, train_detector

_HOMES = {
    "train_detector": "detection.training.train",
    "resume_detector": "detection.training.train",
    "evaluate_held_out": "detection.training.train",
}
__all__ = ["evaluate_held_out", "resume_detector", "train_detector"]

__getattr__, __dir__ = hand_on(__name__, _HOMES)
