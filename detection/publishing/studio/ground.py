"""Where a car touches the floor: its tyres, and the line on which they and its body stand. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_NEAR = 0.012  # of the car's length: so near to the line below the car, its outline touches the floor
_RISE = 0.32  # of its height: tyres farther away stand higher in the picture, but not more than this
_RISE_AT_ENDS = 0.06  # the same for what is at the car's ends: a bumper there is no tyre
_END = 0.07  # of its length
_CLEARANCE = 0.1  # how far bumpers and sills are above the floor, as a part of the car's height


@dataclass(frozen=True)
class Ground:
    """The floor below a car, in pixels of the picture.

    left, right: columns that the car covers (right is exclusive). line: float64, the row of the floor at each of them.
    tyres: x1, x2, y of each that touches the floor. height: of the car.
    """

    left: int
    right: int
    line: np.ndarray
    tyres: tuple[tuple[float, float, float], ...]
    height: float

    @property
    def length(self) -> int:
        return self.right - self.left


def ground_of(mask: np.ndarray) -> Ground | None:
    """The ground of a car by its bool HxW mask; None without a car.

    The outline's lower hull is the line that a board would touch that is held to the car from below. Tyres are where
    the outline lies on it, low in the picture. Between and beyond them the floor is as far below the body as bumpers
    usually are.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    if len(columns) < 8:
        return None
    left, right = int(columns[0]), int(columns[-1]) + 1
    part = mask[:, left:right]
    rows = np.flatnonzero(part.any(axis=1))
    height = float(rows[-1] + 1 - rows[0])
    low = part.shape[0] - np.argmax(part[::-1], axis=0).astype(np.float64)
    full = part.any(axis=0)
    x = np.arange(right - left, dtype=np.float64)
    low = np.interp(x, x[full], low[full])
    hull = _lower_hull(x, low)
    tyres = _tyres(low, hull, height)
    points = [((x1 + x2) / 2, y) for x1, x2, y in tyres]
    line = _floor_line(low, points, height) if points else hull
    return Ground(left, right, line, tuple((x1 + left, x2 + left, y) for x1, x2, y in tyres), height)


def _tyres(low: np.ndarray, hull: np.ndarray, height: float) -> list[tuple[float, float, float]]:
    length = len(low)
    touching = np.flatnonzero(hull - low <= max(1.0, _NEAR * length))
    groups: list[list[int]] = []
    for column in touching.tolist():
        if groups and column - groups[-1][-1] <= max(2, 0.015 * length):
            groups[-1].append(column)
        else:
            groups.append([column])
    lowest = low.max()
    found = []
    for group in groups:
        bottom = float(low[group].max())
        at_end = group[-1] < _END * length or group[0] > (1 - _END) * length
        if lowest - bottom > (_RISE_AT_ENDS if at_end else _RISE) * height:
            continue
        # The patch that carries the car, not the whole round of the tyre.
        carrying = [column for column in group if bottom - low[column] <= max(1.0, 0.006 * length)]
        found.append((float(carrying[0]), float(carrying[-1] + 1), bottom))
    return found


def _floor_line(low: np.ndarray, points: Sequence[tuple[float, float]], height: float) -> np.ndarray:
    """Through the tyres, and at both ends of the car as far below its body as a bumper is above the floor."""
    length = len(low)
    lowest = max(y for _, y in points)
    ends = []
    for overhang, place in ((low[: max(1, int(points[0][0]))], 0.0), (low[int(points[-1][0]) + 1 :], length - 1.0)):
        # A tyre reaches into its overhang; the outer third of that is body.
        third = max(1, len(overhang) // 3)
        outer = overhang[:third] if place == 0.0 else overhang[-third:]
        body = float(np.median(outer)) if len(outer) else lowest
        ends.append((place, min(lowest, body + _CLEARANCE * height)))
    x = np.arange(length, dtype=np.float64)
    known = sorted({*points, *ends})
    return np.maximum(_lower_hull(np.array([p for p, _ in known]), np.array([y for _, y in known]), x), low)


def _lower_hull(x: np.ndarray, y: np.ndarray, at: np.ndarray | None = None) -> np.ndarray:
    """The lowest (largest y) convex line round points in order of x, at `at` or at the points themselves."""
    hull: list[tuple[float, float]] = []
    for point in zip(x.tolist(), y.tolist(), strict=True):
        while len(hull) >= 2 and _turns_up(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return np.interp(x if at is None else at, [p for p, _ in hull], [q for _, q in hull])


def _turns_up(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether b lies above (or on) the line from a to c, y pointing down."""
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])
