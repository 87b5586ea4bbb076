"""The compact detector's weights: where they lie, how they are saved and loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

import detection
from detection.common.errors import UsageError
from detection.common.weights import read_safetensors, write_safetensors
from detection.detectors.mask_rcnn import DetectorSettings, MaskRcnnDetector

WEIGHTS_FORMAT = "carclf-detector-1"


def compact_weights() -> Path:
    """Where the bundled weights of the compact detector lie."""
    return Path(detection.__file__).parent / "weights" / "compact.safetensors"


def save_compact(model: torch.nn.Module, path: Path, details: dict) -> None:
    """Writes the weights in half precision with `details` (JSON) as metadata; temp file, then rename.

    details: at least short_side, long_side and score_threshold.
    """
    metadata = {"format": WEIGHTS_FORMAT, "details": json.dumps(details)}
    write_safetensors(path, model.state_dict(), metadata, half=lambda tensor: True)


def load_compact(device: torch.device, path: Path, score_threshold: float | None) -> MaskRcnnDetector:
    if path == compact_weights() and not path.is_file():
        raise UsageError(f"The detector's weights '{path}' are missing: reinstall carclf, or pass --weights FILE.")
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != WEIGHTS_FORMAT:
        raise UsageError(f"'{path}' holds no weights of the compact detector: pass weights made by train-detector.")
    details = json.loads(metadata["details"])
    from detectron2.modeling import build_model

    from detection.detectors.compact.architecture import KINDS, compact_config

    threshold = details["score_threshold"] if score_threshold is None else score_threshold
    kinds = details.get("kinds", KINDS)
    cfg = compact_config()
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(kinds)
    # Version 0.4.0 learnt boxes and masks of each kind apart.
    for node, key, name, rows in (
        (cfg.MODEL.ROI_BOX_HEAD, "CLS_AGNOSTIC_BBOX_REG", "box_predictor.bbox_pred.bias", 4),
        (cfg.MODEL.ROI_MASK_HEAD, "CLS_AGNOSTIC_MASK", "mask_head.coarse_logits.bias", 1),
    ):
        node[key] = len(tensors.get(f"roi_heads.{name}", torch.zeros(rows))) == rows
    cfg.MODEL.DEVICE = str(device)
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = threshold
    model = build_model(cfg)
    missing, unexpected = model.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise UsageError(f"'{path}' does not fit this version's compact detector: train it again with train_detector.")
    model.backbone.bottom_up.fold()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    settings = DetectorSettings(
        name="compact",
        kinds=dict(enumerate(kinds)),
        short_side=details["short_side"],
        long_side=details["long_side"],
        score_threshold=threshold,
        rgb=True,
        fingerprint=f"compact-{digest}-{threshold:g}",
        mask_scores=True,
        own_threshold=details["score_threshold"],
    )
    return MaskRcnnDetector(model, settings)
