"""A drawn car that a detector and a check know by where its roof is, for the tests of turned photos."""

from __future__ import annotations

import numpy as np

from detection.detectors.contract import Detector
from detection.vehicle import Look, Vehicle

RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 255, 0)


def draw_roof(*, sure_on_its_side: bool = False) -> np.ndarray:
    """A car left of the middle: a red body below a blue roof. With a green line the detector is sure of it anyway."""
    view = np.full((120, 200, 3), 128, np.uint8)
    view[40:50, 40:120] = BLUE
    view[50:80, 40:120] = RED
    if sure_on_its_side:
        view[0, 0] = GREEN
    return view


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def stands(view: np.ndarray) -> str:
    """Where the roof is: top, bottom, side; empty where there is no car."""
    body, roof = (view == RED).all(axis=2), (view == BLUE).all(axis=2)
    if not body.any() or not roof.any():
        return ""
    (_, top, _, bottom), (_, y1, _, y2) = box_of(body), box_of(roof)
    if y2 <= top or y1 >= bottom:
        return "top" if y2 <= top else "bottom"
    return "side"


class Roofs(Detector):
    """Finds the drawn car. Is very sure of an upright one, less of one upside down, and sees none on its side."""

    name, fingerprint = "roofs", "roofs-0.8"
    own_threshold = score_threshold = 0.8

    def __init__(self, check: RoofCheck | None = None):
        self.seen: list[tuple[int, ...]] = []
        self.check = check

    def car_check(self):
        return self.check

    def detect(self, images):
        self.seen += [image.shape[:2] for image in images]
        return [self.one(image) for image in images]

    def one(self, image: np.ndarray) -> list[Vehicle]:
        score = {"top": 0.99, "bottom": 0.9, "side": 0.0, "": 0.0}[stands(image)]
        if (image == GREEN).all(axis=2).any():
            score = max(score, 0.985)
        mask = (image == RED).all(axis=2) | (image == BLUE).all(axis=2)
        return [Vehicle(box_of(mask), mask, score)] if score else []


class RoofCheck:
    def __init__(self):
        self.asked = 0

    def look(self, views):
        self.asked += len(views)
        chance = {"top": 0.9, "bottom": 0.6, "side": 0.1, "": 0.0}
        return [Look(chance[stands(view)], "tent") for view in views]
