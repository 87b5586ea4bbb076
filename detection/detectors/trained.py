"""The files of a trained detector: written by training, found again by `--detector RUN`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import yaml
from pydantic import Field

from detection.common.config import StrictConfig, check_config, read_values
from detection.common.errors import UsageError
from detection.common.files import replace_file
from detection.common.networks.arrays import read_metadata
from detection.common.networks.weights import is_matrix, write_safetensors
from detection.detectors.compact.weights import save_compact

COMPACT_FILE, ZOO_FILE, ZOO_CONFIG = "compact.safetensors", "model.safetensors", "model.yaml"
ZOO_FORMAT = "carclf-zoo-detector-1"
Positive = Annotated[int, Field(gt=0)]


class ModelChoice(StrictConfig):
    """Which detector a training config is about, and how it is used afterwards.

    `model`: compact, a Detectron2 model-zoo name, or a Detectron2 YAML file of the R-CNN family. Sides (pixels of the
    resized photo) and threshold are those of detection; None takes the model's own. `detectron2` sets keys of the zoo
    model's config, such as {MODEL.RPN.NMS_THRESH: 0.6}.
    """

    model: str = "compact"
    short_side: Positive | None = None
    long_side: Positive | None = None
    score_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    detectron2: dict[str, bool | int | float | str | list] = Field(default_factory=dict)

    @property
    def compact(self) -> bool:
        return self.model == "compact"


def save_detector(model: torch.nn.Module, cfg, config: ModelChoice, kinds: Sequence[str], output: Path) -> Path:
    """Writes the trained weights into a folder and returns their path.

    The compact model's file is all that `load_detector("compact", weights=...)` needs. A zoo model gets model.yaml
    beside it, a plain Detectron2 config, for `load_detector(folder)` or Detectron2 itself. cfg: the model's config.
    """
    details = {
        "short_side": config.short_side,
        "long_side": config.long_side,
        "score_threshold": config.score_threshold,
        "kinds": list(kinds),
    }
    if config.compact:
        save_compact(model.state_dict(), output / COMPACT_FILE, details)
        return output / COMPACT_FILE
    cfg = cfg.clone()
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = config.score_threshold
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = config.short_side, config.long_side
    note = f"# {config.model}, trained by carclf train-detector; kinds: {', '.join(kinds)}. Weights: {ZOO_FILE}\n"
    replace_file(output / ZOO_CONFIG, (note + cfg.dump()).encode())
    metadata = {"format": ZOO_FORMAT, "details": json.dumps(details | {"model": config.model})}
    write_safetensors(output / ZOO_FILE, model.state_dict(), metadata, half=is_matrix)
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


def read_model_choice(path: Path) -> ModelChoice | None:
    """The model of the training config in a YAML file; None for another kind of file, such as one of Detectron2's own.

    Only what is about the model is looked at. Raises `UsageError` where that is wrong.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    if isinstance(values, dict) and "base" in values:
        values = read_values(path)
    if not isinstance(values, dict) or not {"output", "sources"} <= values.keys():
        return None
    return check_config(ModelChoice, {key: values[key] for key in ModelChoice.model_fields if key in values}, path)
