"""Calibration figures against hand counts and other libraries."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from carclf.evaluation.confidence import calibration, reliability_bins


def _drawn(photos, classes, seed, power=1.0):
    """Probabilities and truths drawn from them; power 1 is calibrated, more makes them too sure."""
    random = np.random.default_rng(seed)
    fair = random.dirichlet(np.full(classes, 0.4), photos)
    truth = (random.random(photos)[:, None] > fair.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)
    stated = fair**power
    return stated / stated.sum(axis=1, keepdims=True), truth


def test_ece_by_hand():
    # Two photos at 0.9, one right: 0.4 apart. Two at 0.61, both right: 0.39 apart. Half of the photos each.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.39, 0.61], [0.39, 0.61]])
    figures, bins = calibration(probabilities, np.array([0, 1, 1, 1]))
    assert figures["ece"] == pytest.approx((0.4 + 0.39) / 2)
    assert bins["photos"].tolist() == [2, 2] and bins["accuracy"].tolist() == [1.0, 0.5]
    assert bins["low"].tolist() == pytest.approx([0.6, 13 / 15], abs=1e-6)
    assert figures["brier"] == pytest.approx((2 * 0.01 + 2 * 0.81 + 4 * 0.39**2) / 4, abs=1e-6)
    assert figures["nll"] == pytest.approx(-np.log([0.9, 0.1, 0.61, 0.61]).mean(), abs=1e-6)


@pytest.mark.parametrize("classes", [2, 19, 196])
def test_it_agrees_with_torchmetrics_and_sklearn(classes):
    probabilities, truth = _drawn(500, classes, seed=classes, power=2.0)
    figures, bins = calibration(probabilities, truth)
    wanted = multiclass_calibration_error(torch.tensor(probabilities), torch.tensor(truth), classes, n_bins=15)
    assert figures["ece"] == pytest.approx(float(wanted), abs=1e-5)
    assert figures["nll"] == pytest.approx(log_loss(truth, probabilities.clip(1e-12), labels=range(classes)), abs=1e-4)
    assert bins["photos"].sum() == 500


def test_overconfidence_is_seen():
    fair, _ = calibration(*_drawn(4000, 5, seed=1))
    sure, bins = calibration(*_drawn(4000, 5, seed=1, power=4.0))
    assert fair["ece"] < 0.03 < 0.1 < sure["ece"] and fair["ece_adaptive"] < 0.03 < 0.1 < sure["ece_adaptive"]
    assert (bins["confidence"] > bins["accuracy"]).mean() > 0.8


def test_adaptive_groups_have_equally_many_photos():
    random = np.random.default_rng(0)
    bins = reliability_bins(random.random(300) ** 0.1, random.random(300) < 0.5, adaptive=True)
    assert bins["photos"].tolist() == [20] * 15
    assert (bins["low"].to_numpy()[1:] >= bins["high"].to_numpy()[:-1]).all()


def test_bins_hold_their_upper_edge():
    bins = reliability_bins(np.array([0.0, 0.2, 1.0]), np.array([True, True, True]), bins=5)
    assert bins["high"].tolist() == [0.2, 1.0] and bins["photos"].tolist() == [2, 1]


def test_no_photos_give_no_figures():
    figures, bins = calibration(np.zeros((0, 3)), np.zeros(0, int))
    assert figures == {} and bins.empty
