"""Fits the weights from a seed."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import numpy as np

from carclf.classifier.colour.features import features_of
from carclf.classifier.colour.reader import FAR, WORDS
from carclf.classifier.colour.view import Cells
from colour_training.paints import lit, more_of
from colour_training.views import View

LOOKS = 5  # lights of each car that are fitted to, the first as it is
PENALTY = 50.0  # on the squares of the weights
STEPS = 150


def fit(views: list[View], seed: int, workers: int | None = None) -> dict[str, np.ndarray]:
    """The weights by name, float16, as `ColourReader` takes them. workers: processes for the features."""
    looks, words = looks_of(views, seed, workers)
    print(f"{len(looks)} cars in {LOOKS} lights, {looks.shape[-1]} features", flush=True)
    return {name: np.ascontiguousarray(value, np.float16) for name, value in logistic(looks, words).items()}


def looks_of(views: list[View], seed: int, workers: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """float32 [N, LOOKS, FEATURES] and words, int [N], of the views and of cars painted anew and drawn."""
    rng = np.random.default_rng(seed)
    views = [*views, *more_of(views, rng)]
    seeds = rng.integers(0, 2**32, len(views))
    with ProcessPoolExecutor(workers) as pool:
        looks = np.stack(list(pool.map(in_lights, views, seeds, chunksize=16)))
    return looks, np.array([WORDS.index(view.word) for view in views])


def in_lights(view: View, seed: int) -> np.ndarray:
    """float32 [LOOKS, FEATURES], the first as it is."""
    rng, seen = np.random.default_rng(seed), [view.rgb]
    for _ in range(LOOKS - 1):
        gamma, gain, warmth = np.exp(rng.uniform(-0.4, 0.4)), rng.uniform(0.7, 1.15), rng.normal(0, 0.08)
        seen.append(lit(view.rgb, gamma, gain, warmth))
    found = [Cells.of(rgb, view.mask) for rgb in seen]
    return np.stack([features_of(cells) for cells in found if cells is not None])


def logistic(looks: np.ndarray, words: np.ndarray, penalty: float = PENALTY) -> dict[str, np.ndarray]:
    """Multinomial logistic regression on standardised features. looks: [N, looks, FEATURES]; words: int [N]."""
    import torch  # here: after the processes are forked

    torch.set_num_threads(1)
    flat = looks.reshape(-1, looks.shape[-1]).astype(np.float64)
    mean, scale = flat.mean(axis=0), flat.std(axis=0) + 1e-3
    x = torch.from_numpy(np.clip((flat - mean) / scale, -FAR, FAR))
    y = torch.from_numpy(np.repeat(words, looks.shape[1]))
    weight = torch.zeros(len(WORDS), x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(WORDS), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        unlikely = torch.nn.functional.cross_entropy(x @ weight.T + bias, y, reduction="sum") / looks.shape[1]
        total = unlikely + penalty * (weight**2).sum() / 2
        total.backward()
        return total

    optimizer.step(loss)
    return {"mean": mean, "scale": scale, "weight": weight.detach().numpy(), "bias": bias.detach().numpy()}
