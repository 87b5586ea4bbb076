"""The trained model and its optimizer, as Lightning wants them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from detectron2.modeling import StandardROIHeads, build_model
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

from detection.common.errors import UsageError
from detection.common.networks.device import keep_depthwise_float32
from detection.detectors.mask_rcnn import DetectorSettings, MaskRcnnDetector
from detection.evaluation.evaluate import evaluate_detector
from detection.training.config import COMPACT_SIDES, COMPACT_THRESHOLD, ZOO_THRESHOLD, DetectorTraining, resolve_sizes
from detection.training.start import load_start
from detection.vehicle import mask_box

# Parameters of each part by the beginning of their names; the first that fits counts.
_PARTS = (
    ("pyramid", r"backbone\.(fpn_|top_block)"),
    ("backbone", r"backbone\."),
    ("proposals", r"proposal_generator\."),
    ("masks", r"roi_heads\.mask"),
    ("boxes", r"roi_heads\."),
)


@dataclass(frozen=True)
class Blueprint:
    """What a config asks for: Detectron2's config of the model, and the settings with every default filled in."""

    cfg: Any
    settings: DetectorTraining
    kinds: tuple[str, ...]
    backbone: str

    @property
    def rgb(self) -> bool:
        return self.cfg.INPUT.FORMAT == "RGB"

    @property
    def takes_boxes(self) -> bool:
        """Whether vehicles without masks can be left out of the mask loss, if there is one."""
        return not self.cfg.MODEL.MASK_ON or self.cfg.MODEL.ROI_HEADS.NAME != "Res5ROIHeads"


def plan_model(config: DetectorTraining, kinds: Sequence[str]) -> Blueprint:
    """Raises `UsageError` for a model that can't be trained here."""
    if config.compact:
        from detection.detectors.compact.architecture import compact_config

        if config.detectron2:
            raise UsageError("The setting 'detectron2' is for zoo models: the compact model's file does not keep it.")
        cfg = compact_config(imagenet=config.init == "imagenet")
        sides, threshold, backbone = COMPACT_SIDES, COMPACT_THRESHOLD, ""
    else:
        from detection.detectors.zoo.model import model_config, set_options

        cfg, _ = model_config(config.model)
        if cfg.MODEL.META_ARCHITECTURE != "GeneralizedRCNN" or cfg.MODEL.KEYPOINT_ON or cfg.MODEL.LOAD_PROPOSALS:
            raise UsageError(f"'{config.model}' can't be trained here: choose a Mask R-CNN or Faster R-CNN.")
        set_options(cfg, config.detectron2)
        sides, threshold, backbone = (
            (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST),
            ZOO_THRESHOLD,
            cfg.MODEL.WEIGHTS,
        )
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.DEVICE = "cpu"  # Lightning moves it
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(kinds)
    return Blueprint(cfg, resolve_sizes(config, sides, threshold), tuple(kinds), backbone)


def build_start(blueprint: Blueprint, start: bool = True) -> torch.nn.Module:
    """The model with the weights that training starts from; parts that are not to learn are frozen.

    start: False leaves the weights out, for a training that resumes from a checkpoint.
    """
    config = blueprint.settings
    model = build_model(blueprint.cfg).to(memory_format=torch.channels_last)
    if start:
        load_start(model, config, blueprint.kinds, blueprint.backbone)
    for name, parameter in model.named_parameters():
        if part_of(name) not in config.unfrozen:
            parameter.requires_grad = False
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError("The setting 'unfrozen' leaves nothing to learn: name at least boxes.")
    if blueprint.cfg.MODEL.MASK_ON and isinstance(model.roi_heads, StandardROIHeads):
        model.roi_heads._forward_mask = MethodType(_forward_drawn_masks, model.roi_heads)
    return keep_depthwise_float32(model)


def _forward_drawn_masks(self: StandardROIHeads, features: dict, instances: list[Instances]):
    """In training without what stands in for a box: those vehicles teach the proposals and the box head alone."""
    if self.training:
        instances = [one[one.gt_drawn] if one.has("gt_drawn") else one for one in instances]
    return type(self)._forward_mask(self, features, instances)


def part_of(name: str) -> str:
    """The part of the model (backbone, pyramid, proposals, boxes or masks) that a parameter belongs to.

    >>> part_of("backbone.fpn_lateral2.weight")
    'pyramid'
    """
    return next((part for part, pattern in _PARTS if re.match(pattern, name)), "boxes")


class DetectorModule(pl.LightningModule):
    """Training and validation steps of a Detectron2 model of the R-CNN family."""

    def __init__(self, blueprint: Blueprint, model: torch.nn.Module):
        super().__init__()
        self.blueprint, self.config = blueprint, blueprint.settings
        self.model: Any = model  # a GeneralizedRCNN, which has no types

    def training_step(self, batch: list[dict], _index: int):
        # What Detectron2 draws (proposals to learn from) is a function of the step too, so a resumed run repeats it.
        torch.manual_seed(self.config.seed * 1_000_003 + self.global_step)
        inputs = [self._input(one) for one in batch]
        with EventStorage(self.global_step):
            losses = self.model(inputs)
        total = sum(losses.values())
        for name, value in losses.items():
            self.log(f"train/{name}", value, batch_size=len(batch), on_step=True, on_epoch=False)
        self.log("train/loss", total, batch_size=len(batch), on_step=True, on_epoch=False)
        return total

    def _input(self, example: dict) -> dict:
        image = example["image"] if self.blueprint.rgb else example["image"].flip(0)
        masks = example["masks"]
        instances = Instances(masks.shape[1:])
        boxes = [mask_box(mask) for mask in masks]
        instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
        instances.gt_classes = example["classes"]
        if self.blueprint.cfg.MODEL.MASK_ON:
            instances.gt_drawn = example["drawn"]
            instances.gt_masks = BitMasks(torch.from_numpy(np.ascontiguousarray(masks)))
        return {"image": image, "instances": instances}

    def validation_step(self, _batch, _index: int) -> None:
        detector = self.detector()
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it, outside the class
        for name, records in data.held_out.items():
            for figure, value in evaluate_detector(detector, records).items():
                self.log(f"{name}/{figure}", float(value), batch_size=1)

    def detector(self) -> MaskRcnnDetector:
        """The model as it stands, as a detector."""
        config = self.config
        self.model.roi_heads.box_predictor.test_score_thresh = config.score_threshold
        short, long, threshold = config.short_side, config.long_side, config.score_threshold
        assert short is not None and long is not None and threshold is not None  # `resolve_sizes` filled them in
        settings = DetectorSettings(
            name=config.model,
            kinds=dict(enumerate(self.blueprint.kinds)),
            short_side=short,
            long_side=long,
            score_threshold=threshold,
            rgb=self.blueprint.rgb,
            fingerprint="training",
            mask_scores=config.compact,
        )
        return MaskRcnnDetector(self.model, settings)

    def configure_optimizers(self):
        config = self.config
        groups: dict[tuple[bool, bool], list] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups.setdefault((part_of(name) == "backbone", parameter.ndim > 1), []).append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "lr": config.backbone_learning_rate if backbone else config.learning_rate,
                    "weight_decay": config.weight_decay if decays else 0.0,
                }
                for (backbone, decays), parameters in groups.items()
            ]
        )

        def factor(step: int) -> float:
            if step < config.warmup:
                return (step + 1) / config.warmup
            done = (step - config.warmup) / max(1, config.steps - config.warmup)
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
