"""What all of a vehicle's cells say together: brightness, hues, texture, and what is where. Pure."""

from __future__ import annotations

import cv2
import numpy as np

from carclf.classifier.colour.view import Cells

FEATURES = 358
_QUANTILES = (2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98)
_SECTORS, _STEPS = 12, 10  # of the hue, of the lightness


def features_of(cells: Cells) -> np.ndarray:
    """float32 [FEATURES], each about -2 to 2; the vehicle and its mirror image have the same."""
    seen = _Seen(cells)
    groups = (_lightness(seen), _hues(seen), _regions(seen), _paint(seen), _contrast(seen), _texture(cells, seen.body))
    return np.concatenate([*groups, _surroundings(cells, seen.body), _thumbnail(cells, seen.body)]).astype(np.float32)


class _Seen:
    """The cells inside as columns. smooth: how even each is, 0 to 1, as paint is; body: those between roof and sill."""

    def __init__(self, cells: Cells):
        inside = cells.inside
        self.cells, self.lab, self.tint = cells, cells.lab[inside], cells.tint[inside]
        self.lightness, self.rough = self.lab[:, 0], cells.rough[inside]
        self.chroma = np.hypot(self.lab[:, 1], self.lab[:, 2])
        self.height, self.aside = cells.height[inside], cells.aside[inside]
        self.smooth = 1 / (1 + (self.rough / 4) ** 2)
        self.middle = np.where((self.height > 0.3) & (self.height < 0.8), self.smooth, 0)
        body = inside & (cells.height > 0.35) & (cells.height < 0.75)
        self.body = body if np.count_nonzero(body) >= 10 else inside


def _lightness(seen: _Seen) -> list[float]:
    order = np.argsort(seen.lightness)
    share = np.cumsum(seen.middle[order])
    share = share / max(share[-1], 1e-6)
    at = np.searchsorted(share, [0.05, 0.15, 0.25, 0.35, 0.5, 0.65, 0.75, 0.85, 0.95])
    return [
        *(np.percentile(seen.lightness, _QUANTILES) / 100),
        *(np.percentile(seen.chroma, [10, 25, 50, 75, 90, 97]) / 40),
        *(seen.lightness[order][np.minimum(at, len(order) - 1)] / 100),
        *_histogram(seen.lightness / 100 * (_STEPS - 1), seen.smooth, _STEPS),
        *_histogram(seen.lightness / 100 * (_STEPS - 1), seen.middle, _STEPS),
    ]


def _hues(seen: _Seen) -> list[float]:
    """Hues weighed by chroma, of the dark, the middling and the bright; then the tints by brightness, and of the most
    colourful."""
    turn = (np.arctan2(seen.lab[:, 2], seen.lab[:, 1]) / (2 * np.pi) % 1) * _SECTORS
    found: list[float] = []
    for low, high in ((0, 30), (30, 70), (70, 101)):
        weight = ((seen.lightness >= low) & (seen.lightness < high)) * seen.smooth * np.minimum(seen.chroma, 40) / 40
        first, part = turn.astype(int) % _SECTORS, turn - np.floor(turn)
        sums = np.bincount(first, weight * (1 - part), _SECTORS)
        sums += np.bincount((first + 1) % _SECTORS, weight * part, _SECTORS)
        found += list(np.sqrt(sums / max(seen.smooth.sum(), 1e-6)))
    rank = np.argsort(np.argsort(seen.lightness)) / len(seen.lightness)
    for fifth in range(5):
        found += _tint(seen, (rank >= fifth / 5) & (rank < (fifth + 1) / 5), 20)
    colourful = seen.chroma >= np.percentile(seen.chroma, 85)
    found += [*_tint(seen, colourful, 30), _mean(seen.lightness, colourful) / 100]
    dull = (seen.chroma >= np.percentile(seen.chroma, 80)) & (seen.lightness < np.percentile(seen.lightness, 90))
    return [*found, *_tint(seen, dull, 30), _mean(seen.lightness, dull) / 100]


def _regions(seen: _Seen) -> list[float]:
    """Lightness and tint of 6 bands from roof to sill, each in 3 from the middle to either side."""
    place = np.minimum(seen.height * 6, 5).astype(int) * 3 + np.minimum(seen.aside * 3, 2).astype(int)
    light, weight = seen.lightness, seen.smooth
    count, total = np.bincount(place, minlength=18), np.maximum(np.bincount(place, weight, 18), 1e-6)
    values = [seen.lab[:, 1] / 20, seen.lab[:, 2] / 20, seen.tint[:, 0] * 3, seen.tint[:, 1] * 3]
    mean = np.bincount(place, light, 18) / np.maximum(count, 1)
    varied = np.sqrt(np.maximum(np.bincount(place, light**2, 18) / np.maximum(count, 1) - mean**2, 0)) / 30
    table = [np.bincount(place, light * weight, 18) / total / 100, varied]
    table += [np.bincount(place, value * weight, 18) / total for value in values]
    regions = np.column_stack(table)
    regions[count < 3] = (-0.2, 0, 0, 0, 0, 0)
    return list(regions.ravel())


def _paint(seen: _Seen) -> list[float]:
    """The commonest lightness of the middle, its share and its tint; then the shape of the whole."""
    steps, _ = np.histogram(seen.lightness, bins=25, range=(0, 100), weights=seen.middle)
    steps = np.convolve(steps, [0.25, 0.5, 0.25], "same")
    top = int(steps.argmax())
    paint = (np.abs(seen.lightness - (top + 0.5) * 4) < 6) & (seen.middle > 0)
    height, width = seen.cells.inside.shape
    return [
        (top + 0.5) / 25,
        steps[top] / max(steps.sum(), 1e-6),
        *_tint(seen, paint if paint.any() else np.ones_like(paint), 20),
        width / height / 2 - 1,
        seen.cells.inside.mean(),
        seen.rough.mean() / 10,
        np.percentile(seen.rough, 30) / 10,
    ]


def _contrast(seen: _Seen) -> list[float]:
    """The body's light against the vehicle's darkest (tyres, grille) and brightest: black is as dark as tyres."""
    light = seen.cells.light
    whole, body = light[seen.cells.inside], light[seen.body]
    low, high = np.percentile(whole, [2, 98])
    quantiles = np.percentile(body, [5, 15, 25, 40, 50, 60, 75, 85, 95])
    off, spread = body - body.mean(), max(body.std(), 0.05)
    skew, peaked = (off**3).mean() / spread**3, (off**4).mean() / spread**4 / 5
    return [*(quantiles - low), *(high - quantiles), high - low, skew, peaked, body.std(), whole.std()]


def _texture(cells: Cells, body: np.ndarray) -> list[float]:
    """How the body's light varies near and far: black mirrors, metallic paint shades softly, white is flat."""
    weight, light = cells.inside.astype(np.float32), cells.light
    order = np.argsort(light[body])
    third = len(order) // 3
    found: list[float] = []
    for side in (3, 7, 15):
        mean = _near(light, weight, side)
        varied = np.sqrt(np.maximum(_near(light**2, weight, side) - mean**2, 0))[body]
        found += [*np.percentile(varied, [10, 30, 50, 70, 90]), *np.percentile(mean[body], [1, 10, 90, 99])]
        found += [varied[order[part : part + third]].mean() for part in (0, third, 2 * third)]
    down, across = np.gradient(light)
    down, across = down[body], across[body]
    steep = np.percentile(np.hypot(down, across), [20, 50, 80])
    return [*found, np.abs(down).mean() * 8, np.abs(across).mean() * 8, *(steep * 8)]


def _surroundings(cells: Cells, body: np.ndarray) -> list[float]:
    """The body against what is around the vehicle, and its tint against what has none: tyres, lamps, shade."""
    grey = cells.rgb.mean(axis=2)[body]
    middle, high, _ = cells.around
    colour = np.median(cells.lab[body][:, 1:], axis=0)
    whole = cells.light[cells.inside]
    dark = cells.inside & (cells.light <= np.percentile(whole, 15))
    bright = cells.inside & (cells.light >= np.percentile(whole, 97))
    below = cells.inside & (cells.height > 0.8)
    beside = [(colour - cells.lab[some][:, 1:].mean(axis=0)) / 10 for some in (dark, bright)]
    low = (colour - np.median(cells.lab[below][:, 1:], axis=0)) / 10 if below.any() else np.zeros(2)
    light = [np.median(grey) - middle, np.median(grey) - high, np.percentile(grey, 80) - high]
    return [*cells.around, *light, *np.concatenate([*beside, low])]


def _thumbnail(cells: Cells, body: np.ndarray) -> list[float]:
    """The light of 10 x 4 places, both sides of the vehicle averaged, and how its sides differ."""
    rows = np.linspace(0, cells.inside.shape[0], 11).astype(int)[:-1]
    columns = np.linspace(0, cells.inside.shape[1], 9).astype(int)[:-1]
    place = np.searchsorted(rows, np.arange(cells.inside.shape[0]), "right")[:, None] * 8 - 8
    place = (place + np.searchsorted(columns, np.arange(cells.inside.shape[1]), "right")[None] - 1)[cells.inside]
    count, total = np.bincount(place, minlength=80), np.bincount(place, cells.light[cells.inside], 80)
    light = np.where(count > 0, total / np.maximum(count, 1), np.median(cells.light[body])).reshape(10, 8)
    left, right = light[:, :4], light[:, :3:-1]
    return [*((left + right).ravel() / 4), *np.abs(left - right).mean(axis=1)]


def _near(values: np.ndarray, weight: np.ndarray, side: int) -> np.ndarray:
    """The mean of each cell's neighbourhood, as far as it is inside."""
    return cv2.blur(values * weight, (side, side)) / np.maximum(cv2.blur(weight, (side, side)), 1e-3)


def _tint(seen: _Seen, some: np.ndarray, scale: float) -> list[float]:
    if not some.any():
        return [0.0] * 4
    return [*(seen.lab[some, 1:].mean(axis=0) / scale), *(seen.tint[some].mean(axis=0) * 3)]


def _mean(values: np.ndarray, some: np.ndarray) -> float:
    return float(values[some].mean()) if some.any() else 0.0


def _histogram(steps: np.ndarray, weight: np.ndarray, size: int) -> np.ndarray:
    """The roots of the shares; a value between two steps counts in part for each."""
    steps = np.clip(steps, 0, size - 1)
    first = np.clip(steps.astype(int), 0, size - 2)
    part = steps - first
    sums = np.bincount(first, weight * (1 - part), size) + np.bincount(first + 1, weight * part, size)
    return np.sqrt(sums / max(weight.sum(), 1e-6))
