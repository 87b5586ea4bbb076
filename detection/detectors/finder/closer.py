"""A closer look: parts of a photo, each shown to the detector as large as a whole photo is, for small vehicles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from detection.vehicle import SHARED, Vehicle, shared

# Two parts side by side and two one above the other, each PART of the photo's sides: what is smaller than the fifth of
# a side in which they overlap is whole in one of them.
PART = 0.6
# A vehicle that ends this near to a border inside the photo, as a part of the side, may be cut off there.
BORDER = 0.01

Detect = Callable[[Sequence[np.ndarray]], list["list[Vehicle] | Exception"]]
Box = tuple[int, int, int, int]


def look_closer(
    views: Sequence[np.ndarray], found: Sequence[list[Vehicle] | Exception], detect: Detect
) -> list[list[Vehicle] | Exception]:
    """What was found in each photo, and what only its parts show, best score first; an exception stays one.

    views: RGB uint8 HxWx3. detect: finds vehicles in photos, as `VehicleFinder.find` does; it is shown four parts per
    photo, so all together takes five times as long.
    """
    results: list[list[Vehicle] | Exception] = list(found)
    asked = [(index, box) for index, view in enumerate(views) for box in parts(view.shape[0], view.shape[1])
             if not isinstance(found[index], Exception)]  # fmt: skip
    pictures = [np.ascontiguousarray(views[index][y1:y2, x1:x2]) for index, (x1, y1, x2, y2) in asked]
    more: dict[int, list[Vehicle]] = {}
    for (index, box), vehicles in zip(asked, detect(pictures) if pictures else (), strict=True):
        if isinstance(vehicles, Exception):
            results[index] = vehicles
        else:
            more.setdefault(index, []).extend(_whole(vehicles, box, views[index].shape[:2]))
    return [
        one if isinstance(one, Exception) else _apart([*one, *more.get(index, ())]) for index, one in enumerate(results)
    ]


def parts(height: int, width: int) -> list[Box]:
    """x1, y1, x2, y2 of the parts of a photo, in pixels.

    >>> parts(100, 200)
    [(0, 0, 120, 60), (80, 0, 200, 60), (0, 40, 120, 100), (80, 40, 200, 100)]
    """
    high, wide = max(1, round(PART * height)), max(1, round(PART * width))
    return [(x, y, x + wide, y + high) for y in (0, height - high) for x in (0, width - wide)]


def _whole(vehicles: Sequence[Vehicle], part: Box, size: tuple[int, ...]) -> Iterator[Vehicle]:
    """Those of a part that are not cut off by its borders inside the photo, in the whole photo."""
    left, top, right, bottom = part
    height, width = size
    near_x, near_y = BORDER * (right - left), BORDER * (bottom - top)
    for vehicle in vehicles:
        x1, y1, x2, y2 = vehicle.box
        cut = (
            (left > 0 and x1 <= near_x)
            or (top > 0 and y1 <= near_y)
            or (right < width and x2 >= right - left - near_x)
            or (bottom < height and y2 >= bottom - top - near_y)
        )
        if not cut:
            mask = np.zeros((height, width), bool)
            mask[top:bottom, left:right] = vehicle.mask
            yield replace(vehicle, box=(x1 + left, y1 + top, x2 + left, y2 + top), mask=mask)


def _apart(vehicles: Sequence[Vehicle]) -> list[Vehicle]:
    """Each vehicle once, best score first."""
    kept: list[Vehicle] = []
    for vehicle in sorted(vehicles, key=lambda one: -one.score):
        if all(shared(vehicle, other) <= SHARED for other in kept):
            kept.append(vehicle)
    return kept
