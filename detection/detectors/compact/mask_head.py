"""The mask head of the compact detector: a coarse mask of the whole vehicle, then its edge from finer features."""

from __future__ import annotations

import torch
from detectron2.modeling.roi_heads.mask_head import mask_rcnn_inference, mask_rcnn_loss
from detectron2.structures import Instances
from torch import Tensor, nn
from torch.nn import functional


class DetailMaskHead(nn.Module):
    """Masks of twice the cells of its coarse features, with the finer ones correcting the upscaled coarse mask.

    The convolutions of the coarse part are dilated, all but the first: a cell sees as far as it would in a mask of
    half the side, which is what tells a car's own glass and wheels from what is behind it. Half-way they are told what
    a few cells of coarse features, which know their place in the box, make of the whole: that a car in the corner is
    another one, though it looks like a car.
    """

    def __init__(
        self,
        channels: int,
        detail_channels: int,
        context_channels: int,
        *,
        convs: int,
        width: int,
        detail_width: int,
        context_side: int,
        classes: int,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(convs):
            dilation = 1 if index == 0 else 2
            layers += [nn.Conv2d(channels if index == 0 else width, width, 3, padding=dilation, dilation=dilation)]
            layers += [nn.ReLU(inplace=True)]
        self.coarse = nn.Sequential(*layers)
        self.half_way = 2 * (convs // 2)
        self.place = nn.Parameter(torch.zeros(1, width, context_side, context_side))
        self.context = nn.Conv2d(context_channels, width, 3, padding=1)
        self.wide_context = nn.Conv2d(width, width, 3, padding=2, dilation=2)
        self.advice = nn.Conv2d(width, width, 1)
        self.coarse_logits = nn.Conv2d(width, classes, 1)
        self.narrow = nn.Conv2d(width, detail_width, 1)
        self.detail = nn.Sequential(
            nn.Conv2d(detail_width + detail_channels, detail_width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(detail_width, detail_width, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.correction = nn.Conv2d(detail_width, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # At first the fine mask is the coarse one, and the context is silent.
        nn.init.normal_(self.coarse_logits.weight, std=0.001)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.advice.weight)

    def layers(self, features: Tensor, details: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Coarse logits NxKxMxM and fine logits NxKx2Mx2M.

        features: NxCxMxM. details: NxDx2Mx2M, finer ones. context: NxExSxS, coarse ones.
        """
        context = functional.relu(self.context(context) + self.place)
        advice = self.advice(functional.relu(self.wide_context(context)))
        features = self.coarse[: self.half_way](features)
        features = features + functional.interpolate(
            advice, size=features.shape[2:], mode="bilinear", align_corners=False
        )
        features = self.coarse[self.half_way :](features)
        coarse = self.coarse_logits(features)
        narrow = functional.interpolate(self.narrow(features), scale_factor=2.0, mode="nearest")
        correction = self.correction(self.detail(torch.cat([narrow, details.to(narrow.dtype)], dim=1)))
        fine = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False) + correction
        return coarse, fine

    def forward(self, features: Tensor, details: Tensor, context: Tensor, instances: list[Instances]):
        """Losses in training; else the instances, each with `pred_masks` (probabilities, Kx1x2Mx2M)."""
        coarse, fine = self.layers(features, details, context)
        if self.training:
            return {
                "loss_mask": mask_rcnn_loss(fine.float(), instances),
                "loss_mask_coarse": 0.5 * mask_rcnn_loss(coarse.float(), instances),
            }
        mask_rcnn_inference(fine, instances)
        return instances
