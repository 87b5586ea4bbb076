"""Several networks that answer as one."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Normalised images, float [N, 3, H, W], to the logarithm of the members' mean probabilities, float32 [N, C].

    Softmax of it gives that mean, so it stands wherever a network that gives logits does.
    """

    def __init__(self, members: Iterable[nn.Module]):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        answers = torch.stack([member(images).float().log_softmax(dim=1) for member in self.members])
        return answers.logsumexp(dim=0) - math.log(len(self.members))
