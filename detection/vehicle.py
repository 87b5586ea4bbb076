"""What a detector finds, and which of the found vehicles is the one the photo is about. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

# The runner-up counts as nearly equal from this part of the main vehicle's weight on.
TIE_RATIO = 0.8
# A vehicle in a corner of the photo keeps this part of the weight that it would have in the centre: enough to decide
# between cars of about the same size, too little for a far car in the centre to beat a near one beside it.
CORNER_CENTRALITY = 0.5
# Of two vehicles that share more than this part of the smaller one, the less sure one goes: both are one vehicle.
SHARED = 0.5
Turn = Literal[0, 90, 180, 270]  # degrees clockwise
TURNS: tuple[Turn, ...] = (90, 180, 270)


@dataclass(frozen=True)
class Look:
    """What the car check makes of a vehicle. car: probability of a car, 0 to 1. other: the best class that is none.
    evidence: for a vehicle of any kind, log-odds; None where the detector's scores are not corrected by it."""

    car: float
    other: str
    evidence: float | None = None


@dataclass(frozen=True, eq=False)
class Vehicle:
    """One vehicle in one photo.

    `box` is x1, y1, x2, y2 in pixels, x2 and y2 exclusive; `mask` is bool HxW of the whole photo; `score` is 0..1;
    `kind` is the detector's class name (car, truck, bus). `alpha` is the soft mask, uint8 HxW (255 is vehicle), once
    the edge has been fitted to the photo (`finish_vehicle`). `look` is what the car check made of it, None where it
    was not asked. `turned` is by how much the photo has to be turned for the vehicle to stand upright, 0 for most; box
    and mask are those of the photo as it is.
    """

    box: tuple[float, float, float, float]
    mask: np.ndarray
    score: float
    kind: str = "car"
    alpha: np.ndarray | None = None
    look: Look | None = None
    turned: Turn = 0

    @property
    def turn_note(self) -> str:
        """What a row says of a photo that had to be turned; empty for most."""
        if self.turned == 180:
            return "the photo seems to be upside down: turned by 180 degrees"
        return f"the photo seems to lie on its side: turned by {self.turned} degrees clockwise" if self.turned else ""


@dataclass(frozen=True, eq=False)
class MainChoice:
    """The chosen vehicle and the rest, heaviest first.

    `weights` belongs to `(main, *runners_up)`; `tie` is true when the first runner-up weighs at least `TIE_RATIO`
    of the main vehicle.
    """

    main: Vehicle | None
    runners_up: tuple[Vehicle, ...]
    tie: bool
    weights: tuple[float, ...] = ()

    @property
    def nearly_equal(self) -> int:
        """How many vehicles, the main one included, weigh at least `TIE_RATIO` of it; 0 without a vehicle."""
        return sum(weight >= TIE_RATIO * self.weights[0] for weight in self.weights)


def shared(one: Vehicle, other: Vehicle) -> float:
    """The pixels of both masks, as a part of the smaller one, 0 to 1. They are counted where the boxes meet."""
    x1, y1 = (max(0, int(max(one.box[side], other.box[side])) - 1) for side in (0, 1))
    x2, y2 = (int(np.ceil(min(one.box[side], other.box[side]))) + 1 for side in (2, 3))
    if x2 <= x1 or y2 <= y1:
        return 0.0
    both = int(np.count_nonzero(one.mask[y1:y2, x1:x2] & other.mask[y1:y2, x1:x2]))
    return both / max(1, min(int(np.count_nonzero(one.mask)), int(np.count_nonzero(other.mask)))) if both else 0.0


def centrality(box: Sequence[float], size: tuple[int, int]) -> float:
    """1 when the box's centre is the photo's centre, falling in a straight line to `CORNER_CENTRALITY` at a corner.

    `size` is (height, width). A centre beyond the frame counts as a corner.

    >>> centrality((0, 0, 200, 100), (100, 200))
    1.0
    """
    height, width = size
    x1, y1, x2, y2 = box
    distance = math.hypot((x1 + x2) / 2 - width / 2, (y1 + y2) / 2 - height / 2)
    half_diagonal = math.hypot(width, height) / 2
    return 1.0 - (1.0 - CORNER_CENTRALITY) * min(1.0, distance / half_diagonal)


def vehicle_weight(vehicle: Vehicle, size: tuple[int, int]) -> float:
    """Mask area as a part of the photo, times score, times centrality: 0..1.

    Raises ValueError when the mask is not a mask of a photo of that size.
    """
    height, width = size
    if vehicle.mask.shape != (height, width):
        raise ValueError(f"The mask is {vehicle.mask.shape}, but the photo is {(height, width)} (height, width).")
    area = int(np.count_nonzero(vehicle.mask)) / (height * width)
    return area * float(vehicle.score) * centrality(vehicle.box, size)


def box_weight(box: Sequence[float], size: tuple[int, int]) -> float:
    """The most that a vehicle in the box (x1, y1, x2, y2, pixels) can weigh in a photo of (height, width) `size`."""
    x1, y1, x2, y2 = box
    # Its own box may lie anywhere within this one, and nearer to the centre.
    return max(0.0, x2 - x1) * max(0.0, y2 - y1) / (size[0] * size[1])


def rank_vehicles(vehicles: Sequence[Vehicle], size: tuple[int, int]) -> MainChoice:
    """Orders vehicles by `vehicle_weight`; those of equal weight stay in the given order.

    `size` is (height, width). Vehicles of no weight (empty mask or score 0) are left out.

    >>> mask = np.ones((4, 4), bool)
    >>> rank_vehicles([Vehicle((0, 0, 4, 4), mask, 0.6), Vehicle((0, 0, 4, 4), mask, 0.9)], (4, 4)).main.score
    0.9
    """
    weighed = [(vehicle_weight(vehicle, size), vehicle) for vehicle in vehicles]
    weighed = sorted((pair for pair in weighed if pair[0] > 0), key=lambda pair: -pair[0])
    if not weighed:
        return MainChoice(None, (), False)
    weights = tuple(weight for weight, _ in weighed)
    main, *runners_up = (vehicle for _, vehicle in weighed)
    tie = len(weights) > 1 and weights[1] >= TIE_RATIO * weights[0]
    return MainChoice(main, tuple(runners_up), tie, weights)


def choose_main(vehicles: Sequence[Vehicle], size: tuple[int, int]) -> Vehicle | None:
    """The vehicle that the photo is about: the heaviest by `vehicle_weight`; None when there is none.

    `size` is (height, width) of the photo.
    """
    return rank_vehicles(vehicles, size).main


def mask_box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """The smallest x1, y1, x2, y2 (x2 and y2 exclusive) round the true pixels of a bool HxW mask; None when empty.

    >>> mask_box(np.eye(4, dtype=bool)[:3])
    (0, 0, 3, 3)
    """
    columns = np.flatnonzero(mask.any(axis=0))
    if not len(columns):
        return None
    rows = np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def filled_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """`mask_box` of a mask that has a true pixel. Raises ValueError when it has none."""
    box = mask_box(mask)
    if box is None:
        raise ValueError("The mask is empty.")
    return box


def soft_box(soft: np.ndarray, level: float) -> tuple[float, float, float, float] | None:
    """The box round what reaches `level` in a soft mask (HxW numbers), to a part of a pixel; None when nothing does.

    Between the first pixel that reaches it and its neighbour the mask is taken to change in a straight line; at the
    frame the box ends with it. So a mask that changes a little moves its box a little, not by a whole pixel or not at
    all.

    >>> soft_box(np.array([[0.0, 0.25, 1.0, 1.0, 0.0]]), 0.5)
    (1.8333333333333335, 0.0, 4.0, 1.0)
    """
    if not soft.size:
        return None
    across, down = (_crossings(soft.max(axis=axis), level) for axis in (0, 1))
    if across is None or down is None:
        return None
    return across[0], down[0], across[1], down[1]


def _crossings(profile: np.ndarray, level: float) -> tuple[float, float] | None:
    """Where a row of numbers first and last crosses a level, in pixels from its start; None when it stays below."""
    reached = np.flatnonzero(profile >= level)
    if not len(reached):
        return None
    profile = profile.astype(np.float64)
    first, last = int(reached[0]), int(reached[-1])
    start, end = 0.0, float(len(profile))
    if first > 0:
        start = first + 0.5 - (profile[first] - level) / (profile[first] - profile[first - 1])
    if last + 1 < len(profile):
        end = last + 0.5 + (profile[last] - level) / (profile[last] - profile[last + 1])
    return float(start), float(end)


def resize_vehicle(vehicle: Vehicle, size: tuple[int, int]) -> Vehicle:
    """The same vehicle in the same photo at another (height, width): box scaled, mask enlarged with smooth edges.

    Its edge is to be fitted to the photo after that, not before: `alpha` does not come along.
    """
    height, width = size
    old_height, old_width = vehicle.mask.shape
    if (height, width) == (old_height, old_width):
        return vehicle
    soft = cv2.resize(vehicle.mask.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_LINEAR)
    across, down = width / old_width, height / old_height
    x1, y1, x2, y2 = vehicle.box
    box = x1 * across, y1 * down, x2 * across, y2 * down
    return Vehicle(box, soft > 127, vehicle.score, vehicle.kind, turned=vehicle.turned)


def turned_array(array: np.ndarray, degrees: int) -> np.ndarray:
    """A photo or mask (HxW or HxWxC), turned clockwise by 0, 90, 180 or 270 degrees.

    >>> turned_array(np.array([[1, 2, 3]]), 90).tolist()
    [[1], [2], [3]]
    """
    return array if degrees == 0 else np.ascontiguousarray(np.rot90(array, -(degrees // 90)))


def turned_back(vehicle: Vehicle, degrees: Turn) -> Vehicle:
    """A vehicle that was found in a photo turned clockwise by `degrees`, in the photo as it is.

    >>> turned_back(Vehicle((0, 10, 30, 20), np.zeros((40, 80), bool), 0.9), 90).box
    (10, 50, 20, 80)
    """
    mask = turned_array(vehicle.mask, (360 - degrees) % 360)
    return replace(vehicle, box=box_turned_back(vehicle.box, degrees, mask.shape), mask=mask, turned=degrees)


def box_turned_back(box: Sequence[float], degrees: int, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """A box (xyxy) of a photo turned clockwise by `degrees`, in the photo as it is, of (height, width) `size`.

    >>> box_turned_back((0, 10, 30, 20), 90, (80, 40))
    (10, 50, 20, 80)
    """
    height, width = size
    x1, y1, x2, y2 = box
    if degrees == 90:
        x1, y1, x2, y2 = y1, height - x2, y2, height - x1
    elif degrees == 180:
        x1, y1, x2, y2 = width - x2, height - y2, width - x1, height - y1
    elif degrees == 270:
        x1, y1, x2, y2 = width - y2, x1, width - y1, x2
    return x1, y1, x2, y2


def box_iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (xyxy); 0 for two without an area.

    >>> box_iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - shared
    return shared / union if union > 0 else 0.0
