"""What every format is read into and written from: photos with their class, and the things in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from carclf.tools.exchange.shapes import Shape, shape_box
from detection.common.tally import counted

Box = tuple[float, float, float, float]
Value = str | int | float | bool | None


@dataclass(frozen=True)
class Thing:
    """One thing in a photo. box: x1, y1, x2, y2 in pixels, x2 and y2 exclusive. score: 0 to 1; None where a person
    labelled it. attributes: whatever else is said of it.
    """

    label: str
    box: Box
    shape: Shape | None = None
    score: float | None = None
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Photo:
    """name: its path below the folder of photos, with slashes; unlike any other's. path: the file. size: height and
    width as it is seen, EXIF turned. label: its class; None where it has none. split: train, val, test or None.
    score: how sure a model is of the label, 0 to 1; None where a person gave it.
    """

    name: str
    path: Path
    size: tuple[int, int]
    label: str | None = None
    split: str | None = None
    score: float | None = None
    attributes: Mapping[str, Value] = field(default_factory=dict)
    things: tuple[Thing, ...] = ()


def main_label(things: Sequence[Thing]) -> str | None:
    """The class of a photo of which only the things in it are known: that of the largest.

    >>> main_label([Thing("dog", (0, 0, 2, 2)), Thing("Audi A3", (0, 0, 9, 5))])
    'Audi A3'
    """
    largest = max(things, key=lambda thing: _area(thing.box), default=None)
    return None if largest is None else largest.label


def with_label(photo: Photo) -> Photo:
    """The photo with a class, if anything in it has one."""
    return photo if photo.label is not None else replace(photo, label=main_label(photo.things))


def labels_of(photos: Iterable[Photo]) -> list[str]:
    """All classes of things, sorted: their numbers in formats that number them."""
    return sorted({thing.label for photo in photos for thing in photo.things})


def has_split(photos: Iterable[Photo]) -> bool:
    return any(photo.split for photo in photos)


@dataclass(frozen=True)
class Holds:
    """What a format can hold. shapes: "none", "pieces" (polygons without holes that may be several), "ring" (one
    outline per thing), "pixels" or "all". box_beside: a thing with a mask may have a box that is not that round it.
    mixed_split: photos may be in no part of the split while others are.
    """

    format: str
    label: bool = True
    split: bool = True
    boxes: bool = True
    shapes: str = "all"
    box_beside: bool = True
    mixed_split: bool = True
    score: bool = True
    attributes: bool = True


def losses(photos: Sequence[Photo], holds: Holds) -> list[str]:
    """A sentence for each thing that the photos have and the format can't hold."""
    lost: Counter[str] = Counter()
    parted = has_split(photos)
    for photo in photos:
        things = photo.things
        lost["class"] += not holds.label and photo.label != main_label(things)
        lost["split"] += not holds.split and photo.split is not None
        lost["unsplit"] += parted and not holds.mixed_split and photo.split is None
        lost["things"] += 0 if holds.boxes else len(things)
        shapes = [thing.shape for thing in things if thing.shape is not None] if holds.boxes else []
        lost["masks"] += len(shapes) if holds.shapes == "none" else 0
        lost["beside"] += (
            0
            if holds.box_beside or not holds.boxes
            else sum(
                thing.shape is not None and _far(thing.box, shape_box(thing.shape, photo.size)) for thing in things
            )
        )
        lost["corners"] += sum(_rounded(shape, holds.shapes) for shape in shapes)
        lost["scores"] += (
            0
            if holds.score
            else (photo.score is not None) + sum(holds.boxes and thing.score is not None for thing in things)
        )
        lost["attributes"] += (
            0
            if holds.attributes
            else len(photo.attributes) + sum(len(thing.attributes) for thing in things if holds.boxes)
        )
    words = {
        "class": ("class of a photo", "classes of photos"),
        "split": ("photo's part of the split", "photos' parts of the split"),
        "things": ("box or mask", "boxes or masks"),
        "masks": ("mask", "masks"),
        "scores": ("confidence", "confidences"),
        "attributes": ("attribute", "attributes"),
    }
    notes = [f"{holds.format} can't hold {counted(lost[key], *words[key])}: left out." for key in words if lost[key]]
    if lost["corners"]:
        what = counted(lost["corners"], "polygon is", "polygons are")
        notes.append(f"{what} written as pixels or in one line, as {holds.format} can't hold them with holes or in "
                     "pieces: the mask is the same, its corners are not.")  # fmt: skip
    if lost["unsplit"]:
        notes.append(f"{counted(lost['unsplit'], 'photo is', 'photos are')} in no part of the split, and go to train.")
    if lost["beside"]:
        notes.append(f"{counted(lost['beside'], 'box is', 'boxes are')} left out: {holds.format} takes a thing's box "
                     "from its mask.")  # fmt: skip
    return notes


def _far(box: Box, other: Box) -> bool:
    return any(abs(one - two) > 1e-5 for one, two in zip(box, other, strict=True))


def _rounded(shape: Shape, kind: str) -> bool:
    """Whether the corners of polygons do not come back from such a format."""
    if not shape.polygons or kind == "none":
        return False
    holes = any(len(polygon) > 1 for polygon in shape.polygons)
    return {"all": False, "pixels": True, "pieces": holes, "ring": holes or len(shape.polygons) > 1}[kind]


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
