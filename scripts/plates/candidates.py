"""What the network that looks for plates takes for one in photos whose plates are known: right finds, wrong finds."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detection.common.files import replace_file
from detection.images.read import load_image
from detection.publishing.hiding.plates import PlateFinder
from detection.publishing.hiding.shape import one_each
from detection.vehicle import box_iou
from scripts.plates.windows import Photo

LEAST = 0.04  # score below which a find is not asked about
SIDES = {"plates": (480, 768), "street": (480, 768), "nothing": (480,)}  # in which photos are looked at, in pixels
ONE_CAR = (384,)  # for photos that show one car
_MOST = 12  # of a photo, and of one of a street
_WITHOUT = 2200  # of stanford_cars' photos without a plate
_SAME, _APART = 0.3, 0.05  # overlaps


@dataclass(frozen=True)
class Candidate:
    """corners: float 4x2 in pixels of the photo's file, as found. plate: its number in the photo's quads, or None."""

    photo: Photo
    corners: np.ndarray
    plate: int | None


def candidates_in(photos: Mapping[str, Sequence[Photo]], kept: Path) -> dict[str, list[Candidate]]:
    """Of each kind of photo. Every known plate is one, too; a find that can't be told is left out.

    kept: an npz file with finds, which is read, and written where photos are missing in it.
    """
    finds = _read(kept)
    some = {name: _some(found) if name == "stanford_cars" else found for name, found in photos.items()}
    finder = PlateFinder(threads=1)
    for name, found in some.items():
        for photo in found:
            if str(photo.path) not in finds:
                finds[str(photo.path)] = look(finder, photo.path, SIDES.get(name, ONE_CAR))
    _write(kept, finds)
    return {
        name: [one for photo in found for one in matched(photo, finds[str(photo.path)])] for name, found in some.items()
    }


def matched(photo: Photo, finds: np.ndarray) -> list[Candidate]:
    """finds: float Nx4x2."""
    boxes = [_box(quad) for _, quad in photo.quads]
    found = [Candidate(photo, quad, number) for number, (kind, quad) in enumerate(photo.quads) if kind != "unsure"]
    for corners in finds:
        shared = [box_iou(_box(corners), box) for box in boxes]
        best = int(np.argmax(shared)) if shared else -1
        if not shared or shared[best] < _APART:
            found.append(Candidate(photo, corners, None))
        elif shared[best] >= _SAME and photo.quads[best][0] != "unsure":
            found.append(Candidate(photo, corners, best))
    return found


def _some(photos: Sequence[Photo]) -> list[Photo]:
    without = [photo for photo in photos if not photo.quads]
    order = np.random.default_rng(0).permutation(len(without))[:_WITHOUT]
    return [photo for photo in photos if photo.quads] + [without[number] for number in order]


def look(finder: PlateFinder, path: Path, sides: Sequence[int]) -> np.ndarray:
    """Corners (float Nx4x2) of what may be plates in a photo, the surest first."""
    image = load_image(path)
    finds = one_each([one for side in sides for one in finder.glance(image, side, LEAST)], 0.5)
    return np.array([one.corners for one in finds[:_MOST]]).reshape(-1, 4, 2)


def _read(kept: Path) -> dict[str, np.ndarray]:
    if not kept.is_file():
        return {}
    with np.load(kept, allow_pickle=False) as file:
        ends = np.cumsum(file["counts"])[:-1]
        return dict(zip(file["photos"].tolist(), np.split(file["corners"], ends), strict=True))


def _write(kept: Path, finds: Mapping[str, np.ndarray]) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        "photos": np.array(list(finds)),
        "counts": np.array([len(some) for some in finds.values()]),
        "corners": np.concatenate([*finds.values(), np.zeros((0, 4, 2))]),
    }
    file = io.BytesIO()
    np.savez(file, **arrays)
    replace_file(kept, file.getbuffer())


def _box(quad: np.ndarray) -> tuple[float, float, float, float]:
    (x1, y1), (x2, y2) = quad.min(axis=0), quad.max(axis=0)
    return float(x1), float(y1), float(x2), float(y2)
