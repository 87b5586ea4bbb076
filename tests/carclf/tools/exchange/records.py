"""Photos with things in them, as hypothesis draws them, and what a format must give back of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from carclf.tools.exchange.formats import voc
from carclf.tools.exchange.record import Holds, Photo, Thing, _rounded, has_split, main_label, with_label
from carclf.tools.exchange.shapes import Shape, mask_shape, shape_box, shape_mask

SIZE = (20, 30)  # height and width
_LETTERS = st.characters(blacklist_categories=("Cs", "Cc", "Cn"))
_LABELS = st.sampled_from(["Audi A3", "Škoda Octavia", 'A "B" <C> & D', "1", "true"]) | st.text(
    _LETTERS, min_size=1, max_size=8
).filter(lambda text: text.strip())
_SCORES = st.none() | st.floats(0, 1)
_VALUES = (
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | st.text(_LETTERS, max_size=6)
)
_KEYS = st.sampled_from(["colour", "pose", "truncated", "a.b", "$x"])
_ATTRIBUTES = st.dictionaries(_KEYS, _VALUES, max_size=3)
_STEMS = st.sampled_from(["a", "a b", "é", "images", "x#1", "a%20b"])


@st.composite
def _boxes(draw, least=0.25):
    x1, y1 = draw(st.integers(0, 100)) / 4, draw(st.integers(0, 60)) / 4
    return x1, y1, x1 + least + draw(st.integers(0, 15)) / 4, y1 + least + draw(st.integers(0, 15)) / 4


@st.composite
def _shapes(draw):
    kind = draw(st.sampled_from(["pixels", "polygon", "pieces", "hole"]))
    if kind == "pixels":
        cells = draw(st.lists(st.booleans(), min_size=12, max_size=12))
        small = np.array([*cells[1:], True]).reshape(3, 4)
        return mask_shape(np.pad(np.kron(small, np.ones((6, 7), bool)), 1))
    x, y = draw(st.integers(0, 40)) / 4, draw(st.integers(0, 20)) / 4
    ring = ((x, y), (x + 9.125, y), (x + 9, y + 8), (x, y + 9.5))
    hole = ((x + 2, y + 2), (x + 6, y + 2), (x + 6, y + 6), (x + 2, y + 6))
    other = ((20.0, 1.0), (29.0, 1.0), (29.0, 9.5))
    return Shape({"polygon": ((ring,),), "pieces": ((ring,), (other,)), "hole": ((ring, hole),)}[kind])


@st.composite
def _things(draw):
    shape = draw(st.none() | _shapes())
    box = shape_box(shape, SIZE) if shape is not None and draw(st.booleans()) else draw(_boxes())
    return Thing(draw(_LABELS), box, shape, draw(_SCORES), draw(_ATTRIBUTES))


@st.composite
def photo_lists(draw, folder: Path):
    """One to three photos, whose files lie in `folder` (see `write_photos`)."""
    photos = []
    for number in range(draw(st.integers(1, 3))):
        things = tuple(draw(st.lists(_things(), max_size=3)))
        label = draw(_LABELS) if draw(st.booleans()) else None
        name = f"{draw(_STEMS)}/{draw(_STEMS)}{number}.png"
        split = draw(st.sampled_from([None, "train", "val", "test"]))
        photo = Photo(name, folder / f"{number}.png", SIZE, label, split, None, draw(_ATTRIBUTES), things)
        photo = with_label(photo)
        photos.append(replace(photo, score=draw(_SCORES)) if photo.label is not None else replace(photo, attributes={}))
    return photos


def write_photos(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(3):
        Image.fromarray(np.full((*SIZE, 3), 80 * number, np.uint8)).save(folder / f"{number}.png")
    return folder


def held(photos: list[Photo], holds: Holds) -> list[Photo]:
    """What is left of the photos once they have been in such a format."""
    return [_held_photo(photo, holds, has_split(photos)) for photo in photos]


def _held_photo(photo: Photo, holds: Holds, parted: bool) -> Photo:
    things = list(photo.things)
    if holds.format == "Pascal VOC":
        numbers, _ = voc._numbered(photo)
        things = [
            thing if thing.shape is None else replace(thing, shape=mask_shape(numbers == place))
            for place, thing in enumerate(things, 1)
        ]
    if holds.format == "YOLO" and any(thing.shape for thing in things):
        things = [thing if thing.shape else replace(thing, shape=_corners(thing)) for thing in things]
    kept = tuple(_held_thing(thing, holds) for thing in things)
    label = photo.label if holds.label else main_label(kept)
    split = photo.split or ("train" if parted and not holds.mixed_split else None)
    score, attributes = photo.score if holds.score else None, photo.attributes if holds.attributes else {}
    return replace(photo, label=label, split=split, score=score, attributes=attributes, things=kept)


def _held_thing(thing: Thing, holds: Holds) -> Thing:
    as_pixels = not holds.box_beside and holds.format != "YOLO"  # what a format writes as pixels has their box
    if thing.shape is not None and as_pixels and _rounded(thing.shape, holds.shapes):
        thing = replace(thing, shape=mask_shape(shape_mask(thing.shape, SIZE)))
    if thing.shape is not None and not holds.box_beside:
        thing = replace(thing, box=shape_box(thing.shape, SIZE))
    return replace(
        thing, score=thing.score if holds.score else None, attributes=thing.attributes if holds.attributes else {}
    )


def _corners(thing: Thing) -> Shape:
    x1, y1, x2, y2 = thing.box
    return Shape(((((x1, y1), (x2, y1), (x2, y2), (x1, y2)),),))


def plain(photos: list[Photo], kind: str) -> list:
    """All that is said of the photos, in a form that can be compared. kind: as in `Holds.shapes`."""
    return sorted((_plain_photo(photo, kind) for photo in photos), key=repr)


def _plain_photo(photo: Photo, kind: str) -> tuple:
    things = sorted((_plain(thing, kind) for thing in photo.things), key=repr)
    content = photo.path.read_bytes()[-30:]
    return content, photo.label, photo.split, photo.score, _said(photo.attributes), things


def _said(attributes) -> list:
    return sorted((key, type(value).__name__, value) for key, value in attributes.items())


def _plain(thing: Thing, kind: str) -> tuple:
    shape = thing.shape
    mask = None if shape is None else shape_mask(shape, SIZE).tolist()
    whole = shape is not None and shape.polygons and all(len(one) == 1 for one in shape.polygons)
    corners = kind in ("pieces", "all", "ring") and whole and (kind != "ring" or len(shape.polygons) == 1)
    return thing.label, thing.box, thing.score, _said(thing.attributes), mask, shape.polygons if corners else None
