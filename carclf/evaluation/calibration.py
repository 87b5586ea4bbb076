"""Whether a classifier is right as often as its confidence says. Pure numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

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
