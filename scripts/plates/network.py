"""The network that finds number plates, as torch trains it, its loss, and its files."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detection.publishing.hiding.plates import GRAPH, HEIGHT, STRIDE, WEIGHTS, WIDTH
from scripts.networks import Conv, write_weights

ROWS, COLUMNS = HEIGHT // STRIDE, WIDTH // STRIDE
_LEAST_WIDTH, _LEAST_HEIGHT = 8, 2.2  # pixels of a window in which a plate is learnt
_LEAST_SHOWN = 0.35  # part of a plate, across and down, that must lie in the window
PREFIX = "plates."


class PlateHead(nn.Module):
    """From the backbone's features at strides 4 (24 channels) and 8 (40): how much each cell of 8 pixels is the middle
    of a plate, and the plate's four corners, in cells from the cell's middle."""

    def __init__(self, fine: int = 48, coarse: int = 64):
        super().__init__()
        self.c2 = nn.Conv2d(24, fine, 2, 2, bias=False)
        self.c3 = nn.Conv2d(40, fine, 1, bias=False)
        self.bn = nn.BatchNorm2d(fine)
        self.a = Conv(fine, fine)
        self.down = Conv(fine, coarse, 2)
        self.b = nn.Sequential(*(Conv(coarse, coarse, dilation=step) for step in (1, 2, 3, 1)))
        self.up = nn.Conv2d(coarse, fine, 1)
        self.c = nn.Sequential(Conv(fine, fine), Conv(fine, fine))
        self.heat = nn.Conv2d(fine, 1, 1)
        self.corner = nn.Conv2d(fine, 8, 1)
        nn.init.constant_(self.heat.bias, -4.0)

    def forward(self, c2: Tensor, c3: Tensor) -> tuple[Tensor, Tensor]:
        """Logits Nx1xHxW and corners Nx8xHxW."""
        x = self.a(F.relu(self.bn(self.c2(c2) + self.c3(c3))))
        wide = self.up(self.b(self.down(x)))
        x = self.c(x + F.interpolate(wide, scale_factor=2.0, mode="bilinear", align_corners=False))
        return self.heat(x), self.corner(x)


class Whole(nn.Module):
    """The first blocks of the compact detector's backbone, and the head."""

    def __init__(self, body: nn.Module, head: PlateHead):
        super().__init__()
        self.body, self.head = body, head

    def features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        body = self.body
        c2 = body.blocks[1](body.blocks[0](body.bn1(body.conv_stem(image))))
        return c2, body.blocks[2](c2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """image: Nx3xHxW, (RGB - 127.5) / 127.5, H and W multiples of 16."""
        heat, corners = self.head(*self.features(image))
        return torch.sigmoid(heat), corners


def targets(quads: Sequence[tuple[str, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, list]:
    """Heat (float32 HxW), whether each cell without a plate counts (float32), and for each cell that is to know
    corners: row, column, corners in cells, whether they are only a box.

    quads: kind (quad, box, unsure) and corners in pixels of the window.
    """
    heat = np.zeros((ROWS, COLUMNS), np.float32)
    counts = np.ones((ROWS, COLUMNS), np.float32)
    cells: list = []
    down, across = np.mgrid[0:ROWS, 0:COLUMNS] + 0.5
    for kind, corners in quads:
        quad = np.asarray(corners, np.float32) / STRIDE
        (x1, y1), (x2, y2) = quad.min(axis=0), quad.max(axis=0)
        wide, high = np.linalg.norm(quad[1] - quad[0]), np.linalg.norm(quad[3] - quad[0])
        left, right, top, bottom = max(x1, 0), min(x2, COLUMNS), max(y1, 0), min(y2, ROWS)
        cut_off = right - left < _LEAST_SHOWN * (x2 - x1) or bottom - top < _LEAST_SHOWN * (y2 - y1)
        if kind == "unsure" or cut_off or wide * STRIDE < _LEAST_WIDTH or high * STRIDE < _LEAST_HEIGHT:
            counts[(across > x1 - 1) & (across < x2 + 1) & (down > y1 - 1) & (down < y2 + 1)] = 0
            continue
        x, y = (left + right) / 2, (top + bottom) / 2
        along = (quad[1] - quad[0]) / max(wide, 1e-3)
        dx, dy = across - x, down - y
        beside, above = dx * along[0] + dy * along[1], dy * along[0] - dx * along[1]
        spot = np.exp(-0.5 * ((beside / max(0.16 * wide, 0.55)) ** 2 + (above / max(0.2 * high, 0.5)) ** 2))
        spot[int(np.clip(y, 0, ROWS - 1)), int(np.clip(x, 0, COLUMNS - 1))] = 1
        heat = np.maximum(heat, spot.astype(np.float32))
        cells += [(row, column, quad, kind == "box") for row, column in zip(*np.where(spot > 0.55), strict=True)]
    return heat, counts, cells


def losses(logits: Tensor, corners: Tensor, wanted: Sequence[tuple]) -> tuple[Tensor, Tensor]:
    """Of the heat (focal) and of the corners, which of a box are known only by their extent. wanted: of `targets`."""
    found = torch.sigmoid(logits[:, 0]).clamp(1e-5, 1 - 1e-5)
    heat, counts = (torch.from_numpy(np.stack([one[part] for one in wanted])) for part in (0, 1))
    middle = heat > 0.999
    focal = -(middle * (1 - found) ** 2 * found.log()).sum()
    focal -= (~middle * counts * (1 - heat) ** 4 * found**2 * (1 - found).log()).sum()
    focal /= max(1, int(middle.sum()))
    cells = [(number, *cell) for number, one in enumerate(wanted) for cell in one[2]]
    if not cells:
        return focal, torch.zeros(())
    photo, row, column = (torch.tensor([int(cell[part]) for cell in cells]) for part in (0, 1, 2))
    quads = torch.from_numpy(np.stack([cell[3] for cell in cells]))
    boxes = torch.tensor([cell[4] for cell in cells])
    said = corners[photo, :, row, column].view(-1, 4, 2) + torch.stack([column + 0.5, row + 0.5], 1)[:, None]
    size = (quads.amax(1) - quads.amin(1)).clamp(min=0.6)

    def apart(one: Tensor, other: Tensor, unit: Tensor) -> Tensor:
        return F.smooth_l1_loss(one / unit, other / unit, reduction="none", beta=0.1).flatten(1).sum(1)

    each = apart(said, quads, size[:, None])
    extent = apart(said.amin(1), quads.amin(1), size) + apart(said.amax(1), quads.amax(1), size)
    return focal, torch.where(boxes, 2 * extent + 0.1 * each, each).mean()


def compact_body() -> tuple[nn.Module, dict[str, Tensor]]:
    """The bundled detector's backbone, and all of its tensors by name."""
    from detection.common.networks.weights import read_safetensors
    from detection.detectors.compact.files import compact_weights, read_details
    from detection.detectors.compact.weights import build_compact
    from detection.detectors.onnx.export import pad_for_even_sides

    weights = compact_weights()
    tensors, metadata = read_safetensors(weights)
    model = copy.deepcopy(build_compact(tensors, read_details(weights, metadata), weights))
    model = model.to("cpu", memory_format=torch.contiguous_format).eval()
    pad_for_even_sides(model)
    return model.backbone.bottom_up.body, model.state_dict(keep_vars=True)


def write(head: PlateHead, folder: Path) -> None:
    """Writes the head's weights in 8 bits, and the graph of the whole network without weights."""
    from detection.detectors.onnx.writer import names_in_file, write_network

    body, stored = compact_body()
    net = Whole(body, head.eval()).eval()
    own = write_weights(head, PREFIX, folder / WEIGHTS, "carclf-plates-1")
    sides = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    names = names_in_file(net, (stored | own).items())
    image = {"image": torch.zeros(1, 3, HEIGHT, WIDTH)}
    write_network(net, image, ["heat", "corners"], {"image": sides}, folder / GRAPH, names)
