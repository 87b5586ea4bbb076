"""What the small networks that scripts train are built of, and how their weights are written."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn


class Conv(nn.Module):
    """A 3x3 convolution, batch norm and ReLU; what it is given is added where shapes are alike."""

    def __init__(self, given: int, made: int, stride: int = 1, dilation: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(given, made, 3, stride, dilation, dilation, bias=False)
        self.bn = nn.BatchNorm2d(made)
        self.adds = given == made and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn(self.conv(x)))
        return x + y if self.adds else y


def write_weights(net: nn.Module, prefix: str, path: Path, kind: str) -> dict[str, Tensor]:
    """Writes a network's weights as safetensors, wide matrices in 8 bits but for those of one row.

    prefix: of their names in the file. kind: the format that the file says. Returns what was written, by name.
    """
    from detection.common.networks.weights import is_wide_matrix, write_safetensors

    own = {
        prefix + name: tensor
        for name, tensor in net.state_dict(keep_vars=True).items()
        if not name.endswith("num_batches_tracked")
    }
    write_safetensors(
        path,
        {name: tensor.detach() for name, tensor in own.items()},
        {"format": kind},
        eight_bits=lambda tensor: is_wide_matrix(tensor) and len(tensor) > 1,
    )
    return own
