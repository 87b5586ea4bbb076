import numpy as np
import pytest

from carclf.classifier.contract import temper
from carclf.recognition.prediction import decide


@pytest.mark.parametrize("temperature", [0.3, 0.7, 1.0, 2.5])
def test_tempering_is_softmax_of_divided_logits(temperature):
    logits = np.random.default_rng(0).normal(size=(5, 7)) * 4

    def softmax(values):
        raised = np.exp(values - values.max(axis=-1, keepdims=True))
        return raised / raised.sum(axis=-1, keepdims=True)

    tempered = temper(softmax(logits).astype(np.float32), temperature)
    np.testing.assert_allclose(tempered, softmax(logits / temperature), atol=1e-5)
    assert tempered.dtype == np.float32


def test_tempering_bears_zeros_and_one_row():
    np.testing.assert_allclose(temper(np.array([1.0, 0.0], np.float32), 2.0), [1, 0], atol=1e-6)


@pytest.mark.parametrize(("threshold", "status"), [(0.0, "ok"), (0.7, "ok"), (0.70001, "unknown"), (1.0, "unknown")])
def test_the_threshold_is_the_least_confidence_of_an_answer(threshold, status):
    assert decide(np.array([0.1, 0.7, 0.2]), threshold) == (status, 1)
