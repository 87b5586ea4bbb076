"""Makes a Detectron2 model ready to be fast on its device, without changing what it finds."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from detection.common.networks.device import replace_forward
from detection.detectors.fast.fused import fold_norms, fuse_convolutions, use_bfloat16
from detection.detectors.fast.pooling import speed_up_pooling
from detection.detectors.fast.proposals import speed_up_proposals
from detection.detectors.fast.tuning import choose_for_cpu

if TYPE_CHECKING:
    from detectron2.modeling import GeneralizedRCNN, ROIHeads

# The layers that end a head stay in float32: rounded scores would be equal and leave the order of boxes to chance.
_LAST = ("objectness_logits", "anchor_deltas", "predictor")

# Photos of one shape have to be waited for, and boxes are handled one photo at a time anyway.
_LARGEST_BATCH = 32
# The rest is for photos with more boxes than those of the first batch.
_MEMORY_SHARE = 0.6

Precision = Literal["auto", "float32"]


def speed_up(model: GeneralizedRCNN, kinds: Collection[int], precision: Precision = "auto") -> str:
    """Prepares a GeneralizedRCNN for inference only, in place; returns the precision it now computes in.

    kinds: numbers of the classes that are asked for; of others no mask is computed, and they are left out.
    precision: `auto` takes bfloat16 on a CPU where the self-check of `choose_for_cpu` finds it faster, and float16 on
    a CUDA device with tensor cores; `float32` keeps to float32 and to what speeds that up.
    """
    model.eval()
    fold_norms(model)
    model.to(memory_format=torch.channels_last)
    speed_up_proposals(model)
    if hasattr(getattr(model, "roi_heads", None), "forward_with_given_boxes"):
        _keep_kinds(model.roi_heads, kinds)
    if model.device.type == "cuda":
        modern = torch.cuda.get_device_capability(model.device) >= (7, 0)
        return "float16" if precision == "auto" and modern else "float32"
    if model.device.type != "cpu":
        return "float32"
    choice = choose_for_cpu()
    speed_up_pooling(model)
    if choice.fused:
        fuse_convolutions(model)
    if precision == "auto" and choice.precision == "bf16":
        _use_bfloat16(model)
        return "bf16"
    return "float32"


def fitting_batch(device: torch.device, photos: int) -> int:
    """How many photos per batch fit on a CUDA device, by the peak memory of the first batch, which had `photos`."""
    free, _ = torch.cuda.mem_get_info(device)
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    taken = torch.cuda.max_memory_allocated(device) - torch.cuda.memory_allocated(device)
    return max(1, min(_LARGEST_BATCH, int(_MEMORY_SHARE * (free + idle) * photos / max(1, taken))))


def autocast(precision: str):
    """The context in which a model prepared by `speed_up` runs its batches."""
    return torch.autocast("cuda", torch.float16) if precision == "float16" else nullcontext()


def _keep_kinds(heads: ROIHeads, kinds: Collection[int]) -> None:
    """Drops boxes of other classes before their masks are computed."""
    wanted = torch.tensor(sorted(kinds))

    def forward_with_given_boxes(self: ROIHeads, features: dict[str, Tensor], instances: list) -> list:
        kept = [one[torch.isin(one.pred_classes, wanted.to(one.pred_classes.device))] for one in instances]
        return type(self).forward_with_given_boxes(self, features, kept)

    heads.forward_with_given_boxes = MethodType(forward_with_given_boxes, heads)


def _use_bfloat16(model: GeneralizedRCNN) -> None:
    """Where it pays and does no harm.

    Backbones of depthwise convolutions stay in float32: on 60 photos the compact detector's boxes moved by more than
    1 px in one photo of ten with its backbone in bfloat16, in one of twenty by more than 0.4 px with only the
    proposals' head in it, and by 0.3 px at most with the rest in it.
    """
    backbone, heads = model.backbone, getattr(model, "roi_heads", None)
    if hasattr(backbone, "bottom_up"):
        for child in backbone.children():
            if child is not backbone.bottom_up:
                use_bfloat16(child)
    for name in ("box_head", "mask_head"):
        head = getattr(heads, name, None)
        for one in head if isinstance(head, nn.ModuleList) else [head]:  # a cascade has several
            if isinstance(one, nn.Module):
                use_bfloat16(one, keep=_LAST)
                if name == "box_head":
                    replace_forward(one, _to_float32)
    if _takes_bfloat16(model):
        bottom = getattr(backbone, "bottom_up", backbone)
        use_bfloat16(bottom)
        replace_forward(bottom, _from_bfloat16)
        use_bfloat16(model.proposal_generator.rpn_head, keep=_LAST)


def _takes_bfloat16(model: GeneralizedRCNN) -> bool:
    """Whether all features may be in bfloat16: everything that reads them must be known to cast them."""
    from detectron2.modeling import GeneralizedRCNN, StandardROIHeads
    from detectron2.modeling.proposal_generator.rpn import RPN, StandardRPNHead

    rpn: Any = getattr(model, "proposal_generator", None)
    known = type(model) is GeneralizedRCNN and type(rpn) is RPN and isinstance(model.roi_heads, StandardROIHeads)
    if not known or type(rpn.rpn_head) is not StandardRPNHead:
        return False
    holders = [one for one in model.backbone.modules() if next(one.parameters(recurse=False), None) is not None]
    fused = all(hasattr(one, "fused_activation") for one in holders)
    return fused and not any(one.groups > 1 and one.groups == one.in_channels for one in holders)


def _from_bfloat16(self: nn.Module, x: Tensor):
    """All features stay in bfloat16 between the backbone's layers, which halves what has to be moved."""
    return type(self).forward(self, x.to(torch.bfloat16))


def _to_float32(self: nn.Module, x: Tensor) -> Tensor:
    return type(self).forward(self, x).float()
