"""The network that has a second, closer look at each find, as torch trains it, its loss, and its files."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detection.publishing.hiding.check import GRAPH, SIZE, WEIGHTS
from scripts.networks import write_weights
from scripts.plates.network import compact_body

PREFIX = "check."
_BLOCKS, _CHANNELS, _STRIDE = 5, 112, 16  # of the body


class PlateCheck(nn.Module):
    """How much a window round a find looks like a plate, and the plate's corners.

    It begins as the first blocks of the compact detector's backbone, to stride 16; their batch norms keep their means.
    """

    def __init__(self, body: nn.Module, narrow: int = 48, hidden: int = 96):
        super().__init__()
        self.stem, self.bn = copy.deepcopy(body.conv_stem), copy.deepcopy(body.bn1)
        self.blocks = nn.Sequential(*(copy.deepcopy(body.blocks[number]) for number in range(_BLOCKS)))
        self.narrow = nn.Conv2d(_CHANNELS, narrow, 1)
        self.hidden = nn.Linear(narrow * (SIZE[0] // _STRIDE) * (SIZE[1] // _STRIDE), hidden)
        self.out = nn.Linear(hidden, 9)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def train(self, mode: bool = True) -> PlateCheck:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def logits(self, image: Tensor, dropout: float = 0.0) -> tuple[Tensor, Tensor]:
        """Logits N and corners Nx4x2, in widths of the window from its middle. image: as of `pixels_in`."""
        x = F.relu(self.narrow(self.blocks(self.bn(self.stem(image)))))
        x = F.dropout(F.relu(self.hidden(x.flatten(1))), dropout)
        out = self.out(x)
        return out[:, 0], out[:, 1:].view(-1, 4, 2) + PLAIN.to(out)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits, corners = self.logits(image)
        return torch.sigmoid(logits), corners


def _plain() -> Tensor:
    from detection.publishing.hiding.check import ROOM

    x, y = 0.5 / ROOM, 0.13 / ROOM
    return torch.tensor([[-x, -y], [x, -y], [x, y], [-x, y]])


PLAIN = _plain()  # a plate's corners where nothing is known of them


def losses(logits: Tensor, corners: Tensor, is_plate: Tensor, quads: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Of the answer, and of the corners of plates, which of a box are known only by their extent (`boxes`, bool N)."""
    answer = F.binary_cross_entropy_with_logits(logits, is_plate.float())
    if not is_plate.any():
        return answer, torch.zeros(())
    said, quads, boxes = corners[is_plate], quads[is_plate], boxes[is_plate]
    size = (quads.amax(1) - quads.amin(1)).clamp(min=0.02)

    def apart(one: Tensor, other: Tensor, unit: Tensor) -> Tensor:
        return F.smooth_l1_loss(one / unit, other / unit, reduction="none", beta=0.1).flatten(1).sum(1)

    each = apart(said, quads, size[:, None])
    extent = apart(said.amin(1), quads.amin(1), size) + apart(said.amax(1), quads.amax(1), size)
    return answer, torch.where(boxes, 2 * extent + 0.1 * each, each).mean()


def new_check() -> PlateCheck:
    return PlateCheck(compact_body()[0])


def write_check(net: PlateCheck, folder: Path) -> None:
    """Writes the weights in 8 bits, and the graph without weights."""
    from detection.detectors.onnx.writer import names_in_file, write_network

    net = net.eval()
    own = write_weights(net, PREFIX, folder / WEIGHTS, "carclf-plate-check-1")
    image = {"image": torch.zeros(2, 3, *SIZE)}
    names = names_in_file(net, own.items())
    write_network(net, image, ["plate", "corners"], {"image": {0: torch.export.Dim.AUTO}}, folder / GRAPH, names)


def pixels_in(windows: list[np.ndarray]) -> Tensor:
    """RGB uint8 HxWx3 each, as the network takes them."""
    image = torch.from_numpy(np.stack(windows)).permute(0, 3, 1, 2).float()
    return ((image - 127.5) / 127.5).contiguous(memory_format=torch.channels_last)
