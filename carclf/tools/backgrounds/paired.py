"""How sure accuracies and their differences are when several models, each trained with several seeds, judge the same
photos. Pure numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from carclf.evaluation.metrics import LEVEL

SAMPLES = 10_000
_CHUNK = 500  # samples at a time: 500 x 8,000 photos are 32 MB


@dataclass(frozen=True)
class Estimate:
    """A figure and the bounds of its interval."""

    value: float
    low: float
    high: float

    @property
    def beyond_noise(self) -> bool:
        """Of a difference: whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


class PairedAccuracies:
    """Accuracies over photos and seeds, from photos and seeds drawn again with replacement.

    Photos that are hard are so for all models, and a seed shuffles the photos alike for all: in a difference, what both
    sides share cancels out, so its interval is narrower than those of its sides would suggest. Of few seeds the spread
    is known badly, and the interval rather too narrow.
    """

    def __init__(self, correct: Mapping[str, np.ndarray], samples: int = SAMPLES, seed: int = 0):
        """correct: for each model bool [seeds, photos], the same seeds and photos in the same order for all."""
        shapes = {answers.shape for answers in correct.values()}
        if len(shapes) != 1:
            raise ValueError(f"the models judged different photos or seeds: {sorted(shapes)}")
        self.seeds, self.photos = shapes.pop()
        self._means = {name: float(answers.mean()) for name, answers in correct.items()}
        stacked = np.stack([np.asarray(answers, np.float32) for answers in correct.values()])
        drawn = np.concatenate(list(_resample(stacked, samples, seed)), axis=1)
        self._drawn = dict(zip(correct, drawn, strict=True))

    def accuracy(self, name: str, level: float = LEVEL) -> Estimate:
        return _estimate(self._means[name], self._drawn[name], level)

    def difference(self, name: str, other: str, level: float = LEVEL) -> Estimate:
        """Of the accuracies of `name` and `other`; positive where `name` is better."""
        return _estimate(self._means[name] - self._means[other], self._drawn[name] - self._drawn[other], level)

    @property
    def best(self) -> str:
        """The first of those with the highest accuracy."""
        return max(self._means, key=self._means.__getitem__)

    def against_all(self, name: str) -> dict[str, Estimate]:
        """Differences to each other model, with intervals that hold all at once in 95 of 100 cases (Bonferroni):
        among many comparisons one would look like a difference by chance alone."""
        others = [other for other in self._means if other != name]
        level = 1 - (1 - LEVEL) / max(1, len(others))
        return {other: self.difference(name, other, level) for other in others}


def _resample(correct: np.ndarray, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Chunks of float [models, samples]; correct: float [models, seeds, photos]."""
    random = np.random.default_rng(seed)
    _, seeds, photos = correct.shape
    for start in range(0, samples, _CHUNK):
        size = min(_CHUNK, samples - start)
        by_photo = random.multinomial(photos, np.full(photos, 1 / photos), size=size).astype(np.float32) / photos
        by_seed = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=size) / seeds
        yield np.einsum("msb,bs->mb", correct @ by_photo.T, by_seed)


def _estimate(value: float, drawn: np.ndarray, level: float) -> Estimate:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))
