"""Windows round finds, as the check of plates learns from them: each time another size, place and light."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from detection.images.read import load_image
from detection.publishing.hiding.check import ROOM, SIZE, window, window_width
from detection.publishing.hiding.shape import Shape
from scripts.plates.candidates import Candidate
from scripts.plates.drawn import Random, set_plate, set_words
from scripts.plates.windows import cut, spoilt

# Of the samples how many are plates, and of these and of the others how much is of which photos.
PLATES = 0.42
SHARES = {"plates": 0.34, "street": 0.16, "stanford_cars": 0.3, "dealer20": 0.08, "porsche": 0.06, "nothing": 0.06}
_SHIFT, _ZOOM = 0.07, 0.16  # of a window, by chance: its place in widths, its size in powers of e
_COARSE, _COARSEST = 0.4, 8  # how often a window has fewer pixels, and how few a plate's width has then
_DRAWN, _WORDS, _ANYWHERE = 0.25, 0.18, 0.12
_MOST_SIDE = 640
_HARD, _HARDEST = 0.5, 0.12  # how often a hard one is drawn of those that are no plates, and how many of them are hard


class Samples:
    """An endless supply of samples. Photos stay in memory once they were read."""

    def __init__(self, rng: Random, candidates: Mapping[str, Sequence[Candidate]]):
        self._rng = rng
        self._read: dict[Path, tuple[np.ndarray, float]] = {}
        self._of: dict[bool, tuple[list[list[Candidate]], np.ndarray]] = {}
        for plate in (True, False):
            groups = {
                name: [one for one in some if (one.plate is not None) == plate] for name, some in candidates.items()
            }
            groups = {name: some for name, some in groups.items() if some}
            shares = np.array([SHARES[name] for name in groups])
            self._of[plate] = list(groups.values()), shares / shares.sum()
        self._hard: list[list[Candidate]] = []

    def mine(self, score: Callable[[list[np.ndarray]], np.ndarray], at_once: int = 64) -> None:
        """From now on draws more often what a network takes for plates, of what is none.

        score: of windows (RGB uint8 HxWx3 each), float [N].
        """
        for some in self._of[False][0]:
            scores: list[float] = []
            for start in range(0, len(some), at_once):
                scores += score([self._plain(one) for one in some[start : start + at_once]]).tolist()
            order = np.argsort(scores)[::-1][: max(1, round(_HARDEST * len(some)))]
            self._hard.append([some[number] for number in order])

    def draw(self) -> tuple[np.ndarray, bool, np.ndarray, bool]:
        """Pixels (RGB uint8), whether a plate is in the middle, its corners (4x2, in widths from the middle), and
        whether they are only a box."""
        rng = self._rng
        plate = (
            bool(rng.random() < PLATES) if all(groups for groups, _ in self._of.values()) else bool(self._of[True][0])
        )
        groups, shares = self._of[plate]
        number = rng.choice(len(groups), p=shares)
        some = self._hard[number] if self._hard and not plate and rng.random() < _HARD else groups[number]
        return self._sample(some[rng.integers(len(some))])

    def _sample(self, one: Candidate) -> tuple[np.ndarray, bool, np.ndarray, bool]:
        rng = self._rng
        image, scale = self._image(one.photo.path)
        (x1, y1), (x2, y2) = one.corners.min(axis=0) * scale, one.corners.max(axis=0) * scale
        stretch = one.photo.stretch * np.exp(rng.normal(0, 0.06))
        wide = window_width((x2 - x1) * stretch, y2 - y1)
        own = wide / ROOM
        middle = np.array([x1 + x2, y1 + y2]) / 2 + rng.normal(0, _SHIFT, 2) * wide / ROOM * 2
        if one.plate is None and rng.random() < _ANYWHERE:
            height, width = image.shape[:2]
            middle, wide = rng.uniform(0.1, 0.9, 2) * (width, height), wide * np.exp(rng.normal(0, 0.5))
            if any(_touches(quad * scale, middle, wide / ROOM) for _, quad in one.photo.quads):
                middle = np.array([x1 + x2, y1 + y2]) / 2
        wide *= np.exp(rng.normal(0, _ZOOM))
        quads = [] if one.plate is None else [(one.photo.quads[one.plate][0], one.photo.quads[one.plate][1] * scale)]
        window, moved = cut(rng, image, middle, wide, stretch, quads, SIZE)
        kind, quad = moved[0] if moved else ("none", np.zeros((4, 2)))
        if kind == "quad" and rng.random() < _DRAWN and np.ptp(quad[:, 0]) > 20:
            drawn = window.astype(np.float32)
            over = set_plate(rng, drawn, over=quad)
            if over is not None:
                quad, window = over, np.clip(drawn, 0, 255).astype(np.uint8)
        elif kind == "none" and rng.random() < _WORDS:
            drawn = window.astype(np.float32)
            set_words(rng, drawn, [])
            window = np.clip(drawn, 0, 255).astype(np.uint8)
        if rng.random() < _COARSE and own > _COARSEST:
            coarse = np.exp(rng.uniform(np.log(_COARSEST), np.log(max(own, _COARSEST + 1)))) / own
            if coarse < 0.9:
                factor = coarse * wide / SIZE[1]
                if factor < 0.9:
                    small = cv2.resize(
                        window,
                        (max(8, round(SIZE[1] * factor)), max(6, round(SIZE[0] * factor))),
                        interpolation=cv2.INTER_AREA,
                    )
                    window = cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
        corners = (quad - np.array(SIZE[::-1]) / 2) / SIZE[1]
        return spoilt(rng, window), kind != "none", corners.astype(np.float32), kind == "box"

    def _plain(self, one: Candidate) -> np.ndarray:
        """The window as the network sees it where nothing is varied, but for the photo's size."""
        image, scale = self._image(one.photo.path)
        return window(image, Shape(np.float32(one.corners * scale), 1.0), 0).pixels

    def _image(self, path: Path) -> tuple[np.ndarray, float]:
        """A photo, and its pixels per pixel of the file."""
        if path not in self._read:
            image = load_image(path)
            scale = min(1.0, _MOST_SIDE / max(image.shape[:2]))
            if scale < 1:
                image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            self._read[path] = image, scale
        return self._read[path]


def _touches(quad: np.ndarray, middle: np.ndarray, reach: float) -> bool:
    (x1, y1), (x2, y2) = quad.min(axis=0) - reach, quad.max(axis=0) + reach
    return bool(x1 < middle[0] < x2 and y1 < middle[1] < y2)
