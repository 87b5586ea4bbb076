"""Detectors by name: exported ones without torch, all others with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from detection.exported import is_export

if TYPE_CHECKING:
    from detection.inference import Precision
    from detection.mask_rcnn import Detector
    from detection.onnx_detector import OnnxDetector


def load_detector(
    name_or_config: str = "compact",
    device: str = "auto",
    weights: str | Path | None = None,
    score_threshold: float | None = None,
    precision: Precision = "auto",
) -> Detector | OnnxDetector:
    """Loads a detector and makes it fast on its device.

    name_or_config: the folder of an export (`carclf export`), or what `detection.mask_rcnn.load_detector` takes:
    "compact", a name of Detectron2's model zoo, a config; for these see there what the rest means. Of an export only
    the score threshold may be chosen: it runs on the CPU, in float32, with its own weights.
    Raises `UsageError` with one sentence when the model or its weights can't be had.
    """
    if is_export(name_or_config):
        from detection.onnx_detector import load_onnx_detector

        return load_onnx_detector(name_or_config, device, weights, score_threshold)
    from detection import mask_rcnn

    return mask_rcnn.load_detector(
        name_or_config, device=device, weights=weights, score_threshold=score_threshold, precision=precision
    )
