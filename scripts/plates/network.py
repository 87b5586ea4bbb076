"""The network that finds number plates, as torch trains it, its loss, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detection.publishing.hiding.plates import GRAPH, HEIGHT, STRIDE, WEIGHTS, WIDTH

ROWS, COLUMNS = HEIGHT // STRIDE, WIDTH // STRIDE
_LEAST_WIDTH, _LEAST_HEIGHT = 8, 2.2  # pixels of a window in which a plate is learnt
_LEAST_SHOWN = 0.35  # part of a plate, across and down, that must lie in the window
_PREFIX = "plates."


class _Conv(nn.Module):
    """A convolution, its norm and ReLU; added to what comes in where that has the same shape."""

    def __init__(self, given: int, made: int, stride: int = 1, kernel: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(given, made, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(made)
        self.adds = given == made and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn(self.conv(x)))
        return x + y if self.adds else y


def _stage(given: int, made: int, more: int) -> nn.Sequential:
    return nn.Sequential(_Conv(given, made, 2), *(_Conv(made, made) for _ in range(more)))


class PlateNet(nn.Module):
    """Plain convolutions at strides 4 to 32 and back to 8. Of each cell of 8x8 pixels it says how much the cell is the
    middle of a plate, and where the plate's four corners are, in cells from the cell's middle."""

    def __init__(self, fine: int = 48, middle: int = 64, coarse: int = 96):
        super().__init__()
        self.stem = _Conv(3, 32, 4, 7)
        self.fine, self.middle, self.coarse = _stage(32, fine, 2), _stage(fine, middle, 2), _stage(middle, coarse, 3)
        self.from_coarse, self.from_middle = nn.Conv2d(coarse, middle, 1), nn.Conv2d(middle, fine, 1)
        self.join_middle, self.join_fine = _Conv(middle, middle), _Conv(fine, fine)
        self.heat, self.corner = nn.Conv2d(fine, 1, 1), nn.Conv2d(fine, 8, 1)
        nn.init.constant_(self.heat.bias, -4.0)

    def logits(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits Nx1xHxW and corners Nx8xHxW."""
        fine = self.fine(self.stem(image))
        middle = self.middle(fine)
        coarse = self.from_coarse(self.coarse(middle))
        middle = self.join_middle(middle + F.interpolate(coarse, scale_factor=2.0, mode="nearest"))
        fine = self.join_fine(fine + F.interpolate(self.from_middle(middle), scale_factor=2.0, mode="nearest"))
        return self.heat(fine), self.corner(fine)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """image: Nx3xHxW, (RGB - 127.5) / 127.5, H and W multiples of 32. Returns scores from 0 to 1, and corners."""
        heat, corners = self.logits(image)
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


def write(net: PlateNet, folder: Path) -> None:
    """Writes the weights in 8 bits, and the graph of the network without them."""
    from detection.common.networks.weights import is_wide_matrix, write_safetensors
    from detection.detectors.onnx.writer import names_in_file, write_network

    net = net.to(memory_format=torch.contiguous_format).eval()
    own = {
        _PREFIX + name: tensor
        for name, tensor in net.state_dict(keep_vars=True).items()
        if not name.endswith("num_batches_tracked")
    }
    write_safetensors(
        folder / WEIGHTS,
        {name: tensor.detach() for name, tensor in own.items()},
        {"format": "carclf-plates-2"},
        eight_bits=lambda tensor: is_wide_matrix(tensor) and len(tensor) > 1,
    )
    sides = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    image = {"image": torch.zeros(1, 3, HEIGHT, WIDTH)}
    names = names_in_file(net, own.items())
    write_network(net, image, ["heat", "corners"], {"image": sides}, folder / GRAPH, names)
