"""A metric loss beside the softmax: vectors of one class come together, those of others go apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from carclf.evaluation.cars import CAR
from carclf.runs.recipe import Stage
from detection.common.errors import UsageError


def contrastive_loss(vectors: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """The supervised contrastive loss (Khosla et al. 2020, L_out), a mean over the photos that have another one of
    their class in the batch; 0 where none has.

    vectors: float [N, F] of length 1. labels: int64 [N]. temperature: the similarities are divided by it.
    """
    alike = vectors.float() @ vectors.float().T / temperature
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    same = (labels[:, None] == labels[None, :]) & ~itself
    shares = torch.log_softmax(alike.masked_fill(itself, float("-inf")), dim=1)
    count = same.sum(dim=1)
    of_each = -shares.masked_fill(~same, 0.0).sum(dim=1) / count.clamp(min=1)
    return of_each.sum() / (count > 0).sum().clamp(min=1)


def pair_groups(stage: Stage, rows: pd.DataFrame, labels: Sequence[int]) -> np.ndarray | None:
    """Int [N]: photos of one number come in pairs, for `TrainOrder`. None for a stage without a metric loss.

    rows: the photos, with the column car where the stage pairs photos of one car. Raises `UsageError` without it.
    """
    if not stage.metric:
        return None
    if stage.metric_pairs == "class":
        return np.asarray(labels)
    if CAR not in rows:
        raise UsageError(
            f"Stage '{stage.name}' pairs photos of one car, and the data have no column '{CAR}': "
            f"add one, or set stages.{stage.name}.metric_pairs=class."
        )
    names = rows[CAR].fillna("").astype(str).to_numpy()
    numbers = pd.factorize(names)[0]
    alone = names == ""
    numbers[alone] = numbers.max(initial=0) + 1 + np.arange(alone.sum())
    return numbers
