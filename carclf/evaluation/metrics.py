"""How good a classifier is, overall and for each class, and between which bounds each figure lies. Pure numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import pandas as pd

NO_ANSWER = "(no answer)"
LEVEL = 0.95
SAMPLES = 2000  # the bounds move by some 3 % of the interval's width with the seed
_CHUNK = 250  # samples at a time: 250 x 6,000 counts are 12 MB


def overall(truth: np.ndarray, predicted: np.ndarray, in_top5: np.ndarray) -> dict[str, float]:
    """accuracy, top5 and macro_f1 (the mean over the classes that occur in truth).

    truth: int [N]; predicted: int [N], any number that is no class for a photo without an answer; in_top5: bool [N].
    """
    f1 = _scores(*_counts(truth, predicted))[2]
    return {"accuracy": float((truth == predicted).mean()), "top5": float(in_top5.mean()), "macro_f1": float(f1.mean())}


def _counts(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each class that occurs in truth, int [K]: right answers, answers, photos."""
    present, support = np.unique(truth, return_counts=True)
    answers = (predicted == present[:, None]).sum(axis=1)
    hits = ((predicted == truth) & (truth == present[:, None])).sum(axis=1)
    return hits, answers, support


def _scores(hits: np.ndarray, answers: np.ndarray, support: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 by `_counts`; 0 for a class that is never answered."""
    return hits / np.maximum(answers, 1), hits / np.maximum(support, 1), 2 * hits / np.maximum(answers + support, 1)


def auroc(low: np.ndarray, high: np.ndarray) -> float:
    """How often a number of `high` exceeds one of `low`, with half for a draw; float [N], float [M], neither empty.

    >>> auroc(np.array([0.1, 0.4]), np.array([0.4, 0.8]))
    0.875
    """
    below = np.sort(low)
    wins = np.searchsorted(below, high, side="left") + np.searchsorted(below, high, side="right")
    return float(wins.sum() / (2 * len(low) * len(high)))


def bootstrap_intervals(
    truth: np.ndarray,
    predicted: np.ndarray,
    in_top5: np.ndarray,
    samples: int = SAMPLES,
    seed: int = 0,
    cars: np.ndarray | None = None,
) -> dict[str, list[float]]:
    """95 % intervals of the figures of `overall` (same arguments), from cars drawn again with replacement.

    cars: int [N], photos of one car have one number: they are drawn together, for ten photos of one car say little more
    than one does. None: each photo shows a car of its own.
    The spread of the samples is centred on the figure itself. For accuracy and top-5 that changes nothing; a macro-F1
    of few photos per class is lower in the samples than in the data, since some of its photos are in a sample twice and
    others not at all, and the plain percentiles miss the true one far more often than 5 times in 100.
    Where all photos are right, or all wrong, the samples can't differ: Wilson's interval of as many cars is given
    instead.
    """
    figures = overall(truth, predicted, in_top5)
    cars = np.arange(len(truth)) if cars is None else cars
    drawn = np.concatenate(list(_resample(truth, predicted, in_top5, samples, seed, cars)), axis=1)
    number = len(np.unique(cars))
    intervals = {}
    for (name, figure), values in zip(figures.items(), drawn, strict=True):
        if figure in (0.0, 1.0):
            low, high = (float(bound) for bound in wilson_interval(figure * number, number))
        else:
            tails = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - values.mean() + figure
            low, high = np.clip(tails, 0, 1).tolist()
        intervals[name] = [round(low, 6), round(high, 6)]
    return intervals


def _resample(truth, predicted, in_top5, samples, seed, cars):
    """Chunks of float [3, samples]: the three figures in each sample.

    Photos with the same truth, prediction and top-5 are alike, and so are cars with the same such photos: how often
    each kind of car comes up is drawn, not each car. 196 classes x 6,000 photos take a second.
    """
    random = np.random.default_rng(seed)
    kinds, kind = np.unique(np.stack([truth, predicted, in_top5]).astype(int), axis=1, return_inverse=True)
    holds, counts = _kinds_of_cars(kind.ravel(), cars, kinds.shape[1])
    classes = np.unique(truth)
    is_truth = holds @ (kinds[0][:, None] == classes).astype(np.float32)
    is_predicted = holds @ (kinds[1][:, None] == classes).astype(np.float32)
    right = kinds[0] == kinds[1]
    is_right = holds @ ((kinds[0][:, None] == classes) * right[:, None]).astype(np.float32)
    photos, rights, tops = holds.sum(axis=1), holds @ right, holds @ kinds[2]
    for start in range(0, samples, _CHUNK):
        drawn = random.multinomial(counts.sum(), counts / counts.sum(), size=min(_CHUNK, samples - start))
        drawn = drawn.astype(np.float32)
        support, answers, hits = drawn @ is_truth, drawn @ is_predicted, drawn @ is_right
        f1 = np.where(support > 0, 2 * hits / np.maximum(support + answers, 1), 0)
        total = drawn @ photos
        yield np.stack(
            [drawn @ rights / total, drawn @ tops / total, f1.sum(axis=1) / (support > 0).sum(axis=1)]
        ).astype(float)


def _kinds_of_cars(kind: np.ndarray, cars: np.ndarray, kinds: int) -> tuple[np.ndarray, np.ndarray]:
    """How many photos of each kind the K kinds of car have (float32 [K, kinds]), and the number of such cars."""
    photos: dict[int, list[int]] = {}
    for car, one in zip(cars.tolist(), kind.tolist(), strict=True):
        photos.setdefault(car, []).append(one)
    known = Counter(tuple(sorted(ones)) for ones in photos.values())
    holds = np.zeros((len(known), kinds), np.float32)
    for row, ones in enumerate(sorted(known)):
        np.add.at(holds[row], list(ones), 1)
    return holds, np.array([known[ones] for ones in sorted(known)])


def wilson_interval(right, total) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of `right` of `total`, element by element; 0 to 1 where total is 0.

    >>> [round(float(bound), 3) for bound in wilson_interval(9, 10)]
    [0.596, 0.982]
    """
    right, total = np.asarray(right, float), np.asarray(total, float)
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    n = np.maximum(total, 1e-9)
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    nothing = total <= 0
    return np.where(nothing, 0.0, np.clip(middle - half, 0, 1)), np.where(nothing, 1.0, np.clip(middle + half, 0, 1))


def class_report(truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """One row for each class that occurs in truth, the worst f1 first.

    truth, predicted: int [N], numbers of classes; predicted is len(classes) for a photo without an answer.
    Columns: class; precision, recall and f1, each with _low and _high (Wilson's 95 % interval); support (its photos);
    taken_for, the class that it is most often taken for, and times, how often.
    F1 is a monotonous function of hits / (hits + misses + false alarms), whose interval gives that of f1.
    """
    present = np.unique(truth)
    hits, answers, support = _counts(truth, predicted)
    precision, recall, f1 = _scores(hits, answers, support)
    bounds = {
        "precision": wilson_interval(hits, answers),
        "recall": wilson_interval(hits, support),
        "f1": tuple(2 * bound / (1 + bound) for bound in wilson_interval(hits, support + answers - hits)),
    }
    columns: dict[str, object] = {"class": [classes[number] for number in present]}
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        low, high = bounds[name]
        columns |= {name: values.round(4), f"{name}_low": low.round(4), f"{name}_high": high.round(4)}
    columns["support"] = support
    names = [*classes, NO_ANSWER]
    taken_for, times = [], []
    for number in present:
        wrong = np.bincount(predicted[(truth == number) & (predicted != number)], minlength=1)
        taken_for.append(names[wrong.argmax()] if wrong.any() else "")
        times.append(int(wrong.max()))
    return pd.DataFrame(columns | {"taken_for": taken_for, "times": times}).sort_values(
        ["f1", "class"], ignore_index=True
    )


def confusion_counts(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int [C, C], or [C, C + 1] when there are photos without an answer (predicted is C): they are the last column."""
    counts = np.zeros((classes, classes + bool((predicted == classes).any())), dtype=int)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def confused_pairs(counts: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """The pairs of classes that are taken for each other, most often first.

    counts: of `confusion_counts`. Columns: a and b (a is taken for b at least as often as b for a), a_as_b, b_as_a,
    times (both), share (of the photos of both classes).
    """
    square = counts[:, : len(classes)]
    photos = counts.sum(axis=1)
    rows = []
    for one, other in zip(*np.nonzero(np.triu(square + square.T, 1)), strict=True):
        a, b = (one, other) if square[one, other] >= square[other, one] else (other, one)
        times = int(square[a, b] + square[b, a])
        rows.append(
            {"a": classes[a], "b": classes[b], "a_as_b": int(square[a, b]), "b_as_a": int(square[b, a])}
            | {"times": times, "share": round(times / int(photos[a] + photos[b]), 4)}
        )
    table = pd.DataFrame(rows, columns=["a", "b", "a_as_b", "b_as_a", "times", "share"])
    return table.sort_values(["times", "share", "a", "b"], ascending=[False, False, True, True], ignore_index=True)
