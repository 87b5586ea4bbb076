"""Test-time augmentation: a classifier looks at several views of each image, and its answers are averaged."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from carclf.classifier.tta.views import TtaConfig, View, make_views

AT_ONCE = 32  # images in one forward pass at most, unless the batch itself is larger: memory stays that of a batch


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
        self.low: Tensor
        self.high: Tensor
        self.register_buffer("low", -middle / spread, persistent=False)  # black
        self.register_buffer("high", (1 - middle) / spread, persistent=False)  # white

    def forward(self, images: Tensor) -> Tensor:
        """uint8, or float normalised as the constructor says, [N, 3, H, W]; H and W may differ."""
        together = max(1, AT_ONCE // max(1, len(images)))
        total = torch.zeros((), device=images.device)
        for start in range(0, len(self.views), together):
            views = [self.look(images, view) for view in self.views[start : start + together]]
            batch = views[0] if len(views) == 1 else torch.cat(views)
            logits = self.net(batch.contiguous(memory_format=torch.channels_last)).float()
            answers = logits.log_softmax(1) if self.reduce == "geometric" else logits.softmax(1)
            part = answers.view(len(views), len(images), -1).sum(0)
            total = total + part
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
    # From a pixel of the view to one of the image, both as -1..1 per side: a turn must not shear an oblong image.
    matrix = [
        [view.crop * cos * sign, -view.crop * sin * height / width, view.shift[0]],
        [view.crop * sin * width / height * sign, view.crop * cos, view.shift[1]],
    ]
    pixels = images if images.is_floating_point() else images.float()
    theta = torch.tensor([matrix], dtype=pixels.dtype, device=images.device)
    grid = affine_grid(theta, [1, 1, height, width], align_corners=False).expand(count, -1, -1, -1)
    seen = grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return seen if images.is_floating_point() else seen.round().to(images.dtype)
