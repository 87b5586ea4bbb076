"""From a classifier's probabilities to an answer that can be relied on. Pure."""

from __future__ import annotations

import numpy as np

from carclf.recognition.prediction import OK, UNKNOWN


def temper(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities made flatter (above 1) or sharper (below 1) without changing their order.

    probabilities: float [..., C], rows that sum to one. The same as dividing the logits by the temperature before
    softmax (Guo et al. 2017, "On Calibration of Modern Neural Networks"), and defined for averaged answers too.
    """
    if temperature == 1:
        return probabilities
    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), 1e-30)) / temperature
    raised = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return (raised / raised.sum(axis=-1, keepdims=True)).astype(np.float32)


def decide(probabilities: np.ndarray, threshold: float) -> tuple[str, int]:
    """Status `ok` or `unknown`, and the number of the best class. probabilities: float [C]."""
    best = int(np.argmax(probabilities))
    return (OK if float(probabilities[best]) >= threshold else UNKNOWN), best
