"""The weights that a training starts from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from detection.common.errors import UsageError
from detection.common.networks.weights import read_weights
from detection.detectors.compact.files import compact_weights
from detection.detectors.trained import read_details
from detection.detectors.zoo.download import fetch_backbone_weights, fetch_zoo_weights
from detection.detectors.zoo.model import coco_names
from detection.training.config import DetectorTraining

# These tensors hold a block of rows for each kind.
_BY_KIND = re.compile(r"roi_heads\..*\b(cls_score|bbox_pred|predictor)\.(weight|bias)$")


def load_start(model: nn.Module, config: DetectorTraining, kinds: Sequence[str], backbone: str) -> None:
    """Fills a model as `config.init` says; what the weights do not hold stays as it was built.

    backbone: where Detectron2 says that the zoo model's ImageNet weights are. The compact model's ImageNet weights
    are loaded when it is built. Raises `UsageError` for weights that are not to be had or do not fit.
    """
    init = config.init
    if init == "random" or (init == "imagenet" and config.compact):
        return
    if init == "imagenet":
        path = fetch_backbone_weights(backbone)
        _load_backbone(model, read_weights(path), path)
        return
    if init == "bundled":
        if not config.compact:
            raise UsageError("Only the compact model has bundled weights: write init=zoo, imagenet or a file.")
        path = compact_weights()
    elif init == "zoo":
        if config.compact or Path(config.model).is_file():
            raise UsageError(
                f"The model zoo has no weights of '{config.model}': write init=bundled, imagenet or a file."
            )
        path = fetch_zoo_weights(config.model)
    else:
        path = Path(init)
        if path.suffix not in {".safetensors", ".pth"}:
            raise UsageError(f"'{init}' is no start: write imagenet, bundled, zoo, random or FILE.safetensors.")
    state = read_weights(path)
    if not any(key.startswith("roi_heads.") for key in state):
        _load_backbone(model, state, path)
        return
    load_fitting(model, state, _source_kinds(path, state), kinds, path)


def load_fitting(
    model: nn.Module, state: dict[str, Tensor], source_kinds: Sequence[str], kinds: Sequence[str], path: Path
) -> None:
    """Loads weights of the same architecture that know other kinds; the heads' rows are matched by the kind's name.

    A kind that the weights do not know starts from their only kind if they have just one, else from chance.
    """
    own = model.state_dict()
    for key, value in own.items():
        if key.endswith("num_batches_tracked") or key.startswith("pixel_"):
            continue
        given = state.get(key)
        with torch.no_grad():
            if given is not None and given.shape[1:] == value.shape[1:] and _BY_KIND.match(key):
                fits = _copy_rows(key, value, given, source_kinds, kinds)
            elif fits := given is not None and given.shape == value.shape:
                value.copy_(given)
        if not fits:
            raise UsageError(f"'{path}' does not fit the model: {key} is missing or of another shape.")


def _copy_rows(key: str, own: Tensor, given: Tensor, source_kinds: Sequence[str], kinds: Sequence[str]) -> bool:
    """own, given: [a block of rows for each kind, then for classes one for the background]; False: can't be matched."""
    block, background = (4 if "bbox_pred" in key else 1), int("cls_score" in key)
    if len(own) != block * len(kinds) + background:  # one block for all kinds
        if own.shape != given.shape:
            return False
        own.copy_(given)
        return True
    if len(given) != block * len(source_kinds) + background:
        return False
    for index, kind in enumerate(kinds):
        if kind in source_kinds:
            source = source_kinds.index(kind)
        elif len(source_kinds) == 1:
            source = 0
        else:
            continue
        own[index * block : (index + 1) * block] = given[source * block : (source + 1) * block].to(own.dtype)
    if background:
        own[-1] = given[-1].to(own.dtype)
    return True


def _source_kinds(path: Path, state: dict[str, Tensor]) -> tuple[str, ...]:
    named = read_details(path).get("kinds")
    if named:
        return tuple(named)
    rows = next((len(value) for key, value in state.items() if key.endswith("cls_score.bias")), 1)
    if rows == 81:
        return coco_names()
    return ("car",) if rows == 2 else tuple(f"kind {index}" for index in range(rows - 1))


def _load_backbone(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts

    own = model.state_dict()
    # Caffe2's names end in _w and _b; the others differ from the model's by a prefix only.
    fitted = align_and_update_state_dicts(own, dict(state), c2_conversion=any(key.endswith("_w") for key in state))
    wanted = [key for key in own if re.match(r"backbone\.(?!fpn_|top_block)", key)]
    # Caffe2's files have the statistics of BatchNorm worked into weight and bias: as built, they change nothing.
    missing = [key for key in wanted if key not in fitted and not re.search(r"running_|num_batches_tracked", key)]
    if missing:
        raise UsageError(f"'{path}' does not fit the model's backbone: {missing[0]} is missing or of another shape.")
    model.load_state_dict({key: fitted[key] for key in wanted if key in fitted}, strict=False)
