"""Photos with soft cut-outs, and what the compact detector finds in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from detection.vehicle import choose_main

LEAST_CAR = 0.05  # of the photo
_ASPECT = 4 / 3  # the photos were squeezed to squares
_AROUND = 7  # pixels round the car in which its soft edge lies


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


def soft_cutouts(data: Path, split: Path, part: str) -> Iterator[SoftCutout]:
    """Those of a part (fit, choose, report) of dealer20 in the folder `data`, in the order of their names."""
    from detection.detectors.load import load_detector
    from detection.masks.parts import part_of, read_parts

    parts = read_parts(split)
    detector = load_detector("compact", device="cpu")
    folder = data / "dealer20" / "images"
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        alpha = data / "dealer20" / "alpha" / file.relative_to(folder).with_suffix(".png")
        if not alpha.is_file() or part_of(file, parts) != part:
            continue
        pair = _pair(file, alpha)
        if pair is None:
            continue
        main = choose_main(detector.detect([pair[0]])[0], pair[0].shape[:2])
        mask = np.zeros(pair[1].shape, bool) if main is None else main.mask
        yield SoftCutout(str(file.relative_to(folder)), *pair, mask)


def _pair(photo_file: Path, alpha_file: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """A photo and the alpha of its largest car, both as wide as they were; None where there is none worth the name."""
    from detection.images.read import load_image

    photo, alpha = load_image(photo_file), cv2.imread(str(alpha_file), cv2.IMREAD_GRAYSCALE)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats((alpha > 127).astype(np.uint8))
    if count < 2:
        return None
    car = pieces == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])
    if car.mean() < LEAST_CAR:
        return None
    near = cv2.dilate(car.astype(np.uint8), np.ones((_AROUND, _AROUND), np.uint8)) > 0
    alpha = np.where(near & ((pieces == 0) | car), alpha, 0).astype(np.uint8)
    height, width = alpha.shape
    size = int(width * _ASPECT), height
    return cv2.resize(photo, size), cv2.resize(alpha, size)
