"""ROIAlign on CPUs as weighted sums of whole feature rows, several times as fast as the operator of torchvision."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.layers import ROIAlign
from detectron2.modeling.poolers import ROIPooler, assign_boxes_to_levels, convert_boxes_to_pooler_format
from detectron2.structures import Boxes
from torch import Tensor, nn

from detection.common.networks.device import replace_forward


def speed_up_pooling(model: nn.Module) -> None:
    """Makes the ROI poolers of `model` use `roi_align`; results differ by rounding only. For inference on CPUs."""
    module: Any  # one of Detectron2's, which has no types
    for module in model.modules():
        if type(module) is ROIPooler and all(type(level) is ROIAlign for level in module.level_poolers):
            replace_forward(module, _pool)


def roi_align(features: Tensor, boxes: Tensor, side: tuple[int, int], scale: float, samples: int, aligned: bool):
    """What `torchvision.ops.roi_align` computes, as float KxCxhxw in channels_last.

    features: float or bfloat16 NxCxHxW, best in channels_last. boxes: float Kx5 (photo's number in the batch, xyxy
    in pixels). side: (h, w) of the output. scale: feature cells per pixel. samples: points along each side of an output
    cell, 0 for as many as there are feature cells in it. aligned: whether pixel centres lie at .5.

    torchvision reads one number at a time, photo by photo in one thread. Here an output cell is a weighted sum of
    feature rows of C numbers, which torch computes with vector instructions and in all threads.
    """
    _, channels, height, width = features.shape
    shift = 0.5 if aligned else 0.0
    low, high = boxes[:, 1:3] * scale - shift, boxes[:, 3:5] * scale - shift
    extent = high - low if aligned else (high - low).clamp(min=1.0)
    cell = extent / torch.tensor([side[1], side[0]], dtype=extent.dtype)
    rows = features.permute(0, 2, 3, 1).reshape(-1, channels)
    first = boxes[:, 0].long() * (height * width)
    out = rows.new_empty(len(boxes), side[0], side[1], channels)
    if samples > 0:
        groups = [((samples, samples), None)]
    else:
        counts = cell.ceil().long().clamp(min=1)
        kinds, members = counts.unique(dim=0, return_inverse=True)
        groups = [(tuple(kind), (members == index).nonzero()[:, 0]) for index, kind in enumerate(kinds.tolist())]
    for (across, down), members in groups:
        part = slice(None) if members is None else members
        y, y_weight = _taps(low[part, 1], cell[part, 1], side[0], down, height)
        x, x_weight = _taps(low[part, 0], cell[part, 0], side[1], across, width)
        index = first[part, None, None, None, None] + y[:, :, None, :, None] * width + x[:, None, :, None, :]
        weight = y_weight[:, :, None, :, None] * x_weight[:, None, :, None, :]
        taps = index.shape[3] * index.shape[4]
        summed = F.embedding_bag(
            index.reshape(-1, taps), rows, mode="sum", per_sample_weights=weight.reshape(-1, taps).to(rows.dtype)
        )
        out[part] = summed.view(-1, *side, channels)
    return out.permute(0, 3, 1, 2)


def _taps(start: Tensor, cell: Tensor, count: int, samples: int, limit: int) -> tuple[Tensor, Tensor]:
    """Along one axis: which feature cells each output cell reads, and their weights; both Kxcountx(2 samples)."""
    steps = (torch.arange(count * samples, dtype=start.dtype) + 0.5) / samples
    position = start[:, None] + steps * cell[:, None]
    outside = (position < -1) | (position > limit)
    position = position.clamp(0, limit - 1)
    lower = position.floor()
    fraction = position - lower
    index = torch.stack([lower, (lower + 1).clamp(max=limit - 1)], dim=-1).long()
    weight = torch.stack([1 - fraction, fraction], dim=-1) / samples
    weight = weight.masked_fill(outside[..., None], 0.0)
    return index.view(-1, count, 2 * samples), weight.view(-1, count, 2 * samples)


def _pool(self: ROIPooler, x: list[Tensor], box_lists: list[Boxes]) -> Tensor:
    """In place of `ROIPooler.forward`."""
    boxes = convert_boxes_to_pooler_format(box_lists)
    if not len(boxes):
        return x[0].new_zeros(0, x[0].shape[1], *self.output_size)
    if len(x) == 1:
        return _level(self.level_poolers[0], x[0], boxes)
    levels = assign_boxes_to_levels(
        box_lists, self.min_level, self.max_level, self.canonical_box_size, self.canonical_level
    )
    out = x[0].new_empty(len(boxes), *self.output_size, x[0].shape[1]).permute(0, 3, 1, 2)
    for number, (pooler, features) in enumerate(zip(self.level_poolers, x, strict=True)):
        members = (levels == number).nonzero()[:, 0]
        if len(members):
            out[members] = _level(pooler, features, boxes[members])
    return out


def _level(pooler: ROIAlign, features: Tensor, boxes: Tensor) -> Tensor:
    return roi_align(features, boxes, pooler.output_size, pooler.spatial_scale, pooler.sampling_ratio, pooler.aligned)
