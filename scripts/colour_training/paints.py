"""Cars in other light and in other paint: what the labelled photos have too little of."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from colour_training.views import View

# Photos in other light: dealers' photos are made at noon, on white or on a clean yard.
LIGHTS: dict[str, dict[str, float]] = {
    "as it is": {},
    "darker": {"gamma": 1.5},
    "brighter": {"gamma": 0.7},
    "warm": {"warmth": 0.12},
    "cold": {"warmth": -0.10},
    "dusk": {"gamma": 1.25, "gain": 0.7, "warmth": -0.08},
    "warm dusk": {"gamma": 1.25, "gain": 0.75, "warmth": 0.12},
}
# Words with few photos learn from cars painted anew: word, of which word, hue turned by degrees, chroma times, yellower
# by, gamma of the light, every which photo.
PAINTED = (
    ("purple", "blue", 40, 0.9, 0, 1.0, 4),
    ("green", "yellow", 45, 0.8, 0, 1.2, 1),
    ("green", "blue", -120, 0.8, 0, 1.0, 5),
    ("brown", "orange", 5, 0.45, 0, 1.5, 1),
    ("beige", "yellow", -8, 0.3, 0, 0.9, 3),
)
# Plain paints in RGB, for drawn cars: what is rare on the road is still to be called by its name.
PLAIN = {
    "white": (232, 233, 235),
    "silver": (165, 167, 170),
    "grey": (95, 97, 100),
    "black": (20, 20, 22),
    "red": (180, 22, 28),
    "blue": (28, 64, 155),
    "green": (30, 105, 50),
    "yellow": (235, 195, 30),
    "orange": (228, 110, 22),
    "brown": (88, 56, 38),
    "beige": (198, 176, 138),
    "purple": (92, 38, 118),
}
DRAWN = 8  # of each


def lit(rgb: np.ndarray, gamma: float = 1.0, gain: float = 1.0, warmth: float = 0.0) -> np.ndarray:
    """The view in another light."""
    values = (rgb.astype(np.float32) / 255) ** gamma * gain * np.array([1 + warmth, 1, 1 - warmth], np.float32)
    return np.clip(values * 255, 0, 255).astype(np.uint8)


def more_of(views: list[View], rng: np.random.Generator) -> list[View]:
    """Cars painted anew, and drawn ones."""
    more = [
        painted(view, word, *how)
        for word, of, *how, step in PAINTED
        for view in [view for view in views if view.word == of][:: int(step)]
    ]
    return more + [drawn(word, rng) for word in PLAIN for _ in range(DRAWN)]


def painted(view: View, word: str, turn: float, chroma: float, yellower: float, gamma: float) -> View:
    """The car in another colour; its surroundings stay."""
    lab = cv2.cvtColor(lit(view.rgb, gamma).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    a, b, angle = lab[..., 1].copy(), lab[..., 2].copy(), np.radians(turn)
    lab[..., 1] = (a * np.cos(angle) - b * np.sin(angle)) * chroma
    lab[..., 2] = (a * np.sin(angle) + b * np.cos(angle)) * chroma + yellower * np.clip(lab[..., 0] / 60, 0, 1)
    rgb = np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255, 0, 255).astype(np.uint8)
    return replace(view, rgb=np.where(view.mask[..., None], rgb, view.rgb), word=word)


def drawn(word: str, rng: np.random.Generator) -> View:
    """A plain car from the side: a shaded body with glass, tyres, lamps and a highlight, on any ground."""
    size = int(rng.integers(90, 150)), 256
    foot, left, right = int(size[0] * 0.86), int(rng.integers(15, 30)), int(rng.integers(226, 241))
    belt, roof = int(foot * rng.uniform(0.42, 0.55)), int(foot * rng.uniform(0.12, 0.25))
    rgb = np.full((*size, 3), rng.integers(70, 255), np.uint8)
    mask = np.zeros(size, np.uint8)
    cabin = np.array([[left + 50, belt], [left + 85, roof], [right - 75, roof], [right - 35, belt]])
    nose = np.array([[left, foot], [left, belt + 12], [left + 20, belt + 4]])
    body = np.concatenate([nose, cabin, [[right, belt + 6], [right, foot]]]).astype(np.int32)
    cv2.fillPoly(mask, [body], 1)
    paint = np.clip(np.array(PLAIN[word]) * rng.uniform(0.88, 1.12) + rng.normal(0, 4, 3), 4, 250)
    shade = np.interp(np.arange(size[0]), [roof, belt, foot], [rng.uniform(1, 1.2), 1, rng.uniform(0.5, 0.9)])
    car = np.clip(paint * shade[:, None, None], 0, 255) * np.ones((1, size[1], 1))
    rgb[mask > 0] = car.astype(np.uint8)[mask > 0]
    pane = (cabin - cabin.mean(axis=0)) * (0.85, 0.75) + cabin.mean(axis=0)
    glass = rng.integers(25, 200) + rng.integers(-20, 20, 3)
    cv2.fillPoly(rgb, [pane.astype(np.int32)], glass.tolist())
    cv2.line(rgb, (left + 8, belt + 10), (right - 8, belt + 10), (250, 250, 250), 1)
    for x in (left + 40, right - 42):
        cv2.circle(rgb, (x, foot), 15, (26, 26, 27), -1)
        cv2.circle(rgb, (x, foot), 8, (150, 152, 154), -1)
        cv2.circle(mask, (x, foot), 15, 1, -1)
    return View(rgb, mask.astype(bool), word, "fit", "drawn", "drawn")
