"""Test-time augmentation: a classifier looks at several views of each image, and its answers are averaged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from detection.config import StrictConfig
from detection.errors import UsageError

NAMED = {"none": 1, "mirror": 2, "ten": 10}
AT_ONCE = 32  # images in one forward pass at most, unless the batch itself is larger: memory stays that of a batch


class TtaConfig(StrictConfig):
    """passes: views of an image, 1 for the image alone, 2 with its mirror image, 10 as in the classic recipes; half of
        them (or one more) are not mirrored.
    crop: share of each side that a cropped view shows. rotation: degrees to either side. brightness: the part by which
        a view is brighter or darker.
    reduce: `mean` of the probabilities, or their `geometric` mean, in which one view's clear no counts for more.
    """

    passes: int = Field(1, ge=1, le=100)
    crop: float = Field(0.95, gt=0.2, le=1)
    rotation: float = Field(4.0, ge=0, le=45)
    brightness: float = Field(0.15, ge=0, lt=1)
    reduce: Literal["mean", "geometric"] = "mean"

    @classmethod
    def of(cls, what: TtaConfig | str | int | bool | None) -> TtaConfig:
        """A number of passes, `none`, `mirror` or `ten`, False (none) or True (mirror). Raises `UsageError`.

        >>> [TtaConfig.of(what).passes for what in (None, False, True, 1, 5, "ten", "5")]
        [1, 1, 2, 1, 5, 10, 5]
        """
        if isinstance(what, TtaConfig):
            return what
        if isinstance(what, bool) or what is None:
            return cls(passes=2 if what else 1)
        passes = NAMED.get(what, what)
        if not str(passes).isdecimal() or not 1 <= int(passes) <= 100:
            raise UsageError(f"TTA takes a number of passes from 1 to 100, or {', '.join(NAMED)}, not '{what}'.")
        return cls(passes=int(passes))


@dataclass(frozen=True)
class View:
    """One way to look at an image.

    angle: degrees. crop: share of each side that is seen. shift: where the middle of what is seen lies, right and down
    of the image's middle, in halves of its sides. brightness: factor of the pixels.
    """

    mirror: bool = False
    angle: float = 0.0
    crop: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    brightness: float = 1.0

    @property
    def moves(self) -> bool:
        return self.angle != 0 or self.crop != 1 or self.shift != (0.0, 0.0)


def make_views(config: TtaConfig) -> tuple[View, ...]:
    """The first `passes` of a fixed list: plain, mirrored, cropped, turned either way, brighter and darker, each plain
    and mirrored; beyond ten, mixtures of all of these that fill the ranges evenly. The same for the same config."""
    angle, light = config.rotation, config.brightness
    views = [
        View(),
        View(mirror=True),
        View(crop=config.crop),
        View(mirror=True, crop=config.crop),
        View(angle=angle),
        View(mirror=True, angle=-angle),
        View(angle=-angle),
        View(mirror=True, angle=angle),
        View(brightness=1 + light),
        View(mirror=True, brightness=1 - light),
    ]
    # Powers of the root of x^5 = x + 1 fill a box of four dimensions evenly, however many are taken.
    steps = [1.1673039782614187**-power for power in range(1, 5)]
    for number in range(len(views), config.passes):
        turn, right, down, bright = (2 * math.modf(0.5 + number * step)[0] - 1 for step in steps)
        free = 1 - config.crop
        views.append(
            View(
                mirror=number % 2 == 1,
                angle=angle * turn,
                crop=config.crop,
                shift=(free * right, free * down),
                brightness=1 + light * bright,
            )
        )
    return tuple(views[: config.passes])


class TestTimeAugmentation(nn.Module):
    """Wraps a classifier; calling it gives probabilities, float32 [N, C], rows summing to 1.

    net: takes [N, 3, H, W] and gives logits [N, C].
    tta: a `TtaConfig`, or what `TtaConfig.of` takes; `views` in its place names the views one by one.
    mean, std: how float batches are normalised, for pixels of 0..1; without them they are such pixels themselves.
        uint8 batches stay uint8.
    Views keep the size of the image, and what comes in from beyond its border is the border's own colour, so a cut-out
    on white stays on white.
    """

    __test__ = False  # not a test, whatever its name makes of it

    def __init__(
        self,
        net: nn.Module,
        tta: TtaConfig | str | int | bool | None = 10,
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
        std: tuple[float, float, float] = (1.0, 1.0, 1.0),
        views: tuple[View, ...] | None = None,
    ):
        super().__init__()
        config = TtaConfig.of(tta)
        self.net = net
        self.views = make_views(config) if views is None else tuple(views)
        self.reduce = config.reduce
        middle, spread = torch.tensor(mean).view(1, 3, 1, 1), torch.tensor(std).view(1, 3, 1, 1)
        self.register_buffer("low", -middle / spread, persistent=False)  # black
        self.register_buffer("high", (1 - middle) / spread, persistent=False)  # white

    def forward(self, images: Tensor) -> Tensor:
        """uint8, or float normalised as the constructor says, [N, 3, H, W]; H and W may differ."""
        together = max(1, AT_ONCE // max(1, len(images)))
        total = None
        for start in range(0, len(self.views), together):
            views = [self.look(images, view) for view in self.views[start : start + together]]
            batch = views[0] if len(views) == 1 else torch.cat(views)
            logits = self.net(batch.contiguous(memory_format=torch.channels_last)).float()
            answers = logits.log_softmax(1) if self.reduce == "geometric" else logits.softmax(1)
            part = answers.view(len(views), len(images), -1).sum(0)
            total = part if total is None else total + part
        mean = total / len(self.views)
        return mean.softmax(1) if self.reduce == "geometric" else mean

    def look(self, images: Tensor, view: View) -> Tensor:
        """The view of each image: same shape and dtype, [N, 3, H, W]."""
        if not view.moves:
            seen = images.flip(3) if view.mirror else images
        else:
            seen = _sample(images, view)
        if view.brightness == 1:
            return seen
        if images.dtype == torch.uint8:
            return (seen.float() * view.brightness).round().clamp(0, 255).to(torch.uint8)
        low, high = self.low.to(images.dtype), self.high.to(images.dtype)
        return ((seen - low) * view.brightness + low).clamp(low, high)


def _sample(images: Tensor, view: View) -> Tensor:
    """Turns, crops, shifts and mirrors in one resampling; beyond the border, the border's pixels are repeated."""
    count, _, height, width = images.shape
    cos, sin = math.cos(math.radians(view.angle)), math.sin(math.radians(view.angle))
    sign = -1 if view.mirror else 1
    # From a pixel of the view to one of the image, both as -1..1 a side: a turn must not shear an oblong image.
    matrix = [
        [view.crop * cos * sign, -view.crop * sin * height / width, view.shift[0]],
        [view.crop * sin * width / height * sign, view.crop * cos, view.shift[1]],
    ]
    pixels = images if images.is_floating_point() else images.float()
    theta = torch.tensor([matrix], dtype=pixels.dtype, device=images.device)
    grid = affine_grid(theta, [1, 1, height, width], align_corners=False).expand(count, -1, -1, -1)
    seen = grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return seen if images.is_floating_point() else seen.round().to(images.dtype)
