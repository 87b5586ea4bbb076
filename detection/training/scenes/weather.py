"""Bad weather and dusk, drawn over a photo for training. Pure functions on RGB uint8 HxWx3 arrays."""

from __future__ import annotations

import cv2
import numpy as np


def draw_weather(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The photo in fog, sand, rain, snow or at dusk, as a new array; which one, and how much, comes from `rng`."""
    ways = (fog, sand, rain, snow, dusk)
    return ways[rng.choice(len(ways), p=(0.27, 0.2, 0.2, 0.2, 0.13))](image, rng)


def fog(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grey = rng.uniform(130, 235)
    return _veiled(image, grey + rng.uniform(-8, 8, 3), _strength(rng), rng)


def sand(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All light comes through the dust: colours are nearly lost."""
    red = rng.uniform(160, 230)
    dust = red * np.array([1.0, rng.uniform(0.6, 0.88), rng.uniform(0.25, 0.7)], np.float32)
    tint = np.float32(rng.uniform(0.5, 1.0))
    return _veiled(image * (1 - tint) + _grey(image) * (tint * dust / red), dust, _strength(rng), rng)


def rain(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darker, greyer, veiled by spray, with streaks."""
    dull = (image * np.float32(0.5) + _grey(image) * np.float32(0.5)) * np.float32(rng.uniform(0.5, 0.9))
    veiled = _veiled(dull, np.full(3, rng.uniform(90, 190)), 0.6 * _strength(rng), rng)
    length = int(rng.integers(6, 22))
    streaks = _motion(_specks(image.shape[:2], rng.uniform(0.001, 0.006), 1, rng), length, rng.uniform(60, 120))
    return _whitened(veiled, streaks * length * rng.uniform(0.1, 0.35))


def snow(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Veiled and bleached: what is bright, or looks up, turns white; with flakes."""
    lying = np.clip((_grey(image) - rng.uniform(90, 190)) / 40, 0, 1) * np.float32(rng.uniform(0.2, 0.9))
    white = image * (1 - lying) + np.array([238, 242, 250], np.float32) * lying
    veiled = _veiled(white, np.array([215.0, 222.0, 232.0]), 0.6 * _strength(rng), rng)
    flakes = np.zeros(image.shape[:2], np.float32)
    for size in (1, 2, 4)[: rng.integers(1, 4)]:
        some = _specks(image.shape[:2], rng.uniform(0.002, 0.012) / size**2, size, rng)
        flakes = np.maximum(flakes, _motion(some, int(rng.integers(1, 6)), rng.uniform(20, 160)))
    return _whitened(veiled, flakes * rng.uniform(0.6, 2.0))


def dusk(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dark and blue, with the noise of a camera that sees little."""
    values = 255 * (np.arange(256) / 255) ** rng.uniform(1.0, 1.5) * rng.uniform(0.35, 0.7)
    tint = np.array([rng.uniform(0.7, 1.1), 0.9, rng.uniform(0.95, 1.3)], np.float32)
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0.5, 5))
    return _rounded(values.astype(np.float32)[image] * tint + noise)


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)


def _strength(rng: np.random.Generator) -> float:
    """How thick the air is: mostly so that near things are seen well and far ones hardly."""
    return float(np.exp(rng.uniform(np.log(0.4), np.log(2.6))))


def _veiled(image: np.ndarray, colour: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Light that the air adds: the more the farther, and what is higher up in a photo is mostly farther."""
    height, width = image.shape[:2]
    away = np.linspace(1, rng.uniform(0.25, 0.7), height, dtype=np.float32)[:, None]
    swathes = cv2.resize(rng.normal(0, 0.15, (3, 4)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    # At least a twelfth of the light gets through: a car that nobody could see teaches nothing.
    through = np.clip(np.exp(-strength * np.clip(away + swathes, 0, None)), 0.08, 1)[..., None]
    return _rounded(image * through + np.asarray(colour, np.float32) * (1 - through))


def _specks(size: tuple[int, int], share: float, side: int, rng: np.random.Generator) -> np.ndarray:
    """Points of about `side` pixels on black: float32 HxW, 0 to 1."""
    points = np.zeros(size, np.float32)
    count = int(share * points.size)
    points.flat[rng.integers(0, points.size, count)] = rng.uniform(0.4, 1.0, count)
    if side > 1:
        return cv2.GaussianBlur(cv2.dilate(points, np.ones((side, side), np.uint8)), (0, 0), side / 3)
    return points


def _motion(points: np.ndarray, length: int, degrees: float) -> np.ndarray:
    """Points drawn out over `length` pixels in a direction."""
    if length < 2:
        return points
    kernel = np.zeros((length, length), np.float32)
    reach = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]) * length / 2
    start, end = (tuple(int(value) for value in np.round(length / 2 - 0.5 + sign * reach)) for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0)
    return cv2.filter2D(points, -1, kernel / max(1.0, float(kernel.sum())))


def _whitened(image: np.ndarray, amount: np.ndarray) -> np.ndarray:
    amount = np.clip(amount, 0, 0.85).astype(np.float32)[..., None]
    return _rounded(image * (1 - amount) + np.float32(235) * amount)


def _rounded(image: np.ndarray) -> np.ndarray:
    return np.clip(image, 0, 255).astype(np.uint8)
