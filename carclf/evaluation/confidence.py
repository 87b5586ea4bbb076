"""How far a confidence can be trusted: temperature, threshold, calibration error. Pure functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from carclf.classifier.contract import temper
from carclf.evaluation.metrics import wilson_interval

BINS = 15


def reliability_bins(confidence: np.ndarray, right: np.ndarray, bins: int = BINS, adaptive: bool = False):
    """Photos grouped by confidence: a DataFrame with one row for each group that is not empty.

    confidence: float [N], of the best class, 0 to 1; right: bool [N].
    Groups are of equal width, (low, high], or with `adaptive` of an equal number of photos. Columns: low, high,
    photos, confidence (their mean), accuracy, accuracy_low, accuracy_high (Wilson's 95 % interval).
    """
    confidence, right = np.asarray(confidence, float), np.asarray(right, bool)
    if adaptive:
        order = np.argsort(confidence, kind="stable")
        group = np.empty(len(confidence), int)
        group[order] = np.arange(len(confidence)) * bins // max(1, len(confidence))
    else:
        edges = np.linspace(0, 1, bins + 1)
        group = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    rows = []
    for number in np.unique(group):
        inside = group == number
        low, high = wilson_interval(right[inside].sum(), inside.sum())
        span = (confidence[inside].min(), confidence[inside].max()) if adaptive else edges[number : number + 2]
        rows.append(
            dict(zip(("low", "high"), map(float, span), strict=True))
            | {"photos": int(inside.sum()), "confidence": float(confidence[inside].mean())}
            | {"accuracy": float(right[inside].mean()), "accuracy_low": float(low), "accuracy_high": float(high)}
        )
    columns = ["low", "high", "photos", "confidence", "accuracy", "accuracy_low", "accuracy_high"]
    return pd.DataFrame(rows, columns=columns).round(6)


def calibration(probabilities: np.ndarray, truth: np.ndarray) -> tuple[dict[str, float], pd.DataFrame]:
    """Figures of photos with an answer, and the bins of the reliability diagram.

    probabilities: float [N, C], rows that sum to one; truth: int [N].
    ece: expected calibration error, the mean distance of confidence and accuracy over 15 bins of equal width;
    ece_adaptive: the same over 15 bins of equally many photos; brier: mean squared distance of all probabilities from
    the truth, 0 to 2; nll: mean negative logarithm of the true class's probability (at least 1e-12).
    No figures, and no bins, for no photos.
    """
    if not len(truth):
        return {}, reliability_bins(np.zeros(0), np.zeros(0, bool))
    rows = np.arange(len(truth))
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = reliability_bins(confidence, right)
    aims = np.zeros_like(probabilities)
    aims[rows, truth] = 1
    figures = {
        "ece": _gap(bins),
        "ece_adaptive": _gap(reliability_bins(confidence, right, adaptive=True)),
        "brier": float(((probabilities - aims) ** 2).sum(axis=1).mean()),
        "nll": float(-np.log(np.maximum(probabilities[rows, truth], 1e-12)).mean()),
    }
    return {name: round(value, 6) for name, value in figures.items()}, bins


def _gap(bins: pd.DataFrame) -> float:
    return float(np.average((bins["confidence"] - bins["accuracy"]).abs(), weights=bins["photos"]))


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

    return round(float(np.exp(_lowest(loss, np.log(LOWEST), np.log(HIGHEST)))), 4)


def _lowest(loss: Callable[[float], float], low: float, high: float, near: float = 1e-5) -> float:
    """Where between the bounds a function with one valley is lowest, to within `near`: by the golden section."""
    golden = (5**0.5 - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > near:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = loss(right)
    return (low + high) / 2


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
