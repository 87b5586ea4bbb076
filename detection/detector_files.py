"""The files of a trained detector: written by training, found again by `--detector RUN`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import yaml

from detection.errors import UsageError
from detection.files import replace_file
from detection.mask_rcnn import save_compact
from detection.tensors import read_metadata

if TYPE_CHECKING:
    from detection.training_config import DetectorTraining

COMPACT_FILE, ZOO_FILE, ZOO_CONFIG = "compact.safetensors", "model.safetensors", "model.yaml"
ZOO_FORMAT = "carclf-zoo-detector-1"


def save_detector(model: torch.nn.Module, cfg, config: DetectorTraining, kinds: Sequence[str]) -> Path:
    """Writes the trained weights into the output folder and returns their path.

    The compact model's file is all that `load_detector("compact", weights=...)` needs. A zoo model gets model.yaml
    beside it, a plain Detectron2 config, for `load_detector(folder)` or Detectron2 itself. cfg: the model's config.
    """
    output = Path(config.output)
    details = {
        "short_side": config.short_side,
        "long_side": config.long_side,
        "score_threshold": config.score_threshold,
        "kinds": list(kinds),
    }
    if config.compact:
        save_compact(model, output / COMPACT_FILE, details)
        return output / COMPACT_FILE
    from safetensors.torch import save

    cfg = cfg.clone()
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = config.score_threshold
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = config.short_side, config.long_side
    note = f"# {config.model}, trained by carclf train-detector; kinds: {', '.join(kinds)}. Weights: {ZOO_FILE}\n"
    replace_file(output / ZOO_CONFIG, (note + cfg.dump()).encode())
    # Only the matrices in half precision: variances of frozen BatchNorms leave its range.
    tensors = {
        name: (value.half() if value.is_floating_point() and value.ndim > 1 else value).contiguous()
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    metadata = {"format": ZOO_FORMAT, "details": json.dumps(details | {"model": config.model})}
    replace_file(output / ZOO_FILE, save(tensors, metadata=metadata))
    return output / ZOO_FILE


def read_details(path: Path) -> dict:
    """What training wrote into a .safetensors file beside the weights (kinds, sides, threshold); {} without it."""
    if path.suffix != ".safetensors":
        return {}
    try:
        return json.loads(read_metadata(path).get("details", "{}"))
    except ValueError:
        return {}


def run_detector(folder: Path) -> tuple[str, Path]:
    """Name or config, and weights, of the detector that a training left in `folder`."""
    if (folder / COMPACT_FILE).is_file():
        return "compact", folder / COMPACT_FILE
    if (folder / ZOO_FILE).is_file() and (folder / ZOO_CONFIG).is_file():
        return str(folder / ZOO_CONFIG), folder / ZOO_FILE
    raise UsageError(f"The folder '{folder}' holds no finished detector: run carclf train-detector to its end.")


def read_training_config(path: Path) -> DetectorTraining | None:
    """The training config in a YAML file; None for another kind of file, such as a config of Detectron2's own."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    if not isinstance(values, dict) or not {"output", "sources"} <= values.keys():
        return None
    from detection.config import read_config
    from detection.training_config import DetectorTraining

    return read_config(DetectorTraining, path)
