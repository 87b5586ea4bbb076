"""The compact detector's weights for torch: how they are saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from detection.common.errors import UsageError
from detection.common.networks.weights import is_wide_matrix, read_safetensors, write_safetensors
from detection.detectors.compact.files import WEIGHTS_FORMAT, check_bundled, compact_fingerprint, read_details
from detection.detectors.mask_rcnn import DetectorSettings, MaskRcnnDetector

if TYPE_CHECKING:
    from detectron2.modeling import GeneralizedRCNN


# From so many values on a matrix may be stored in 8 bits: the box head's first layer alone, which moves scores by 0.001
# in the mean; with the backbone's last blocks it was 0.002, and photos at the threshold changed sides.
_LARGE = 1_000_000


def save_compact(
    state: Mapping[str, torch.Tensor], path: Path, details: Mapping[str, Any], eight_bits: bool = False
) -> None:
    """Writes the weights in half precision with `details` (JSON) as metadata; temp file, then rename.

    details: at least short_side, long_side and score_threshold. eight_bits: the largest matrix in 8 bits.
    """
    metadata = {"format": WEIGHTS_FORMAT, "details": json.dumps(details)}
    write_safetensors(
        path,
        state,
        metadata,
        half=lambda tensor: True,
        eight_bits=lambda tensor: eight_bits and is_wide_matrix(tensor) and tensor.numel() >= _LARGE,
    )


def load_compact(device: torch.device, path: Path, score_threshold: float | None) -> MaskRcnnDetector:
    """The detector that a file holds. Raises `UsageError`."""
    check_bundled(path)
    tensors, metadata = read_safetensors(path)
    details = read_details(path, metadata)
    threshold = details["score_threshold"] if score_threshold is None else score_threshold
    model = build_compact(tensors, details, path, device, threshold)
    model.backbone.bottom_up.fold()
    settings = DetectorSettings(
        name="compact",
        kinds=dict(enumerate(details["kinds"])),
        short_side=details["short_side"],
        long_side=details["long_side"],
        score_threshold=threshold,
        rgb=True,
        fingerprint=compact_fingerprint(path, threshold),
        mask_scores=True,
        own_threshold=details["score_threshold"],
    )
    return MaskRcnnDetector(model, settings)


def build_compact(
    tensors: Mapping[str, torch.Tensor],
    details: Mapping[str, Any],
    path: Path,
    device: torch.device | str = "cpu",
    score_threshold: float = 0.0,
) -> GeneralizedRCNN:
    """The network that holds these tensors of the file `path`, under the same names. Raises `UsageError`."""
    from detectron2.modeling import build_model

    from detection.detectors.compact.architecture import compact_config

    cfg = compact_config()
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(details["kinds"])
    # Version 0.4.0 learnt boxes and masks of each kind apart.
    for node, key, name, rows in (
        (cfg.MODEL.ROI_BOX_HEAD, "CLS_AGNOSTIC_BBOX_REG", "box_predictor.bbox_pred.bias", 4),
        (cfg.MODEL.ROI_MASK_HEAD, "CLS_AGNOSTIC_MASK", "mask_head.coarse_logits.bias", 1),
    ):
        node[key] = len(tensors.get(f"roi_heads.{name}", torch.zeros(rows))) == rows
    cfg.MODEL.DEVICE = str(device)
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = score_threshold
    model = build_model(cfg)
    missing, unexpected = model.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise UsageError(f"'{path}' does not fit this version's compact detector: train it again with train_detector.")
    return model
