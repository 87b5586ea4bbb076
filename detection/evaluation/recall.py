"""How many of the vehicles that are there are found, by kind and by how large they are in their photo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detection.vehicle import Vehicle, box_iou

# Names of sizes with the least part of the photo's area that the box takes.
AREAS = (("large", 0.10), ("middle", 0.03), ("small", 0.005), ("tiny", 0.0))
# The same by the longer of the box's width and height, as a part of the photo's.
SIDES = (("40up", 0.4), ("20to40", 0.2), ("10to20", 0.1))
LEAST_OVERLAP = 0.5


class Recall:
    """Takes in one photo after another. A vehicle is found where a box, of any kind, overlaps its own by 0.5."""

    def __init__(self) -> None:
        self._found: dict[str, list[bool]] = {}

    def add(
        self,
        boxes: Sequence[Sequence[float]],
        kinds: Sequence[str],
        vehicles: Sequence[Vehicle],
        size: tuple[int, int],
    ) -> None:
        """boxes: xyxy of the vehicles that are there, `kinds` theirs. vehicles: those found. size: (height, width)."""
        height, width = size
        for box, kind in zip(boxes, kinds, strict=True):
            found = any(box_iou(box, vehicle.box) >= LEAST_OVERLAP for vehicle in vehicles)
            across, down = (box[2] - box[0]) / width, (box[3] - box[1]) / height
            area = next(name for name, least in AREAS if across * down >= least)
            side = next((name for name, least in SIDES if max(across, down) >= least), None)
            for key in (f"{kind}_{area}", None if side is None else f"side_{side}"):
                if key is not None:
                    self._found.setdefault(key, []).append(found)

    def figures(self) -> dict[str, float]:
        """`found_KIND_SIZE` and `found_side_SIDE`, each the part found; `n_...` of how many."""
        figures: dict[str, float] = {}
        for key, found in sorted(self._found.items()):
            figures |= {f"found_{key}": float(np.mean(found)), f"n_{key}": len(found)}
        return figures
