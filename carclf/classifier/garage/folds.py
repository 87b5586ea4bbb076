"""Which labels seem wrong, or hard: what photos say of a photo that had no part in the answer."""

from __future__ import annotations

import numpy as np

from carclf.classifier.contract import log_softmax
from carclf.classifier.garage.discriminant import best_temperature, solve

DOUBT = 0.5  # above it the audit calls a label wrong
_FOLDS = 10
_SEED = 1


def out_of_fold(vectors: np.ndarray, numbers: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """The probability of each class for each photo, by photos of other folds: float32 [N, K].

    vectors: float32 [N, F] of length 1. numbers: int [N], classes 0 to K - 1. pictures: int [N], copies share one:
    they lie in one fold, or a copy would vouch for its own wrong label. A class has 0 where no photo of it is left to
    learn from; a row is all 0 where that is the photo's own class, as then nothing speaks for its label.
    """
    classes = int(numbers.max()) + 1 if len(numbers) else 0
    logits = np.full((len(numbers), classes), -np.inf)
    folds = _folds(numbers, pictures)
    for fold in np.unique(folds):
        out = folds == fold
        known, learnt = np.unique(numbers[~out], return_inverse=True)
        if len(known) > 1:
            logits[np.ix_(out, known)] = solve(vectors[~out, None], learnt).logits(vectors[out])
    told = np.isfinite(logits[np.arange(len(numbers)), numbers])
    probabilities = np.zeros_like(logits, np.float32)
    if told.any():
        temperature = best_temperature(logits[told], numbers[told])
        probabilities[told] = np.exp(log_softmax(logits[told] / temperature))
    return probabilities


def _folds(numbers: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """int [N]: each class's pictures dealt out evenly, by chance that is the same in every run."""
    order = np.random.default_rng(_SEED).permutation(len(numbers))
    order = order[np.argsort(numbers[order], kind="stable")]
    fold_of: dict[int, int] = {}
    for row in order:
        fold_of.setdefault(int(pictures[row]), len(fold_of) % _FOLDS)
    return np.array([fold_of[int(picture)] for picture in pictures], int)


def doubt(probabilities: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much speaks against each label, 0 to 1, and the best other class: float [N] and int [N].

    It is the part that the best other class has of the two: above 0.5 it is likelier than the label. NaN for rows of
    zeros.
    """
    rows = np.arange(len(numbers))
    others = probabilities.astype(np.float64)
    own = others[rows, numbers]
    others[rows, numbers] = -1
    best = others.argmax(axis=1)
    other = np.maximum(others[rows, best], 0)
    both = own + other
    return np.where(both > 0, other / np.where(both > 0, both, 1), np.nan), best
