"""Colour and brightness of photos evened over a stock, within limits, and never the hue of the paint. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

# Each channel is multiplied by no more than this, up or down, beside what all are multiplied by.
MOST_COLOUR = 1.12
LEAST_LIGHT, MOST_LIGHT = 0.96, 1.5
MOST_HUE = 3.0  # degrees by which the paint's hue may move
_TRUST = 0.6  # how much of what grey world asks is done: surroundings are not grey on average, only nearly
_AIM = 118.0  # mean brightness of the surroundings
_EVEN = 0.4  # how much of the way there a photo is brought
_COLOURED, _LIT = 0.25, 0.15  # from this saturation and value on, a pixel has a hue
_FEWEST = 50  # pixels that tell something
_LOOKED_AT = 256


@dataclass(frozen=True)
class Tone:
    """What a photo is multiplied by: each of R, G and B, and the light as a whole."""

    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    light: float = 1.0


def even_tone(image: np.ndarray, mask: np.ndarray) -> Tone:
    """The tone that brings a photo nearer to the others: grey world, and brightness, of the car's surroundings.

    image: RGB uint8 HxWx3. mask: bool HxW, the car, which is not looked at but for the hue of its paint: that moves by
    `MOST_HUE` degrees at most, so of a correction that would move it more only a part is done.
    """
    step = max(1, max(mask.shape) // _LOOKED_AT)
    small, car = image[::step, ::step], mask[::step, ::step]
    reach = max(3, max(car.shape) // 24) | 1
    outside = cv2.dilate(car.astype(np.uint8), np.ones((reach, reach), np.uint8)) == 0
    pixels = small[outside].astype(np.float32)
    brightest, darkest = pixels.max(axis=1, initial=0), pixels.min(axis=1, initial=255)
    told = pixels[(brightest < 250) & (darkest > 8)]
    if len(told) < _FEWEST:
        return Tone()
    means = told.mean(axis=0)
    wanted = (means.mean() / means) ** _TRUST
    colour = np.clip(wanted, 1 / MOST_COLOUR, MOST_COLOUR)
    colour /= np.exp(np.log(colour).mean())
    light = float(np.clip((_AIM / max(1.0, float(told.mean()))) ** _EVEN, LEAST_LIGHT, MOST_LIGHT))
    paint = small[car]
    for _ in range(6):
        if hue_moved(paint, toned(paint[None], Tone(tuple(colour), light))[0]) <= MOST_HUE:
            break
        colour = np.sqrt(colour)
    else:
        colour = np.ones(3)
    red, green, blue = (float(value) for value in colour)
    return Tone((red, green, blue), light)


def toned(image: np.ndarray, tone: Tone) -> np.ndarray:
    """An RGB uint8 HxWx3 photo in another tone. Lights are bent, not cut: what was not white does not become so."""
    values = image.astype(np.float32) * np.array(tone.colour, np.float32)
    peak = np.maximum(values.max(axis=2, keepdims=True), 1.0)
    # The same factor for all three keeps the hue.
    factor = _bent(peak * tone.light) / peak
    return np.clip(np.rint(values * factor), 0, 255).astype(np.uint8)


def hue_moved(before: np.ndarray, after: np.ndarray) -> float:
    """By how many degrees the mean hue of coloured pixels (RGB uint8 Nx3 each) moves; 0 where there are hardly any."""
    hue, saturation, value = (plane.reshape(-1) for plane in cv2.split(_hsv(before)))
    coloured = (saturation >= _COLOURED) & (value >= _LIT)
    if np.count_nonzero(coloured) < _FEWEST:
        return 0.0
    changed = _hsv(after)[0, :, 0]
    turns = np.exp(1j * np.deg2rad(changed[coloured] - hue[coloured]))
    return float(abs(np.rad2deg(np.angle(turns.mean()))))


def _hsv(pixels: np.ndarray) -> np.ndarray:
    """Hue in degrees, saturation and value 0 to 1: float32 1xNx3."""
    return cv2.cvtColor(pixels[None].astype(np.float32) / 255, cv2.COLOR_RGB2HSV)


def _bent(peak: np.ndarray) -> np.ndarray:
    """Brightness as it is up to three quarters, and from there bent so that 400 comes to be 255."""
    knee, end, top = 190.0, 400.0, 255.0
    over = np.clip((peak - knee) / (end - knee), 0, 1)
    # Slope 1 at the knee, flat at the end.
    slope = (end - knee) / (top - knee)
    bent = knee + (top - knee) * (1 - (1 - over) ** slope)
    return np.where(peak <= knee, peak, bent)
