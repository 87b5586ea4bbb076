"""Photos whose car's soft cut-out is known, and what the compact detector finds in them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from detection.vehicle import choose_main

SPLITS = Path(__file__).resolve().parents[1] / "data" / "splits"
LEAST_CAR = 0.05  # of the photo
_ASPECT = 4 / 3  # the photos of dealer20 were squeezed to squares
_AROUND = 7  # pixels round the car in which its soft edge lies
_WHITE = 232  # the least of a pixel's colours in front of white; the dimmest noise of JPEG is above it
_SURE = 2  # pixels from the edge: there the car's own colour is seen
_FLAT = 60  # of 255, the least difference from white that tells how much of a pixel is car
# Beside white these have no edge that could be measured.
_PALE = ("White", "Silver", "Unlisted")


@dataclass(frozen=True, eq=False)
class SoftCutout:
    """A photo (RGB uint8 HxWx3) whose car's alpha (uint8 HxW) is known. mask: the main vehicle as the detector finds
    it, bool HxW; nothing where it finds none."""

    name: str
    photo: np.ndarray
    alpha: np.ndarray
    mask: np.ndarray

    @property
    def agreement(self) -> float:
        """IoU of mask and cut-out."""
        truth = self.alpha > 127
        return float(np.count_nonzero(truth & self.mask) / max(1, np.count_nonzero(truth | self.mask)))


def soft_cutouts(
    data: Path, part: str, kind: str = "dealer20", only: Collection[str] | None = None
) -> Iterator[SoftCutout]:
    """Those of a part (fit, choose, report) of dealer20 or porsche in the folder `data`, in the order of their names.

    kind: dealer20, whose alpha is an automatic tool's, or porsche: dark or colourful cars that stand before white, so
    that the photo says itself what is car. only: names below images/; None takes all.
    """
    from detection.detectors.load import load_detector
    from detection.masks.parts import part_of, read_parts

    parts = read_parts(SPLITS / f"{kind}.csv")
    detector = load_detector("compact", device="cpu")
    folder = data / kind / "images"
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        if (only is not None and name not in only) or part_of(file, parts) != part:
            continue
        pair = _PAIRS[kind](data / kind, name)
        if pair is None:
            continue
        main = choose_main(detector.detect([pair[0]])[0], pair[0].shape[:2])
        mask = np.zeros(pair[1].shape, bool) if main is None else main.mask
        yield SoftCutout(name, *pair, mask)


def _dealer(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """A photo and the alpha of its largest car, both as wide as they were; None where there is none worth the name."""
    from detection.images.read import load_image

    alpha_file = (folder / "alpha" / name).with_suffix(".png")
    if not alpha_file.is_file():
        return None
    photo, alpha = load_image(folder / "images" / name), cv2.imread(str(alpha_file), cv2.IMREAD_GRAYSCALE)
    car, pieces = _largest(alpha > 127)
    if car is None:
        return None
    near = cv2.dilate(car.astype(np.uint8), np.ones((_AROUND, _AROUND), np.uint8)) > 0
    alpha = np.where(near & ((pieces == 0) | car), alpha, 0).astype(np.uint8)
    height, width = alpha.shape
    size = int(width * _ASPECT), height
    return cv2.resize(photo, size), cv2.resize(alpha, size)


def _before_white(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """A photo of a car before white and its alpha: how far each pixel at the edge is from white to the car's colour."""
    from detection.images.read import load_image

    if _colours(folder / "labels.csv").get(name, _PALE[0]) in _PALE:
        return None
    photo = load_image(folder / "images" / name)
    outside = cv2.copyMakeBorder((photo.min(axis=2) < _WHITE).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    cv2.floodFill(outside, None, (0, 0), 2)  # white inside the car is a lamp or a plate
    car, _ = _largest(outside[1:-1, 1:-1] != 2)
    if car is None:
        return None
    return photo, _part_of_car(photo, car)


def _part_of_car(photo: np.ndarray, car: np.ndarray) -> np.ndarray:
    sure = cv2.erode(car.astype(np.uint8), np.ones((2 * _SURE + 1,) * 2, np.uint8), borderValue=1)
    # The car's colour beside each pixel: that of the sure ones around.
    window = (4 * _SURE + 1,) * 2
    weight = cv2.boxFilter(sure, cv2.CV_32F, window, normalize=False)
    lit = cv2.boxFilter(photo * sure[..., None], cv2.CV_32F, window, normalize=False)
    apart = 255 - lit / np.maximum(weight, 1)[..., None]
    length = np.square(apart).sum(axis=2)
    part = np.clip(((255.0 - photo) * apart).sum(axis=2) / np.maximum(length, 1), 0, 1)
    edge = cv2.dilate(car.astype(np.uint8), np.ones((3, 3), np.uint8)) - sure
    told = (edge > 0) & (weight > 0) & (length > _FLAT**2)
    return np.where(told, np.rint(255 * part), 255 * car).astype(np.uint8)


def _largest(mask: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """The largest piece of a mask (bool HxW), None where it is no car, and the numbers of all pieces."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return None, pieces
    car = pieces == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])
    return (car if car.mean() >= LEAST_CAR else None), pieces


@cache
def _colours(labels: Path) -> dict[str, str]:
    with labels.open(newline="", encoding="utf-8") as file:
        return {row["file"]: row["colour"] for row in csv.DictReader(file)}


_PAIRS: dict[str, Callable[[Path, str], tuple[np.ndarray, np.ndarray] | None]] = {
    "dealer20": _dealer,
    "porsche": _before_white,
}
