"""Temperature and least confidence, and the figures with their intervals."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from carclf.classifier.colour.reader import WORDS, ColourReader
from colour_training.paints import LIGHTS, lit
from colour_training.views import View

EVERY = ColourReader({})  # names every car, however unsure
SILVER, GREY = WORDS.index("silver"), WORDS.index("grey")
WANTED = 0.85  # of the words that are told, this share is to be right


def seen_in_lights(reader: ColourReader, views: list[View], workers: int | None = None) -> dict[str, np.ndarray]:
    """Light -> float [N, words]; of a car that is too small all are alike."""
    seen: dict[str, np.ndarray] = {}
    with ProcessPoolExecutor(workers) as pool:
        for light, how in LIGHTS.items():
            seen[light] = np.stack(list(pool.map(partial(_looked_at, reader, how), views, chunksize=16)))
    return seen


def _looked_at(reader: ColourReader, light: dict[str, float], view: View) -> np.ndarray:
    probabilities = reader.probabilities(lit(view.rgb, **light) if light else view.rgb, view.mask)
    return np.full(len(WORDS), 1 / len(WORDS)) if probabilities is None else probabilities


def answers(probabilities: np.ndarray, views: list[View]) -> tuple[np.ndarray, np.ndarray]:
    """Of each car whether the best word is right, with silver and grey as one, and its confidence."""
    told = [EVERY.told(row) for row in probabilities]
    right = [_alike(one.word or "") == _alike(view.word) for one, view in zip(told, views, strict=True)]
    return np.array(right), np.array([one.confidence for one in told])


def calibrated(seen: dict[str, np.ndarray], views: list[View]) -> tuple[float, float]:
    """Temperature and least confidence, of what a reader of temperature 1 has seen: the temperature by the likelihood
    in all lights, with silver and grey as one; the least confidence so that of the words told `WANTED` are right, in
    each data set as it is."""
    words = np.array([WORDS.index(view.word) for view in views] * len(seen))
    truth, together = np.where(words == GREY, SILVER, words), np.concatenate(list(seen.values()))

    def likelihood(temperature: float) -> float:
        powers = sharpened(together, temperature)
        powers[:, SILVER] += powers[:, GREY]
        return float(np.log(powers[np.arange(len(truth)), truth] + 1e-9).mean())

    temperature = round(float(max(np.linspace(0.3, 3, 55), key=likelihood)), 3)
    least = 0.0
    for source in sorted({view.source for view in views}):
        mine = np.array([view.source == source for view in views])
        chosen = [view for view in views if view.source == source]
        least = max(least, _least(*answers(sharpened(seen["as it is"][mine], temperature), chosen)))
    return temperature, least


def sharpened(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """As a reader of this temperature says them. probabilities: of temperature 1."""
    powers = probabilities ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def _least(right: np.ndarray, confidence: np.ndarray) -> float:
    """The lowest confidence from which on `WANTED` of the words are right."""
    order = np.argsort(-confidence, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share >= WANTED)
    return round(float(confidence[order[good[-1]]]), 2) if len(good) else 1.0


def tell(reader: ColourReader, views: list[View], seen: dict[str, np.ndarray]) -> None:
    """Prints the figures of each data set in each light, and the confusion table."""
    rng = np.random.default_rng(1)
    for source in sorted({view.source for view in views}):
        chosen = np.array([view.source == source for view in views])
        mine = [view for view in views if view.source == source]
        groups = sorted({view.group for view in mine})
        place = np.array([groups.index(view.group) for view in mine])
        print(f"\n{source}: {len(mine)} photos of {len(groups)} groups, least confidence {reader.least}")
        for light, probabilities in seen.items():
            right, confidence = answers(probabilities[chosen], mine)
            named = confidence >= reader.least
            told = np.array([named, right & named, right]).astype(float)
            sums = np.stack([np.bincount(place, one) for one in told])
            sizes = np.bincount(place)
            drawn = rng.integers(0, len(groups), (2000, len(groups)))
            of_named = sums[1][drawn].sum(axis=1) / np.maximum(sums[0][drawn].sum(axis=1), 1)
            of_all = sums[2][drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
            print(
                f"{light:10} every car named: right {right.mean():.3f} {_interval(of_all)}; told {named.mean():.3f}, "
                f"right of these {right[named].mean():.3f} {_interval(of_named)}"
            )
        names = [EVERY.told(row).word for row in seen["as it is"][chosen]]
        print(f"{'truth':8}", *(f"{word[:6]:>6}" for word in WORDS))
        for word in WORDS:
            counts = [sum(t == other and v.word == word for t, v in zip(names, mine, strict=True)) for other in WORDS]
            if sum(counts):
                print(f"{word:8}", *(f"{count or '.':>6}" for count in counts))
    start = time.process_time()
    for view in views[:100]:
        reader.probabilities(view.rgb, view.mask)
    print(f"\n{(time.process_time() - start) * 1000 / len(views[:100]):.1f} ms of one core per car, without the view")


def _interval(drawn: np.ndarray) -> str:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"({low:.3f} to {high:.3f})"


def _alike(word: str) -> str:
    return "grey" if word == "silver" else word
