"""The network that corrects the guided edge, as torch trains it, and its loss."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detection.cutout.edge_network import GRAPH, STRIDE, WEIGHTS
from scripts.networks import Conv, write_weights

PREFIX = "edge."
CHANNELS = 5  # red, green, blue, mask, guided alpha
BLOCK = 2  # sides of the squares of pixels that become channels: convolutions at full size would take most of the time


class EdgeNet(nn.Module):
    """From a picture, a mask and the guided alpha to a better alpha: a U-Net at strides 2, 4 and 8. It gives what is to
    be added to the guided alpha; at first that is nothing."""

    def __init__(self, fine: int = 24, middle: int = 48, coarse: int = 64):
        super().__init__()
        self.first = nn.Sequential(Conv(CHANNELS * BLOCK**2, fine), Conv(fine, fine))
        self.second = nn.Sequential(Conv(fine, middle, 2), Conv(middle, middle))
        self.third = nn.Sequential(Conv(middle, coarse, 2), *(Conv(coarse, coarse, dilation=d) for d in (1, 2, 1)))
        self.to_middle = nn.Conv2d(coarse, middle, 1)
        self.up_middle = Conv(middle, middle)
        self.to_fine = nn.Conv2d(middle, fine, 1)
        self.up_fine = nn.Sequential(Conv(fine, fine), Conv(fine, fine))
        self.last = nn.Conv2d(fine, BLOCK**2, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, image: Tensor) -> Tensor:
        """image: Nx5xHxW, all in 0..1, H and W multiples of 8. Alpha Nx1xHxW, which may lie beyond 0..1."""
        first = self.first(F.pixel_unshuffle(image * 2 - 1, BLOCK))
        second = self.second(first)
        x = self.up_middle(second + _twice(self.to_middle(self.third(second))))
        x = self.up_fine(first + _twice(self.to_fine(x)))
        return image[:, 4:] + F.pixel_shuffle(self.last(x), BLOCK)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def loss(found: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Mean absolute error of alpha. What lies beyond 0 or 1 on the right side is no error: it will be cut off."""
    right = ((wanted <= 0) & (found < 0)) | ((wanted >= 1) & (found > 1))
    return (weights * (found - wanted).abs() * ~right).sum() / weights.sum().clamp(min=1)


def write(net: EdgeNet, folder: Path) -> None:
    """Writes the weights, wide matrices in 8 bits, and the graph of the network without weights."""
    from detection.detectors.onnx.writer import names_in_file, write_network

    net = net.to(memory_format=torch.contiguous_format).eval()
    own = write_weights(net, PREFIX, folder / WEIGHTS, "carclf-edge-1")
    sides = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    image = {"image": torch.zeros(1, CHANNELS, 24 * STRIDE, 32 * STRIDE)}
    write_network(net, image, ["alpha"], {"image": sides}, folder / GRAPH, names_in_file(net, own.items()))
