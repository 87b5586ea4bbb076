"""Box and mask heads of the compact detector, registered in Detectron2."""

from __future__ import annotations

import torch
from detectron2.config import configurable
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import FastRCNNOutputLayers, StandardROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference
from detectron2.modeling.roi_heads.roi_heads import select_foreground_proposals
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from detection.detectors.compact.mask_head import DetailMaskHead


class OneKindPredictor(FastRCNNOutputLayers):
    """A vehicle is of one kind: its score is how sure it is that there is one, whichever, and its kind the likeliest.

    By Detectron2's rule, what may be a truck or a bus would be found twice, or not at all as neither is likely enough.
    """

    def inference(self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]):
        """As Detectron2's: the vehicles of each photo, and the numbers of the proposals that they came from."""
        boxes, scores, kinds = [], [], []
        for some, probabilities in zip(
            self.predict_boxes(predictions, proposals), self.predict_probs(predictions, proposals), strict=True
        ):
            best = probabilities[:, :-1].argmax(dim=1)
            some = some.view(len(some), -1, 4)
            one = some[:, 0] if some.shape[1] == 1 else some[torch.arange(len(some), device=some.device), best]
            # Detectron2 leaves out what is not finite, and then counts anew.
            whole = torch.isfinite(one).all(dim=1) & torch.isfinite(probabilities).all(dim=1)
            boxes.append(one[whole])
            scores.append(torch.stack([probabilities[:, :-1].sum(dim=1), probabilities[:, -1]], dim=1)[whole])
            kinds.append((best[whole], whole.nonzero()[:, 0]))
        found, kept = fast_rcnn_inference(
            boxes,
            scores,
            [one.image_size for one in proposals],
            self.test_score_thresh,
            self.test_nms_thresh,
            self.test_topk_per_image,
        )
        for one, rows, (best, _) in zip(found, kept, kinds, strict=True):
            one.pred_classes = best[rows]
        return found, [places[rows] for rows, (_, places) in zip(kept, kinds, strict=True)]


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
    def _init_box_head(cls, cfg, input_shape):
        parts = super()._init_box_head(cfg, input_shape)
        parts["box_predictor"] = OneKindPredictor(cfg, parts["box_head"].output_shape)
        return parts

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
            classes=1 if head.CLS_AGNOSTIC_MASK else cfg.MODEL.ROI_HEADS.NUM_CLASSES,
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
