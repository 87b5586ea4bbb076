"""A classifier's network as an ONNX file, for `carclf.classifier.onnx.classifier`."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from carclf.classifier.info import ModelInfo, pair
from carclf.classifier.network import CarNet, Ensemble
from carclf.classifier.onnx.folder import LOGITS, VECTORS
from carclf.classifier.preprocessing import normalise
from detection.detectors.onnx.writer import names_in_file, write_network

_MOST = 1024  # crops in a batch


class _Network(nn.Module):
    """Crops as they are, with the normalisation inside: a quarter of the bytes to pass, and nothing to get wrong."""

    def __init__(self, net: CarNet | Ensemble, info: ModelInfo):
        super().__init__()
        self.net, self.mean, self.std = net, info.mean, info.std

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images: RGB uint8 [N, H, W, 3]. Returns logits, float32 [N, C], and vectors, float32 [N, F]."""
        logits, vectors = self.net.with_vectors(normalise(images.permute(0, 3, 1, 2), self.mean, self.std))
        return logits.float(), vectors


def export_classifier(net: CarNet | Ensemble, info: ModelInfo, path: Path, weights: bool = True) -> None:
    """Writes the network (one, or an ensemble; in eval) for batches of any size of crops of `info.image_size`.

    weights: false writes the graph alone, which takes them by their names in the classifier's file.
    """
    plain = copy.deepcopy(net).to("cpu").to(memory_format=torch.contiguous_format).eval()
    height, width = pair(info.image_size)
    images = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    shapes: dict[str, dict[int, object]] = {"images": {0: torch.export.Dim("batch", min=1, max=_MOST)}}
    whole = _Network(plain, info)
    names = None if weights else names_in_file(whole, plain.state_dict(keep_vars=True).items())
    write_network(whole, {"images": images}, [LOGITS, VECTORS], shapes, path, names)
