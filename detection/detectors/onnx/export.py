"""The compact detector as three networks in ONNX, for `detection.detectors.onnx.detector`, and the car check."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from detection.common.files import write_json
from detection.common.networks.imagenet import imagenet_arrays
from detection.common.networks.weights import read_safetensors
from detection.detectors.check.car_check import ARCHITECTURE, SIDE, CarCheck, normalise
from detection.detectors.check.imagenet import CLASS_NAMES
from detection.detectors.compact.files import bundled_evidence, read_details
from detection.detectors.compact.weights import build_compact
from detection.detectors.mask_rcnn import MaskRcnnDetector
from detection.detectors.onnx.folder import (
    BOXES,
    CHECK,
    FEATURES,
    MASKS,
    NETWORKS,
    DetectorFacts,
    DetectorNetworks,
    EvidenceFacts,
)
from detection.detectors.onnx.writer import names_in_file, write_network

if TYPE_CHECKING:
    from detectron2.layers import ROIAlign
    from detectron2.modeling import GeneralizedRCNN, ROIHeads

_DYNAMIC = torch.export.Dim.AUTO
# Names in the file of weights, with the very tensors of a network; None where the weights are written, too.
Stored = Collection[tuple[str, Tensor]] | None


def export_detector(detector: MaskRcnnDetector, folder: Path) -> DetectorFacts:
    """Writes its three networks, and the one that checks what it found, into an existing folder.

    Returns what is to be known beside them. detector: the compact one, as `load_as_trained` gives it: in float32, not
    yet `speed_up`.
    """
    settings = detector.settings
    networks = _write_networks(detector.model, folder, names=False)
    evidence = bundled_evidence(settings.fingerprint)
    _write_check(folder / CHECK, names=False)
    return DetectorFacts(
        **networks.model_dump(),
        name=settings.name,
        fingerprint=settings.fingerprint,
        kinds=tuple(settings.kinds[number] for number in sorted(settings.kinds)),
        short_side=settings.short_side,
        long_side=settings.long_side,
        score_threshold=settings.score_threshold,
        check_names=CLASS_NAMES,
        evidence=None if evidence is None else EvidenceFacts(**evidence.facts()),
    )


def write_graphs(weights: Path, folder: Path) -> None:
    """Writes the graphs of the compact detector's networks and of the car check, without weights, and what stands
    beside them. weights: of the detector."""
    tensors, metadata = read_safetensors(weights)
    networks = _write_networks(build_compact(tensors, read_details(weights, metadata), weights), folder, names=True)
    write_json(folder / NETWORKS, networks.model_dump(mode="json"))
    _write_check(folder / CHECK, names=True)


def _write_networks(model: GeneralizedRCNN, folder: Path, names: bool) -> DetectorNetworks:
    """names: writes graphs, which take the weights by their names in `model`."""
    model = copy.deepcopy(model).to("cpu", memory_format=torch.contiguous_format).eval()
    pad_for_even_sides(model)
    rpn, heads = model.proposal_generator, model.roi_heads
    # What the runtime takes for granted; the compact detector is built so.
    assert list(rpn.box2box_transform.weights) == [1.0] * 4 and rpn.anchor_generator.offset == 0
    stored = model.state_dict(keep_vars=True).items() if names else None
    _write_features(model, folder / FEATURES, stored)
    _write_boxes(model, folder / BOXES, stored)
    _write_masks(model, folder / MASKS, stored)
    pooler = heads.box_pooler
    return DetectorNetworks(
        mask_scores=True,  # the compact detector's; see `DetectorSettings`
        divisor=model.backbone.size_divisibility,
        mean=tuple(model.pixel_mean.flatten().tolist()),
        std=tuple(model.pixel_std.flatten().tolist()),
        anchors=tuple(tuple(map(tuple, level.tolist())) for level in rpn.anchor_generator.cell_anchors),
        anchor_strides=tuple(rpn.anchor_generator.strides),
        proposals_before=rpn.pre_nms_topk[False],
        proposals_after=rpn.post_nms_topk[False],
        proposal_overlap=rpn.nms_thresh,
        box_levels=(pooler.min_level, pooler.max_level),
        canonical_size=pooler.canonical_box_size,
        canonical_level=pooler.canonical_level,
        box_weights=tuple(heads.box_predictor.box2box_transform.weights),
        box_overlap=heads.box_predictor.test_nms_thresh,
        most_vehicles=heads.box_predictor.test_topk_per_image,
        mask_margin=heads.mask_margin,
    )


def _write(net: nn.Module, inputs: dict[str, Tensor], outputs: Sequence[str], shapes: dict, path: Path, stored: Stored):
    write_network(net, inputs, outputs, shapes, path, None if stored is None else names_in_file(net, stored))


class _Features(nn.Module):
    """Backbone, pyramid and the proposals' head."""

    def __init__(self, model: GeneralizedRCNN):
        super().__init__()
        self.backbone, self.head = model.backbone, model.proposal_generator.rpn_head
        self.levels = list(model.proposal_generator.in_features)
        self.kept = sorted({*model.roi_heads.box_in_features, *model.roi_heads.mask_in_features})

    @property
    def names(self) -> list[str]:
        levels = range(len(self.levels))
        return [*self.kept, *(f"objectness{level}" for level in levels), *(f"deltas{level}" for level in levels)]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """image: normalised, float 1x3xHxW, H and W multiples of 32."""
        features = self.backbone(image)
        logits, deltas = self.head([features[name] for name in self.levels])
        return *(features[name] for name in self.kept), *logits, *deltas


class _Boxes(nn.Module):
    """Box head: the boxes of each level are pooled from that level's features, and answered one level after another."""

    def __init__(self, heads: ROIHeads):
        super().__init__()
        self.head, self.predictor = heads.box_head, heads.box_predictor
        self.poolers = [_pooling(level) for level in heads.box_pooler.level_poolers]

    def forward(
        self, p3: Tensor, p4: Tensor, p5: Tensor, boxes3: Tensor, boxes4: Tensor, boxes5: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Boxes: float Kx4. Returns scores [K, kinds + 1] and deltas [K, 4], or [K, 4 kinds]."""
        pairs = zip(((p3, boxes3), (p4, boxes4), (p5, boxes5)), self.poolers, strict=True)
        scores, deltas = self.predictor(self.head(torch.cat([_pool(*pair, pooling) for pair, pooling in pairs])))
        return scores.softmax(dim=-1), deltas


class _Masks(nn.Module):
    """Mask head."""

    def __init__(self, heads: ROIHeads):
        super().__init__()
        self.head = heads.mask_head
        self.poolers = [_pooling(pooler.level_poolers[0]) for pooler in heads.mask_pooler]

    def forward(self, p2: Tensor, c1: Tensor, p4: Tensor, boxes: Tensor) -> Tensor:
        """boxes: float Kx4. Returns probabilities [K, 1, M, M], or [K, kinds, M, M]."""
        pooled = [_pool(one, boxes, pooling) for one, pooling in zip((p2, c1, p4), self.poolers, strict=True)]
        _, fine = self.head.layers(*pooled)
        return fine.sigmoid()


def _write_features(model: GeneralizedRCNN, path: Path, stored: Stored) -> None:
    net = _Features(model)
    divisor = model.backbone.size_divisibility
    down, across = torch.export.Dim("down", min=1, max=64), torch.export.Dim("across", min=1, max=64)
    image = torch.zeros(2, 3, 5 * divisor, 7 * divisor)
    shapes = {"image": {0: torch.export.Dim("batch", min=1, max=64), 2: divisor * down, 3: divisor * across}}
    _write(net, {"image": image}, net.names, shapes, path, stored)


def _write_boxes(model: GeneralizedRCNN, path: Path, stored: Stored) -> None:
    features = _example_features(model)
    inputs = {name: features[name] for name in ("p3", "p4", "p5")}
    inputs |= {f"boxes{level}": _example_boxes() for level in (3, 4, 5)}
    _write(_Boxes(model.roi_heads), inputs, ["scores", "deltas"], _changing(inputs), path, stored)


def _write_masks(model: GeneralizedRCNN, path: Path, stored: Stored) -> None:
    features = _example_features(model)
    inputs = {name: features[name] for name in ("p2", "c1", "p4")} | {"boxes": _example_boxes()}
    _write(_Masks(model.roi_heads), inputs, ["masks"], _changing(inputs), path, stored)


class _Check(nn.Module):
    """Views as they are, with the normalisation inside."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, views: Tensor) -> Tensor:
        """views: RGB uint8 [N, 224, 224, 3]. Returns probabilities, float32 [N, 1000]."""
        return self.net(normalise(views.permute(0, 3, 1, 2))).softmax(dim=1)


def _write_check(path: Path, names: bool) -> None:
    """names: writes the graph, which takes the weights by their names in the file of `imagenet_arrays`."""
    net = CarCheck().net.to(memory_format=torch.contiguous_format)
    pad_for_even_sides(net)
    views = torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8)
    # By position, as `imagenet_state` fills the network.
    tensors = net.state_dict(keep_vars=True).values()
    stored = list(zip(imagenet_arrays(ARCHITECTURE), tensors, strict=True)) if names else None
    _write(_Check(net), {"views": views}, ["probabilities"], {"views": {0: _DYNAMIC}}, path, stored)


@torch.no_grad()
def _example_features(model: GeneralizedRCNN) -> dict[str, Tensor]:
    divisor = model.backbone.size_divisibility
    return model.backbone(torch.zeros(1, 3, 5 * divisor, 7 * divisor))


def _example_boxes() -> Tensor:
    return torch.tensor([[10.0, 10.0, 100.0, 90.0]]).repeat(3, 1)


def _changing(inputs: dict[str, Tensor]) -> dict[str, dict[int, object]]:
    return {name: {0: _DYNAMIC} if "boxes" in name else {2: _DYNAMIC, 3: _DYNAMIC} for name in inputs}


def _pooling(level: ROIAlign) -> tuple:
    """Output size, scale, samples and alignment of a Detectron2 `ROIAlign`."""
    return level.output_size, level.spatial_scale, level.sampling_ratio, level.aligned


def _pool(features: Tensor, boxes: Tensor, pooling: tuple) -> Tensor:
    numbered = torch.cat([boxes.new_zeros(boxes.shape[0], 1), boxes], dim=1)  # all are of the one photo
    return roi_align(features, numbered, *pooling)


def pad_for_even_sides(model: nn.Module) -> None:
    """timm works out the padding of some convolutions from the size of the input; ours are multiples of the stride."""
    conv: Any  # a convolution of timm, and what is noted on it here
    for conv in model.modules():
        if type(conv).__name__ == "Conv2dSame":
            padding = [
                side
                for kernel, stride, dilation in zip(
                    conv.kernel_size[::-1], conv.stride[::-1], conv.dilation[::-1], strict=True
                )
                for total in (max(0, dilation * (kernel - 1) + 1 - stride),)
                for side in (total // 2, total - total // 2)
            ]
            conv.even_padding = padding
            conv.forward = MethodType(_even_forward, conv)


def _even_forward(self: Any, x: Tensor) -> Tensor:
    """self: a `Conv2dSame` that has its `even_padding`."""
    padded = F.pad(x, self.even_padding)
    return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
