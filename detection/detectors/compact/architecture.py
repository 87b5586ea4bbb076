"""The architecture of the compact detector, as a Detectron2 config."""

from __future__ import annotations

from detectron2.config import CfgNode, get_cfg

# Importing them registers them in Detectron2.
from detection.detectors.compact import backbone, roi_heads  # noqa: F401
from detection.detectors.compact.files import KINDS


def compact_config(imagenet: bool = False) -> CfgNode:
    """GeneralizedRCNN: EfficientNet-Lite0 + FPN, proposals at strides 8-64, masks of 112x112 from strides 4 and 2.

    `imagenet` starts the backbone from ImageNet weights (for training; finished weights hold the backbone too).
    Input is RGB in 0-255, normalised to -1..1 as the backbone was trained.
    """
    cfg = get_cfg()
    model = cfg.MODEL
    model.DEVICE = "cpu"
    model.META_ARCHITECTURE = "GeneralizedRCNN"
    model.MASK_ON = True
    model.PIXEL_MEAN = [127.5, 127.5, 127.5]
    model.PIXEL_STD = [127.5, 127.5, 127.5]
    cfg.INPUT.FORMAT = "RGB"

    model.BACKBONE.NAME = "build_timm_fpn_backbone"
    model.TIMM = CfgNode({"NAME": "tf_efficientnet_lite0", "IMAGENET": imagenet})
    model.FPN.IN_FEATURES = ["c2", "c3", "c4", "c5"]
    model.FPN.OUT_CHANNELS = 96

    # Proposals leave the finest level out: it doubles their cost, and the car that a photo is of is never that small.
    model.ANCHOR_GENERATOR.SIZES = [[28], [64], [136], [288]]
    model.ANCHOR_GENERATOR.ASPECT_RATIOS = [[0.4, 0.65, 1.1]]
    model.RPN.IN_FEATURES = ["p3", "p4", "p5", "p6"]
    model.RPN.BATCH_SIZE_PER_IMAGE = 128
    model.RPN.PRE_NMS_TOPK_TRAIN = 500
    model.RPN.POST_NMS_TOPK_TRAIN = 200
    model.RPN.PRE_NMS_TOPK_TEST = 200
    model.RPN.POST_NMS_TOPK_TEST = 50

    model.ROI_HEADS.NAME = "FineMaskROIHeads"
    model.ROI_HEADS.IN_FEATURES = ["p3", "p4", "p5"]
    model.ROI_HEADS.NUM_CLASSES = len(KINDS)
    model.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 48
    model.ROI_HEADS.POSITIVE_FRACTION = 0.33
    model.ROI_BOX_HEAD.NAME = "FastRCNNConvFCHead"
    model.ROI_BOX_HEAD.NUM_CONV = 1
    model.ROI_BOX_HEAD.CONV_DIM = 96
    model.ROI_BOX_HEAD.NUM_FC = 1
    model.ROI_BOX_HEAD.FC_DIM = 256
    model.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
    model.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO = 2
    # What tells a car from a truck are the scores: where it ends, and its outline, are learnt from all kinds together.
    model.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG = True
    model.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK = True

    mask = model.ROI_MASK_HEAD
    mask.NAME = "DetailMaskHead"
    # Masks, their edges, and the whole.
    mask.IN_FEATURES = ["p2", "c1", "p4"]
    mask.POOLER_RESOLUTIONS = [56, 112, 14]
    mask.POOLER_SAMPLING_RATIO = 1
    mask.NUM_CONV = 4
    mask.CONV_DIM = 64
    mask.DETAIL_DIM = 32
    mask.MARGIN = 0.06
    mask.TRAIN_PER_IMAGE = 3

    cfg.TEST.DETECTIONS_PER_IMAGE = 20
    return cfg
