"""Box and mask heads of the compact detector, registered in Detectron2."""

from __future__ import annotations

import torch
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import StandardROIHeads, build_mask_head
from detectron2.modeling.roi_heads.roi_heads import select_foreground_proposals
from detectron2.structures import Boxes, Instances
from torch import Tensor


@ROI_HEADS_REGISTRY.register()
class FineMaskROIHeads(StandardROIHeads):
    """Standard heads, but masks are read from the finest features, from a box with a margin.

    The standard assignment takes a car that fills the photo from stride 16 or 32, where a mirror is less than one
    cell; the finest level (stride 4) keeps it. The margin lets a mask reach past a box that is a little too small.
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
        source = head.IN_FEATURE
        pooler = ROIPooler(
            output_size=head.POOLER_RESOLUTION,
            scales=(1.0 / input_shape[source].stride,),
            sampling_ratio=head.POOLER_SAMPLING_RATIO,
            pooler_type=head.POOLER_TYPE,
        )
        side = head.POOLER_RESOLUTION
        shape = ShapeSpec(channels=input_shape[source].channels, height=side, width=side)
        return {"mask_in_features": [source], "mask_pooler": pooler, "mask_head": build_mask_head(cfg, shape)}

    def _forward_mask(self, features: dict[str, Tensor], instances: list[Instances]):
        if self.training:
            instances, _ = select_foreground_proposals(instances, self.num_classes)
            # A handful of masks a photo teaches as much as all and costs a fraction.
            instances = [one[torch.randperm(len(one))[: self.masks_per_image]] for one in instances]
            for one in instances:
                margin = torch.rand(len(one), 1, device=one.proposal_boxes.device) * 2 * self.mask_margin
                one.proposal_boxes = _widened(one.proposal_boxes, margin, one.image_size)
            boxes = [one.proposal_boxes for one in instances]
        else:
            for one in instances:
                one.pred_boxes = _widened(one.pred_boxes, self.mask_margin, one.image_size)
            boxes = [one.pred_boxes for one in instances]
        pooled = self.mask_pooler([features[name] for name in self.mask_in_features], boxes)
        return self.mask_head(pooled.contiguous(memory_format=torch.channels_last), instances)


def _widened(boxes: Boxes, margin: Tensor | float, size: tuple[int, int]) -> Boxes:
    """Boxes (xyxy, pixels) grown on each side by `margin` of their width and height, clipped to (height, width)."""
    x1, y1, x2, y2 = boxes.tensor.split(1, dim=1)
    dx, dy = (x2 - x1) * margin, (y2 - y1) * margin
    grown = Boxes(torch.cat([x1 - dx, y1 - dy, x2 + dx, y2 + dy], dim=1))
    grown.clip(size)
    return grown
