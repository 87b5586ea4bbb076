"""New classes from a few vectors each: a shrunken linear discriminant, and how its answers join the base's.

Two questions are asked of a car. Is it one of the new classes? It is the more so, the nearer its vector comes to the
mean of one of them, and the less so, the nearer it comes to the mean of a class of the base, and the surer the base is.
Which one is it? The discriminant says: what changes between photos of one class (the side that is seen, light, colour)
counts for little. A few photos hardly tell what that is, so the base's prior tells it, where it has one.

Both are judged by photos that had no part in the answer: the new photos are left out in turns. docs/experiments.md has
the figures of each way that was tried.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from carclf.classifier.contract import log_softmax, unit
from carclf.classifier.garage.prior import SHRINKAGE as PRIOR_SHRINKAGE
from carclf.classifier.garage.prior import Prior

# Chosen on the photos of `choose` by benchmarks/garage.py.
SHRINKAGE = 2e-3  # of the covariance towards a sphere, as a part of its trace
_WITHIN = 0.43  # its trace among photos of one class, as far as one or two photos can't tell
_PASSED = 0.03  # share of the new photos that may fall short of the border
_STEEP = 300.0  # how fast the probability to be new rises with the nearness
_TEMPERATURES = np.geomspace(0.5, 4096, 40)  # of the discriminant's logits
_TEMPERATURE = 64.0  # of photos that are the only ones of their classes
_FOLDS = 10
_ENOUGH = 8  # photos left out, from which on their answers are a measure
# With a prior:
PRIOR_SHARE = 0.7  # of the covariance that the prior tells; the photos tell the rest
# How much the lengths of the means speak against their classes. 0.5 would be right if these were known; those of a few
# photos are longer than they should be, and the more so, the less alike the photos happen to be.
PRIOR_OFFSET = 0.25


@dataclass(frozen=True)
class Gate:
    """When a car is rather new: nearness is the cosine to the nearest mean of a new class, less `sureness` times the
    base's confidence. With a prior it is that of the steady parts, less the cosine to the nearest of the known classes.

    border: the nearness from which on it is new, where too few photos tell; `borders`: however they tell it.
    """

    sureness: float
    border: float
    borders: tuple[float, float]


PLAIN = Gate(0.4, 0.32, (0.30, 0.42))
WITH_PRIOR = Gate(0.1, -0.03, (0.0, 0.03))


@dataclass(frozen=True, eq=False)
class Discriminant:
    """directions: float32 [K, F]; offsets: float32 [K]; means: float32 [K, F] of length 1. temperature: of the logits
    that these give. border: see `Gate`. prior: of the base, where it has one."""

    directions: np.ndarray
    offsets: np.ndarray
    means: np.ndarray
    temperature: float = _TEMPERATURE
    border: float = PLAIN.border
    prior: Prior | None = None

    def which(self, vectors: np.ndarray) -> np.ndarray:
        """vectors: float [N, F] of length 1. The probabilities of the new classes, if it is one of them: [N, K]."""
        return np.exp(log_softmax(self.logits(vectors) / self.temperature))

    def is_new(self, vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
        """The probability to be one of the new classes, float [N]. known: the base's probabilities [N, C]."""
        above = _STEEP * (self._nearness(vectors, known.max(axis=1)) - self.border)
        return 1 / (1 + np.exp(-np.clip(above, -50, 50)))

    def join(self, known: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """The probabilities of the base's classes and the new ones side by side, float32 [N, C + K], rows summing to 1.

        known: those of the base, [N, C], rows summing to 1. vectors: float [N, F] of length 1.
        """
        new = self.is_new(vectors, known)[:, None]
        both = np.concatenate([known * (1 - new), self.which(vectors) * new], axis=1)
        return (both / both.sum(axis=1, keepdims=True)).astype(np.float32)

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """vectors: float [N, F] of length 1. Returns float [N, K], before the temperature."""
        return vectors @ self.directions.T + self.offsets

    @property
    def gate(self) -> Gate:
        return PLAIN if self.prior is None else WITH_PRIOR

    def _nearness(self, vectors: np.ndarray, sure: np.ndarray) -> np.ndarray:
        against = self.gate.sureness * sure
        if self.prior is None:
            return (vectors @ self.means.T).max(axis=1) - against
        steady = self.prior.steady(vectors)
        rivals = (steady @ self.prior.steady_means.T).max(axis=1)
        return (steady @ self._steady_means.T).max(axis=1) - rivals - against

    @cached_property
    def _steady_means(self) -> np.ndarray:
        if self.prior is None:
            raise ValueError("there is no prior")
        return self.prior.steady(self.means)


def fit(views: np.ndarray, numbers: np.ndarray, sure: np.ndarray, prior: Prior | None = None) -> Discriminant:
    """views: float [P, V, F] of length 1, some views of each photo, the photo as it is first. numbers: int [P], its
    class, 0 to K - 1, each at least once. sure: float [P], the base's highest probability of each photo. prior: of the
    base, where it has one."""
    discriminant = solve(views, numbers, prior)
    logits, nearness, measured = _left_out(views, numbers, sure, prior)
    if len(measured) < _ENOUGH:
        return discriminant
    border = float(np.clip(np.quantile(nearness, _PASSED), *discriminant.gate.borders))
    return replace(discriminant, temperature=best_temperature(logits, numbers[measured]), border=border)


def best_temperature(logits: np.ndarray, numbers: np.ndarray) -> float:
    """At which the logits [N, K] of photos that had no part in them fit best. numbers: int [N], their classes."""
    rows = np.arange(len(numbers))
    losses = [-np.maximum(log_softmax(logits / one)[rows, numbers], -27.6).mean() for one in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def _left_out(
    views: np.ndarray, numbers: np.ndarray, sure: np.ndarray, prior: Prior | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits [M, K] and nearness [M] of photos that had no part in them, and which ones: a class's only photo can't
    be left out."""
    turn = np.zeros(len(numbers), int)
    for number in np.unique(numbers):
        own = np.flatnonzero(numbers == number)
        turn[own] = np.arange(len(own)) % _FOLDS if len(own) > 1 else -1
    logits, nearness, measured = [], [], []
    for fold in range(turn.max() + 1):
        out = turn == fold
        part = solve(views[~out], numbers[~out], prior)
        logits.append(part.logits(views[out, 0]))
        nearness.append(part._nearness(views[out, 0], sure[out]))
        measured.append(np.flatnonzero(out))
    if not measured:
        return np.empty((0, numbers.max() + 1)), np.empty(0), np.empty(0, int)
    return np.concatenate(logits), np.concatenate(nearness), np.concatenate(measured)


def solve(views: np.ndarray, numbers: np.ndarray, prior: Prior | None = None) -> Discriminant:
    """As `fit`, with temperature and border as they are."""
    views = np.asarray(views, np.float64)
    photos = views.mean(axis=1)
    means = np.stack([photos[numbers == number].mean(axis=0) for number in range(numbers.max() + 1)])
    rest = (views - means[numbers][:, None]).reshape(-1, views.shape[2])
    rest /= np.sqrt(len(rest))
    shrinkage = SHRINKAGE
    if prior is not None:
        shrinkage = PRIOR_SHRINKAGE
        rest = np.concatenate([np.sqrt(1 - PRIOR_SHARE) * rest, np.sqrt(PRIOR_SHARE) * prior.spread])
    ridge = shrinkage * max(float((rest**2).sum()), _WITHIN)
    if len(rest) < rest.shape[1]:  # the inverse by the smaller matrix (Woodbury)
        inner = np.linalg.solve(rest @ rest.T + ridge * np.eye(len(rest)), rest @ means.T)
        directions = (means - (rest.T @ inner).T) / ridge
    else:
        directions = np.linalg.solve(rest.T @ rest + ridge * np.eye(rest.shape[1]), means.T).T
    if prior is None:
        offsets = -0.5 * (directions * means).sum(axis=1)
        return Discriminant(directions.astype(np.float32), offsets.astype(np.float32), unit(means))
    # Seen from the middle of the new classes, as the lengths of their means count less than half.
    middle = means.mean(axis=0)
    directions = directions - directions.mean(axis=0)
    offsets = -PRIOR_OFFSET * (directions * (means - middle)).sum(axis=1) - directions @ middle
    return Discriminant(
        directions.astype(np.float32), offsets.astype(np.float32), unit(means), border=WITH_PRIOR.border, prior=prior
    )
