"""The compact detector's backbone: a timm EfficientNet-Lite0 with a feature pyramid, registered in Detectron2."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import timm
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from detection.common.networks.weights import imagenet_state

if TYPE_CHECKING:
    from timm.models import FeatureInfo


class TimmStages(Backbone):
    """Feature maps of a timm model as Detectron2 features `c1` to `c5` (strides 2, 4, 8, 16, 32).

    BatchNorm is frozen, since detection batches are too small for its statistics; so is the stem, whose edge and
    colour filters gain nothing from a few thousand photos.
    """

    def __init__(self, name: str, imagenet: bool):
        super().__init__()
        self.body: Any = timm.create_model(name, features_only=True, out_indices=(0, 1, 2, 3, 4), pretrained=False)
        if imagenet:
            own = self.body.state_dict()
            self.body.load_state_dict(
                {key: value for key, value in imagenet_state("tf_efficientnet_lite0").items() if key in own}
            )
        names = [f"c{level}" for level in (1, 2, 3, 4, 5)]
        self._out_features = names
        info = cast("FeatureInfo", self.body.feature_info)  # of a network made with `features_only`
        self._out_feature_channels = dict(zip(names, info.channels(), strict=True))
        self._out_feature_strides = dict(zip(names, info.reduction(), strict=True))
        self._freeze()

    def _freeze(self) -> None:
        frozen = [module for module in self.body.modules() if isinstance(module, nn.BatchNorm2d)]
        for module in [*frozen, self.body.conv_stem]:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad = False

    def train(self, mode: bool = True):
        super().train(mode)
        # train() would set the frozen statistics moving again.
        for module in self.body.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def fold(self) -> None:
        """For inference only: works the frozen BatchNorms into the convolutions before them."""
        for parent in list(self.body.modules()):
            for (name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, BatchNormAct2d):
                    setattr(parent, name, fuse_conv_bn_eval(conv.eval(), norm.eval()))
                    setattr(parent, norm_name, norm.act)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """x: float Nx3xHxW, H and W multiples of 32."""
        x = x.contiguous(memory_format=torch.channels_last)
        return OrderedDict(zip(self._out_features, self.body(x), strict=True))

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {
            name: ShapeSpec(channels=self._out_feature_channels[name], stride=self._out_feature_strides[name])
            for name in self._out_features
        }


class DetailFPN(FPN):
    """A feature pyramid that passes on what fine masks need beside `p2` to `p6`.

    `c1` is the backbone's own stride 2. `p2` is left as the sum of the lateral and the top-down path: its smoothing
    convolution would cost as much as all other levels together, and the mask head, its only reader, has its own.
    """

    def __init__(self, **settings):
        super().__init__(**settings)
        self.output_convs[-1] = None
        del self.fpn_output2
        self._out_features.append("c1")
        self._out_feature_strides["c1"] = 2
        self._out_feature_channels["c1"] = self.bottom_up.output_shape()["c1"].channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """x: float Nx3xHxW, H and W multiples of 32."""
        stages = self.bottom_up(x)
        pyramid: list[Tensor] = []
        merged: Tensor | None = None
        for name, lateral, output in zip(
            reversed(self.in_features), self.lateral_convs, self.output_convs, strict=True
        ):
            own = lateral(stages[name])
            if merged is not None:
                own = own + functional.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = own
            pyramid.insert(0, merged if output is None else output(merged))
        pyramid += self.top_block(pyramid[-1])
        return dict(zip(self._out_features, [*pyramid, stages["c1"]], strict=True))


@BACKBONE_REGISTRY.register()
def build_timm_fpn_backbone(cfg, input_shape: ShapeSpec | None = None) -> DetailFPN:
    """Registered in Detectron2 under this name; reads `cfg.MODEL.TIMM` and `cfg.MODEL.FPN`."""
    return DetailFPN(
        bottom_up=TimmStages(cfg.MODEL.TIMM.NAME, cfg.MODEL.TIMM.IMAGENET),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
