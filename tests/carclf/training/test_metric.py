"""The metric loss beside the softmax, and the pairs that photos come in for it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from carclf.runs.recipe import Stage
from carclf.runs.tables import read_epochs
from carclf.training.data import dataset
from carclf.training.data.dataset import TrainOrder
from carclf.training.loop import train
from carclf.training.metric import contrastive_loss, pair_groups
from detection.common.errors import UsageError
from tests.carclf.drawn import draw_folders
from tests.carclf.short_runs import short_config, short_stage

GROUPS = np.array([0] * 7 + [1] * 4 + [2] + [3] * 5 + [4] * 3 + [5])


def vectors(*angles: float) -> torch.Tensor:
    return torch.tensor([[np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))] for angle in angles]).float()


def test_the_loss_is_what_a_hand_computes():
    """Two photos of one class at 60 degrees (0.5), one of another at 90 to the first (0) and 30 to the second."""
    loss = contrastive_loss(vectors(0, 60, 90), torch.tensor([4, 4, 7]), 0.5)
    near, far, side = np.exp(0.5 / 0.5), np.exp(0.0), np.exp(np.cos(np.deg2rad(30)) / 0.5)
    assert float(loss) == pytest.approx((-np.log(near / (near + far)) - np.log(near / (near + side))) / 2, rel=1e-5)


def test_the_loss_falls_as_classes_come_together_and_knows_no_order():
    labels = torch.tensor([0, 0, 1, 1])
    apart, together = vectors(0, 90, 10, 100), vectors(0, 5, 90, 95)
    assert contrastive_loss(together, labels, 0.1) < 0.1 < contrastive_loss(apart, labels, 0.1)
    order = torch.tensor([2, 0, 3, 1])
    moved = contrastive_loss(apart[order], labels[order], 0.1)
    assert float(moved) == pytest.approx(float(contrastive_loss(apart, labels, 0.1)), rel=1e-5)


def test_photos_without_a_partner_teach_nothing():
    free = vectors(0, 40, 80).requires_grad_()
    loss = contrastive_loss(free, torch.tensor([0, 1, 2]), 0.1)
    loss.backward()
    assert float(loss.detach()) == 0 and torch.equal(free.grad, torch.zeros_like(free))


def test_photos_come_in_pairs_and_each_once():
    order = TrainOrder(len(GROUPS), 3, groups=GROUPS)
    seen = [number for _, number in order]
    assert sorted(seen) == list(range(len(GROUPS))) and len(order) == len(GROUPS)
    twos = np.array(seen[: len(seen) // 2 * 2]).reshape(-1, 2)
    assert (GROUPS[twos[:, 0]] == GROUPS[twos[:, 1]]).sum() == (GROUPS[:, None] == np.arange(6)).sum(0).__floordiv__(
        2
    ).sum()
    order.set_epoch(1)
    assert [number for _, number in order] != seen
    order.set_epoch(0)
    assert [number for _, number in order] == seen


def test_pairs_stay_together_in_distributed_runs(monkeypatch):
    whole = [number for _, number in TrainOrder(len(GROUPS), 3, groups=GROUPS)]
    shares = []
    for rank in range(2):
        monkeypatch.setattr(dataset, "_place", lambda rank=rank: (rank, 2))
        order = TrainOrder(len(GROUPS), 3, groups=GROUPS)
        shares.append([number for _, number in order])
        assert len(shares[-1]) == len(order) == 10
    pairs = {tuple(pair) for share in shares for pair in np.array(share).reshape(-1, 2).tolist()}
    assert pairs == {tuple(pair) for pair in np.array(whole[:20]).reshape(-1, 2).tolist()}


def test_pairs_of_cars_need_their_column():
    stage = Stage(name="last", metric=0.3, metric_pairs="car")
    rows = pd.DataFrame({"car": ["a", None, "b", "a", None]})
    groups = pair_groups(stage, rows, [0] * 5)
    assert groups[0] == groups[3] and len(set(groups.tolist())) == 4
    with pytest.raises(UsageError, match="no column 'car'.*stages.last.metric_pairs=class"):
        pair_groups(stage, pd.DataFrame({"file": ["a"]}), [0])
    assert pair_groups(Stage(name="plain"), rows, [0] * 5) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"train": "head"}, "trains the head alone"),
        ({"mixup": 0.4}, "set mix below 1"),
        ({"batch_size": 9}, "even batch_size"),
        ({"metric": -1}, "greater than or equal to 0"),
        ({"metric_temperature": 0}, "greater than 0"),
        ({"metric_pairs": "make"}, "'class' or 'car'"),
    ],
)
def test_what_does_not_fit_is_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        Stage(**({"name": "x", "metric": 0.5} | settings))


def test_a_training_tells_both_losses(tmp_path, capsys):
    draw_folders(tmp_path / "photos", each=6)
    stages = [short_stage("head"), short_stage("all", 2, metric=0.5, mixup=0.4, mix=0.3)]
    run = train(short_config(tmp_path, stages=stages, validation=0.25))
    head, *rows = read_epochs(run)
    told = [row["metric_loss"] for row in rows if row["metric_loss"] != ""]  # none where chance mixed all batches
    assert head["metric_loss"] == "" and told and all(0 < float(loss) < 10 for loss in told)
    assert "metric loss" in "".join(capsys.readouterr())
