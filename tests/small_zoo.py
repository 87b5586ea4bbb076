"""A Mask R-CNN in Detectron2's YAML, small enough to train and run in a test."""

from __future__ import annotations

from pathlib import Path


def write_small_model(folder: Path, masks: bool = True) -> Path:
    """Writes small.yaml: a ResNet-18 with a narrow feature pyramid and COCO's 80 kinds."""
    path = folder / "small.yaml"
    path.write_text(
        f"MODEL:\n  META_ARCHITECTURE: GeneralizedRCNN\n  MASK_ON: {str(masks).lower()}\n"
        "  WEIGHTS: detectron2://ImageNetPretrained/Made/R-18.pkl\n"
        "  BACKBONE: {NAME: build_resnet_fpn_backbone}\n"
        "  RESNETS: {DEPTH: 18, OUT_FEATURES: [res2, res3, res4, res5], RES2_OUT_CHANNELS: 64}\n"
        "  FPN: {IN_FEATURES: [res2, res3, res4, res5], OUT_CHANNELS: 32}\n"
        "  ANCHOR_GENERATOR: {SIZES: [[32], [64], [128], [256], [512]]}\n"
        "  RPN: {IN_FEATURES: [p2, p3, p4, p5, p6], POST_NMS_TOPK_TEST: 20}\n"
        "  ROI_HEADS: {NAME: StandardROIHeads, IN_FEATURES: [p2, p3, p4, p5]}\n"
        "  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 1, FC_DIM: 64, POOLER_RESOLUTION: 7}\n"
        "  ROI_MASK_HEAD: {NAME: MaskRCNNConvUpsampleHead, NUM_CONV: 1, CONV_DIM: 32, POOLER_RESOLUTION: 14}\n"
        "INPUT: {MIN_SIZE_TEST: 96, MAX_SIZE_TEST: 160}\n"
    )
    return path


def build_small_model(path: Path, kinds: int = 80):
    """The model of `write_small_model`, weights by chance (seed 0)."""
    import torch
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    cfg = get_cfg()
    cfg.merge_from_file(str(path), allow_unsafe=False)
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = kinds
    torch.manual_seed(0)
    return build_model(cfg)
