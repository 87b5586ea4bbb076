"""Detectron2's model zoo, and configs of one's own in its format, as detectors."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path

import torch
from torch import Tensor

from detection.common.errors import UsageError
from detection.common.networks.weights import read_weights
from detection.detectors.mask_rcnn import COCO_VEHICLES, DetectorSettings, MaskRcnnDetector
from detection.detectors.trained import ModelChoice, read_details
from detection.detectors.zoo.download import fetch_zoo_weights

DEFAULT_THRESHOLD = 0.5
YAML = {".yaml", ".yml"}


def load_zoo(
    name: str,
    device: torch.device,
    weights: str | Path | None = None,
    score_threshold: float | None = None,
    choice: ModelChoice | None = None,
) -> MaskRcnnDetector:
    """A detector from a model-zoo name or a Detectron2 YAML config, as it was trained.

    choice: what the training config of that name asks for; its model is loaded. Raises `UsageError` for an unknown
    name, unusable weights, and when weights are neither given nor to be had.
    """
    from detectron2.modeling import build_model

    cfg, zoo_name = model_config(choice.model if choice else name)
    if choice is not None:
        set_options(cfg, choice.detectron2)
    if weights is not None:
        path = Path(weights)
    elif zoo_name is not None:
        path = fetch_zoo_weights(zoo_name)
    else:
        path = Path(name).with_suffix(".safetensors")
        if not path.is_file():
            raise UsageError(f"The config '{name}' needs weights: pass --weights FILE.safetensors.")
    state, details = read_weights(path), read_details(path)
    # What training wrote beside the weights wins over the training config, and that over the model's own.
    config = {} if choice is None else choice.model_dump(include={"short_side", "long_side", "score_threshold"})
    told = {key: value for key, value in (config | details).items() if value is not None}
    threshold = told.get("score_threshold", DEFAULT_THRESHOLD) if score_threshold is None else score_threshold
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.DEVICE = str(device)
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = threshold
    cfg.INPUT.MIN_SIZE_TEST = told.get("short_side", cfg.INPUT.MIN_SIZE_TEST)
    cfg.INPUT.MAX_SIZE_TEST = told.get("long_side", cfg.INPUT.MAX_SIZE_TEST)
    if "kinds" in details:
        cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(details["kinds"])
        kinds = dict(enumerate(details["kinds"]))
    else:
        classes = cfg.MODEL.ROI_HEADS.NUM_CLASSES
        kinds = COCO_VEHICLES if classes == 80 else dict.fromkeys(range(classes), "car")
    model = build_model(cfg)
    _load_state(model, state, path)
    cfg.MODEL.DEVICE = ""
    digest = hashlib.sha256(cfg.dump().encode() + path.read_bytes()).hexdigest()[:12]
    settings = DetectorSettings(
        name=name,
        kinds=kinds,
        short_side=cfg.INPUT.MIN_SIZE_TEST,
        long_side=cfg.INPUT.MAX_SIZE_TEST,
        score_threshold=threshold,
        rgb=cfg.INPUT.FORMAT == "RGB",
        fingerprint=f"{Path(name).stem}-{digest}-{threshold:g}",
    )
    return MaskRcnnDetector(model, settings)


def model_config(name: str):
    """The Detectron2 config (CfgNode) of a zoo name or YAML file and, for a zoo model, its zoo name (else None)."""
    from detectron2 import model_zoo
    from detectron2.config import CfgNode, get_cfg

    zoo_name = None
    if Path(name).suffix in YAML and Path(name).is_file():
        path = name
    else:
        zoo_name = name.removesuffix(".yaml") + ".yaml"
        try:
            path = model_zoo.get_config_file(zoo_name)
        except RuntimeError as error:
            raise UsageError(f"There is no detector '{name}': {_suggestion(zoo_name)}") from error
    try:
        # merge_from_file would fall back to yaml's unsafe loader, which runs what a file tells it to.
        loaded = CfgNode(CfgNode.load_yaml_with_base(path, allow_unsafe=False))
        cfg = get_cfg()
        cfg.merge_from_other_cfg(loaded)
    except Exception as error:
        raise UsageError(
            f"'{name}' is not a Detectron2 config of this version: {str(error).splitlines()[0]}"
        ) from error
    return cfg, zoo_name


def set_options(cfg, options: dict) -> None:
    """Sets keys such as MODEL.RPN.NMS_THRESH of a Detectron2 config. Raises `UsageError` for one that does not fit."""
    try:
        cfg.merge_from_list([part for pair in options.items() for part in pair])
    except Exception as error:
        raise UsageError(f"The setting 'detectron2' does not fit: {str(error).splitlines()[0]}.") from error


def coco_names() -> tuple[str, ...]:
    """The 80 kinds of Detectron2's COCO models, in the order of their class numbers."""
    from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

    return tuple(one["name"] for one in COCO_CATEGORIES if one["isthing"])


def _suggestion(zoo_name: str) -> str:
    from detectron2 import model_zoo

    folder = Path(model_zoo.__file__).parent / "configs"
    known = [path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml")]
    close = difflib.get_close_matches(zoo_name, known, n=1, cutoff=0.4)
    meant = f" (did you mean {close[0].removesuffix('.yaml')}?)" if close else ""
    return f"use compact, a model-zoo name such as COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x{meant}, or a file."


def _load_state(model: torch.nn.Module, state: dict[str, Tensor], path: Path) -> None:
    own = model.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    missing = [key for key in missing if not key.startswith("pixel_")]
    wrong = [key for key in own if key in state and own[key].shape != state[key].shape]
    if missing or wrong:
        raise UsageError(f"'{path}' does not fit the model: {(missing + wrong)[0]} is missing or of another shape.")
    model.load_state_dict({key: value for key, value in state.items() if key in own}, strict=False)
