"""The proposals of Detectron2's RPN at a lower cost: anchors are kept, and only the best boxes are computed."""

from __future__ import annotations

from types import MethodType
from typing import Any

from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.proposal_generator.proposal_utils import find_top_rpn_proposals
from detectron2.modeling.proposal_generator.rpn import RPN
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from detection.common.networks.device import replace_forward

# Shapes of photos whose anchors are kept; at 800x1333 a set of anchors is 4 MB.
_KEPT_SHAPES = 16


def speed_up_proposals(model: nn.Module) -> None:
    """Gives the RPN of `model`, if it has a plain one, cheaper steps with the same results. For inference."""
    rpn: Any = getattr(model, "proposal_generator", None)
    if type(rpn) is not RPN:
        return
    rpn.predict_proposals = MethodType(_predict, rpn)
    if type(rpn.anchor_generator) is DefaultAnchorGenerator:
        rpn.anchor_generator.kept = {}
        replace_forward(rpn.anchor_generator, _anchors)


def _anchors(self: DefaultAnchorGenerator, features: list[Tensor]) -> list[Boxes]:
    shape = tuple(feature.shape[-2:] for feature in features)
    if shape not in self.kept:
        if len(self.kept) >= _KEPT_SHAPES:
            self.kept.pop(next(iter(self.kept)))
        self.kept[shape] = [Boxes(one) for one in self._grid_anchors([list(sides) for sides in shape])]
    return self.kept[shape]


def _predict(
    self: RPN,
    anchors: list[Boxes],
    logits: list[Tensor],
    deltas: list[Tensor],
    image_sizes: list[tuple[int, int]],
) -> list[Instances]:
    """In place of `RPN.predict_proposals`, which computes the boxes of all anchors before it takes the best.

    logits: NxA of each level; deltas: NxAx4 of each level. Detectron2 sorts all anchors of a level, too.
    """
    most = self.pre_nms_topk[self.training]
    best_boxes, best_logits = [], []
    for boxes, level_logits, level_deltas in zip(anchors, logits, deltas, strict=True):
        values, index = level_logits.float().topk(min(most, level_logits.shape[1]), dim=1)
        chosen = level_deltas.gather(1, index[..., None].expand(-1, -1, 4))
        decoded = self.box2box_transform.apply_deltas(chosen.reshape(-1, 4), boxes.tensor[index.reshape(-1)])
        best_boxes.append(decoded.view(*index.shape, 4))
        best_logits.append(values)
    return find_top_rpn_proposals(
        best_boxes, best_logits, image_sizes, self.nms_thresh, most, self.post_nms_topk[self.training],
        self.min_box_size, self.training,
    )  # fmt: skip
