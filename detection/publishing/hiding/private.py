"""What is to be hidden in a photo, and what nearly was: plates by where they are and how sure they are, and faces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from detection.common.files import file_sha256
from detection.publishing.hiding.cover import HideStyle, cover, cover_face
from detection.publishing.hiding.faces import Face, FaceFinder, faces_fingerprint
from detection.publishing.hiding.plates import Plate, PlateFinder, plates_fingerprint
from detection.vehicle import MainChoice, Vehicle, box_iou

# Of rows: how many are hidden, the corners of each (x and y in pixels of the photo), how sure each is, and of what was
# nearly hidden how many and where; and what each is: plate or face.
PRIVATE_COLUMNS = (
    *("hidden", "hidden_at", "hidden_scores", "nearly_hidden", "nearly_at"),
    *("hidden_kinds", "nearly_kinds"),
)
_MOST_NOTED = 50
# Vehicles that did not count are looked at, too, from this score on: a plate may be on what the car check refuses.
_UNSURE = 0.3
# Wheels and lamps look like faces: below the windows, which end at this part of a vehicle's height, one must be surer.
_WINDOWS, _ON_BODY = 0.5, 0.8


@dataclass(frozen=True)
class Private:
    """hidden: what is hidden. near: what nearly was, for a person to look at."""

    hidden: Sequence[Plate | Face] = ()
    near: Sequence[Plate | Face] = ()

    def corners(self, kind: str) -> list[np.ndarray]:
        """Of what is hidden, by kind: plate or face."""
        return [one.corners for one in self.hidden if one.kind == kind]

    def values(self) -> dict[str, Any]:
        """A row's numbers and lists by `PRIVATE_COLUMNS`; of very many the first ones have places."""
        scores = [round(one.score, 3) for one in self.hidden[:_MOST_NOTED]]
        found = (len(self.hidden), _places(self.hidden), scores, len(self.near), _places(self.near))
        kinds = _kinds(self.hidden), _kinds(self.near)
        return dict(zip(PRIVATE_COLUMNS, (*found, *kinds), strict=True))

    def cells(self) -> tuple[str, ...]:
        """The same as the cells of a manifest that follow its usual ones: text, the lists as JSON."""
        return tuple(json.dumps(value, separators=(",", ":")) for value in self.values().values())


def hide_settings(style: HideStyle) -> dict[str, Any]:
    """What results depend on, as plain values: the style, the networks, and what the logo's file holds."""
    known = {"plates": plates_fingerprint, "faces": faces_fingerprint}
    networks = " ".join(known[what]() for what in style.what)
    logo = None if style.logo is None else file_sha256(Path(style.logo)).hex()
    return style.model_dump(mode="json") | {"network": networks, "logo": logo}


def find_private(
    image: np.ndarray,
    choice: MainChoice,
    found: Sequence[Vehicle],
    style: HideStyle,
    finder: PlateFinder | None = None,
    faces: FaceFinder | None = None,
) -> Private:
    """What is private in a photo. image: RGB uint8 HxWx3 at full size. choice, found: of its `Finding`.

    finder, faces: None takes the bundled one.
    """
    counted = [] if choice.main is None else [choice.main, *choice.runners_up]
    others = [one for one in found if one.score >= _UNSURE and not any(one is other for other in counted)]
    vehicles = [*counted, *_apart(others, counted)]
    plates = (finder or plate_finder()).find(image, vehicles) if "plates" in style.what else []
    if style.only_main:
        plates = [] if choice.main is None else [one for one in plates if _on(choice.main, one, image.shape[:2])]
    hidden: list[Plate | Face] = []
    near: list[Plate | Face] = []
    for plate in plates:
        needed = style.threshold if plate.on_vehicle else style.elsewhere
        if plate.score >= needed:
            hidden.append(plate)
        elif plate.score >= min(style.near, needed):
            near.append(plate)
    for face in (faces or face_finder()).find(image, vehicles) if "faces" in style.what else ():
        on_body = any(_on_body(vehicle, face, image.shape[:2]) for vehicle in vehicles)
        if face.score >= (max(_ON_BODY, style.face_threshold) if on_body else style.face_threshold):
            hidden.append(face)
        elif face.score >= style.face_near:
            near.append(face)
    return Private(tuple(hidden), tuple(near))


def hide_in(image: np.ndarray, private: Private, style: HideStyle) -> np.ndarray:
    """A copy of an RGB uint8 HxWx3 photo in which that is hidden."""
    image = image.copy()
    for corners in private.corners("plate"):
        cover(image, corners, style)
    for corners in private.corners("face"):
        cover_face(image, corners, style)
    return image


@cache
def plate_finder() -> PlateFinder:
    """The bundled network, opened once per process. A thread per photo is enough: folders run several."""
    return PlateFinder(threads=1)


@cache
def face_finder() -> FaceFinder:
    """As `plate_finder`."""
    return FaceFinder(threads=1)


def _apart(others: Sequence[Vehicle], counted: Sequence[Vehicle]) -> list[Vehicle]:
    """Those whose box is not nearly that of one that counts."""
    kept: list[Vehicle] = []
    for one in others:
        if all(box_iou(one.box, other.box) < 0.6 for other in (*counted, *kept)):
            kept.append(one)
    return kept


def _on(vehicle: Vehicle, plate: Plate, size: tuple[int, int]) -> bool:
    """Whether the middle of a plate is in the mask, or a tenth of the vehicle's size from it."""
    height, width = vehicle.mask.shape
    x, y = plate.corners.mean(axis=0) * (width / size[1], height / size[0])
    reach = 0.05 * max(vehicle.box[2] - vehicle.box[0], vehicle.box[3] - vehicle.box[1])
    rows = slice(max(0, int(y - reach)), int(y + reach) + 1)
    return bool(vehicle.mask[rows, max(0, int(x - reach)) : int(x + reach) + 1].any())


def _places(shapes: Sequence[Plate | Face]) -> list[list[list[float]]]:
    return [np.round(one.corners.astype(np.float64), 1).tolist() for one in shapes[:_MOST_NOTED]]


def _kinds(shapes: Sequence[Plate | Face]) -> list[str]:
    return [one.kind for one in shapes[:_MOST_NOTED]]


def _on_body(vehicle: Vehicle, face: Face, size: tuple[int, int]) -> bool:
    """Whether the middle of a face is in the mask, below the windows: who stands before a car is not in its mask."""
    height, width = vehicle.mask.shape
    x, y = face.corners.mean(axis=0) * (width / size[1], height / size[0])
    x1, y1, x2, y2 = vehicle.box
    along, down = (x - x1) / max(1e-6, x2 - x1), (y - y1) / max(1e-6, y2 - y1)
    lower = {0: down, 90: along, 180: 1 - down, 270: 1 - along}[vehicle.turned]
    inside = 0 <= x < width and 0 <= y < height
    return bool(inside and lower > _WINDOWS and vehicle.mask[int(y), int(x)])
