import numpy as np
import pytest

from carclf.classifier.contract import temper
from carclf.evaluation.confidence import HIGHEST, LOWEST, calibration, choose_threshold, fit_temperature


def answers(temperature, photos=4000, classes=5, seed=0):
    """Probabilities that are right as often as they say, then tempered; and the truth."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(photos, classes)) * 2
    raised = np.exp(logits)
    honest = raised / raised.sum(axis=1, keepdims=True)
    truth = np.array([random.choice(classes, p=row) for row in honest])
    return temper(honest, temperature), truth


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_what_was_done_to_honest_probabilities_is_undone(temperature):
    probabilities, truth = answers(temperature)
    fitted = fit_temperature(probabilities, truth)
    assert fitted == pytest.approx(1 / temperature, rel=0.08)
    before, _ = calibration(probabilities, truth)
    after, _ = calibration(temper(probabilities, fitted), truth)
    assert after["ece"] < 0.03 and after["nll"] <= before["nll"] + 1e-6


def test_few_photos_give_no_certainty():
    right = np.tile([0.9, 0.1], (3, 1))
    assert fit_temperature(right, np.zeros(3, int)) == pytest.approx(LOWEST, rel=0.01)
    assert fit_temperature(right, np.ones(3, int)) == pytest.approx(HIGHEST, rel=0.01)
    assert fit_temperature(np.zeros((0, 2)), np.zeros(0, int)) == 1.0


def test_the_threshold_loses_no_more_than_it_may():
    confidence = np.random.default_rng(0).uniform(0.2, 1, 1000)
    threshold = choose_threshold(confidence, 0.04)
    assert 0.03 < (confidence < threshold).mean() <= 0.04
    assert choose_threshold(np.array([0.7, 0.8]), 0.04) == 0.7  # of two photos none can be lost
    assert choose_threshold(np.zeros(0)) == 0.0
