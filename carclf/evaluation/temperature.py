"""How sure a classifier may be: its temperature and the threshold below which it says `unknown`. Pure numbers."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from carclf.recognition.decision import temper

# Beyond them a handful of validation photos that are all right, or all wrong, would make certainty or noise of it.
LOWEST, HIGHEST = 0.25, 4.0
# Of the photos of known classes, those that may be lost to `unknown`.
LOST = 0.03


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The temperature that makes the true classes most probable (least negative log likelihood).

    probabilities: float [N, C], rows that sum to one, at temperature 1; truth: int [N]. 1.0 for no photos.
    """
    if not len(truth):
        return 1.0
    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        right = temper(probabilities, float(np.exp(log_temperature)))[rows, truth]
        return float(-np.log(np.maximum(right, 1e-12)).mean())

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return round(float(np.exp(found.x)), 4)


def fit_confidence(probabilities: np.ndarray, truth: np.ndarray, lost: float = LOST) -> tuple[np.ndarray, float, float]:
    """The probabilities as they are to be told, and the temperature and threshold that make them so.

    probabilities, truth: as in `fit_temperature`; lost: as in `choose_threshold`.
    """
    temperature = fit_temperature(probabilities, truth)
    told = temper(probabilities, temperature)
    return told, temperature, choose_threshold(told.max(axis=1), lost)


def choose_threshold(confidence: np.ndarray, lost: float = LOST) -> float:
    """The highest threshold that loses at most this share of photos of known classes.

    confidence: float [N], calibrated, of the best class. 0.0 for no photos.
    """
    if not len(confidence):
        return 0.0
    return float(np.floor(np.quantile(confidence, lost, method="lower") * 1e4) / 1e4)
