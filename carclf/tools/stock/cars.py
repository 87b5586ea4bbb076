"""Which photos show one car: by the folder that they lie in, or by their look, paint and time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from carclf.classifier.colour.reader import WORDS
from carclf.classifier.contract import unit
from carclf.classifier.garage.prior import Prior
from carclf.tools.garage.groups import MOST, join
from carclf.tools.stock.photo import StockPhoto
from detection.common.errors import UsageError

LOOSE = "."  # the car of photos that lie in no folder of a car
# Chosen by benchmarks/stock.py on pairs of photos of 461 adverts: see docs/stock.md.
PAINT = 0.5  # what the paint counts, beside the look's 1
APART = 0.40  # mean distance at which groups stay apart
ANOTHER = 0.70  # and at which a photo is said to show another car than its folder's
_TIME, _SOON = 0.2, 300.0  # how much nearer two photos are that were taken at once; nothing after so many seconds


def folder_cars(photos: Sequence[StockPhoto]) -> list[str]:
    """The folder of each photo, below the one that was given."""
    return [str(PurePosixPath(photo.file).parent) for photo in photos]


def look_cars(photos: Sequence[StockPhoto], prior: Prior | None) -> list[str]:
    """`car 001` and so on, in the order of their first photos; empty for photos without a car.

    Raises `UsageError` for more photos than can be compared.
    """
    seen = [number for number, photo in enumerate(photos) if photo.vector is not None]
    if len(seen) > MOST:
        raise UsageError(f"{MOST} photos can be grouped at a time, not {len(seen)}: give each car a folder.")
    groups = join(distances([photos[number] for number in seen], prior), APART)
    names: dict[int, str] = {}
    cars = [""] * len(photos)
    for number, group in zip(seen, groups, strict=True):
        cars[number] = names.setdefault(int(group), f"car {len(names) + 1:03}")
    return cars


def strangers(photos: Sequence[StockPhoto], prior: Prior | None) -> list[int]:
    """Of the photos of one folder, those that show another car than most of them; all, where there is no most."""
    seen = [number for number, photo in enumerate(photos) if photo.vector is not None]
    if len(seen) < 2:
        return []
    groups = join(distances([photos[number] for number in seen], prior, times=False), ANOTHER)
    sizes = np.bincount(groups)
    tied = len(sizes) > 1 and sizes[0] == sizes[1]  # the largest group comes first
    return [number for number, group in zip(seen, groups, strict=True) if group or tied]


def distances(photos: Sequence[StockPhoto], prior: Prior | None, times: bool = True) -> np.ndarray:
    """float32 [N, N], how unlike the cars are: 0 for one and the same look.

    All have vectors. prior: damps what changes in a car's vector from side to side; None for a classifier without one.
    times: whether photos that were taken soon after each other are nearer.
    """
    if not photos:
        return np.zeros((0, 0), np.float32)
    looks = np.stack([photo.vector for photo in photos if photo.vector is not None])
    looks = unit(looks) if prior is None else prior.steady(looks)
    even = np.full(len(WORDS), 1 / len(WORDS), np.float32)
    paints = np.sqrt([even if photo.paint is None else photo.paint for photo in photos])
    apart = (1 - looks @ looks.T) + PAINT * (1 - unit(paints) @ unit(paints).T)
    if times:
        apart -= _TIME * (1 - np.minimum(_seconds(photos) / _SOON, 1))
    return apart.astype(np.float32)


def _seconds(photos: Sequence[StockPhoto]) -> np.ndarray:
    """float [N, N] between each two photos; infinite where one of them has no time."""
    taken = np.array([np.nan if photo.taken is None else photo.taken.timestamp() for photo in photos])
    return np.nan_to_num(np.abs(taken[:, None] - taken), nan=np.inf)
