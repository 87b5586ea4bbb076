"""Box and mask heads of the compact detector, registered in Detectron2."""

from __future__ import annotations

import torch
from detectron2.config import configurable
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.modeling.roi_heads.roi_heads import select_foreground_proposals
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from detection.detectors.compact.mask_head import DetailMaskHead


@ROI_HEADS_REGISTRY.register()
class FineMaskROIHeads(StandardROIHeads):
    """Standard heads, but masks are read from the finest features, from a box with a margin.

    The standard assignment takes a car that fills the photo from stride 16 or 32, where a mirror is less than one
    cell; strides 4 and 2 keep it. The margin lets a mask reach past a box that is a little too small.
    """

    @configurable
    def __init__(self, *, mask_margin: float, masks_per_image: int, **kwargs):
        super().__init__(**kwargs)
        self.mask_margin = mask_margin
        self.masks_per_image = masks_per_image

    @classmethod
    def from_config(cls, cfg, input_shape):
        settings = super().from_config(cfg, input_shape)
        settings["mask_margin"] = cfg.MODEL.ROI_MASK_HEAD.MARGIN
        settings["masks_per_image"] = cfg.MODEL.ROI_MASK_HEAD.TRAIN_PER_IMAGE
        return settings

    @classmethod
    def _init_mask_head(cls, cfg, input_shape):
        head = cfg.MODEL.ROI_MASK_HEAD
        poolers = [
            ROIPooler(
                output_size=side,
                scales=(1.0 / input_shape[name].stride,),
                sampling_ratio=head.POOLER_SAMPLING_RATIO,
                pooler_type=head.POOLER_TYPE,
            )
            for name, side in zip(head.IN_FEATURES, head.POOLER_RESOLUTIONS, strict=True)
        ]
        mask_head = DetailMaskHead(
            *(input_shape[name].channels for name in head.IN_FEATURES),
            convs=head.NUM_CONV,
            width=head.CONV_DIM,
            detail_width=head.DETAIL_DIM,
            context_side=head.POOLER_RESOLUTIONS[-1],
            classes=cfg.MODEL.ROI_HEADS.NUM_CLASSES,
        )
        return {
            "mask_in_features": list(head.IN_FEATURES),
            "mask_pooler": nn.ModuleList(poolers),
            "mask_head": mask_head,
        }

    def _forward_mask(self, features: dict[str, Tensor], instances: list[Instances]):
        if self.training:
            instances, _ = select_foreground_proposals(instances, self.num_classes)
            # A few masks per photo teach as much as all and cost a fraction.
            instances = [one[torch.randperm(len(one))[: self.masks_per_image]] for one in instances]
            for one in instances:
                margin = torch.rand(len(one), 1, device=one.proposal_boxes.device) * 2 * self.mask_margin
                one.proposal_boxes = _widened(one.proposal_boxes, margin, one.image_size)
            boxes = [one.proposal_boxes for one in instances]
        else:
            for one in instances:
                one.pred_boxes = _widened(one.pred_boxes, self.mask_margin, one.image_size)
            boxes = [one.pred_boxes for one in instances]
        pooled = [
            pooler([features[name]], boxes).contiguous(memory_format=torch.channels_last)
            for name, pooler in zip(self.mask_in_features, self.mask_pooler, strict=True)
        ]
        return self.mask_head(*pooled, instances)


def _widened(boxes: Boxes, margin: Tensor | float, size: tuple[int, int]) -> Boxes:
    """Boxes (xyxy, pixels) grown on each side by `margin` of their width and height, clipped to (height, width)."""
    x1, y1, x2, y2 = boxes.tensor.split(1, dim=1)
    dx, dy = (x2 - x1) * margin, (y2 - y1) * margin
    grown = Boxes(torch.cat([x1 - dx, y1 - dy, x2 + dx, y2 + dy], dim=1))
    grown.clip(size)
    return grown
