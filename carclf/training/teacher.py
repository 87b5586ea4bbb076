"""Learning from trained classifiers: what they make of each varied photo is a softer truth than its label."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from carclf.classifier.catalogue import find_model
from carclf.classifier.checkpoint import load_model
from carclf.classifier.info import ModelInfo, pair
from detection.common.errors import UsageError
from detection.common.networks.device import keep_depthwise_float32


class Teacher:
    """The mean of one or more trained classifiers. Not a module: it is neither trained nor saved with a checkpoint."""

    def __init__(self, names: Sequence[str], info: ModelInfo):
        """names: run folders, files or bundled names. info: of the model that learns.

        Raises `UsageError` for a classifier of other classes, or that expects other colours.
        """
        self.nets = []
        for name in names:
            net, own = load_model(find_model(name).weights)
            if set(own.classes) != set(info.classes):
                raise UsageError(
                    f"The teacher '{name}' knows other classes than the data: teachers must know the same."
                )
            if (own.mean, own.std) != (info.mean, info.std):
                raise UsageError(
                    f"The teacher '{name}' expects colours scaled otherwise: take one of a kindred network."
                )
            index = torch.tensor([own.classes.index(label) for label in info.classes])
            self.nets.append((keep_depthwise_float32(net).requires_grad_(False), index, own.image_size))

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Normalised images [N, 3, H, W], as they are trained on, to probabilities, float32 [N, C].

        Each teacher sees them at its own size: far more of its answers are right there, even on enlarged pictures.
        """
        sums = torch.zeros((), device=images.device)
        for net, index, size in self.nets:
            net.to(images.device)
            seen = nn.functional.interpolate(images, size=pair(size), mode="bilinear", align_corners=False)
            sums = sums + net(seen).float().softmax(dim=1)[:, index.to(images.device)]
        return sums / len(self.nets)
