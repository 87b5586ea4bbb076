"""COCO: one JSON with images, annotations and categories. Masks are polygons, or runs where they have holes.

The class of a photo, its part of the split, confidences and attributes are keys more, which other readers pass over.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from carclf.datasets.names import SPLITS, split_named
from carclf.tools.exchange.files import Finder, bring, broken_notes, photo_folders
from carclf.tools.exchange.guards import (
    attributes_of,
    box_of,
    number,
    read_json,
    reading,
    score_of,
    size_of,
    text_of,
    thing_of,
    write_values,
)
from carclf.tools.exchange.record import Holds, Photo, Thing, has_split, labels_of
from carclf.tools.exchange.shapes import Shape, pixel_shape, polygon_shape, shape_counts, shape_mask
from detection.common.errors import UsageError
from detection.common.tally import counted

HOLDS = Holds("COCO", shapes="pieces")


def write(photos: Sequence[Photo], output: Path) -> list[str]:
    """annotations/instances_<split>.json, one per part of the split, and images/."""
    bring(photos, [photo.name for photo in photos], output / "images")
    parts = {split: [photo for photo in photos if photo.split == split] for split in (*SPLITS, None)}
    for split, some in parts.items():
        if some or (split is None and not has_split(photos)):
            write_values(output / "annotations" / f"instances_{split or 'all'}.json", content(some, labels_of(photos)))
    return []


def content(photos: Sequence[Photo], labels: Sequence[str]) -> dict[str, Any]:
    """What a COCO file of these photos holds. labels: its categories, in the order of their numbers."""
    numbers = {label: number for number, label in enumerate(labels, 1)}
    images: list[dict] = []
    annotations: list[dict] = []
    for image_id, photo in enumerate(photos, 1):
        height, width = photo.size
        about = {"label": photo.label, "split": photo.split, "score": photo.score}
        said: dict[str, Any] = {key: value for key, value in about.items() if value is not None}
        said |= {"attributes": dict(photo.attributes)} if photo.attributes else {}
        images.append({"id": image_id, "file_name": photo.name, "width": width, "height": height, **said})
        for thing in photo.things:
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image_id, "category_id": numbers[thing.label]}
                | _annotation(thing, photo.size)
            )
    categories = [{"id": number, "name": label, "supercategory": ""} for label, number in numbers.items()]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}


def _annotation(thing: Thing, size: tuple[int, int]) -> dict[str, Any]:
    x1, y1, x2, y2 = thing.box
    width, height = round(x2 - x1, 6), round(y2 - y1, 6)
    found: dict[str, Any] = {"bbox": [x1, y1, width, height], "area": width * height, "iscrowd": 0}
    if thing.shape is not None:
        found["segmentation"] = _segmentation(thing.shape, size)
        found["area"] = int(shape_mask(thing.shape, size).sum())
    found |= {} if thing.score is None else {"score": thing.score}
    return found | ({"attributes": dict(thing.attributes)} if thing.attributes else {})


def _segmentation(shape: Shape, size: tuple[int, int]) -> list | dict:
    if shape.polygons and all(len(polygon) == 1 for polygon in shape.polygons):
        return [[value for point in polygon[0] for value in point] for polygon in shape.polygons]
    return {"size": list(size), "counts": shape_counts(shape, size)}


def read(source: Path, images: Path | None) -> tuple[list[Photo], list[str]]:
    """A COCO file, or a folder with some: the parts of the split are told by their names."""
    files = [source] if source.is_file() else _files(source)
    photos: list[Photo] = []
    finders = []
    crowds = 0
    for file in files:
        root = file.parent.parent if file.parent.name == "annotations" else file.parent
        split = _split_in(file.stem) or split_named(file.parent.name)
        finder = Finder(file, photo_folders(root, images, "images", *_split_folders(split), "photos"))
        some, left = _read(file, finder, split)
        photos, crowds = photos + some, crowds + left
        finders.append(finder)
    notes = [f"{counted(crowds, 'region')} marked as crowds left out."] if crowds else []
    return photos, notes + broken_notes(*finders)


def _split_folders(split: str | None) -> list[str]:
    words = {"train": ("train", "train2017"), "val": ("val", "valid", "val2017"), "test": ("test", "test2017")}
    return [] if split is None else [place for word in words[split] for place in (f"images/{word}", word)]


def _files(folder: Path) -> list[Path]:
    for place in (folder / "annotations", folder):
        if files := [file for file in sorted(place.glob("*.json")) if file.is_file()]:
            return files
    deeper = sorted(folder.glob("*/_annotations.coco.json"))
    if not deeper:
        raise UsageError(f"There is no COCO file in '{folder}' or '{folder / 'annotations'}': name the file itself.")
    return deeper


def _split_in(stem: str) -> str | None:
    """train, val or test where the name of a file says so.

    >>> _split_in("instances_val2017"), _split_in("masks")
    ('val', None)
    """
    words = re.findall("[a-z]+", stem.lower())
    return next((split for word in reversed(words) if (split := split_named(word))), None)


def _read(file: Path, finder: Finder, split: str | None) -> tuple[list[Photo], int]:
    """The photos of one file, and how many of its annotations are crowds."""
    values = read_json(file)
    found: dict[Any, list[dict]] = defaultdict(list)
    with reading(f"'{file}' is not a COCO file"):
        entries, annotations = values["images"], values.get("annotations") or []
        names = {_key(one["id"]): text_of(one["name"]) for one in values.get("categories") or []}
        known = {_key(entry["id"]) for entry in entries}
        if len(known) != len(entries):
            raise ValueError("two photos have the same id")
        for annotation in annotations:
            if _key(annotation["image_id"]) not in known:
                raise ValueError("an annotation is of no photo of the file")
            found[_key(annotation["image_id"])].append(annotation)
    photos, crowds = [], 0
    for entry in entries:
        with reading(f"'{file}' can't be read at the photo '{str(entry.get('file_name'))[:200]}'"):
            size = size_of(entry["height"], entry["width"])
            photo = finder.photo(entry["file_name"], size)
            kept = [one for one in found[_key(entry["id"])] if not one.get("iscrowd")]
            crowds += len(found[_key(entry["id"])]) - len(kept)
            if photo is None:
                continue
            things = [_thing(one, names, size) for one in kept]
            label = entry.get("label")
            photos.append(
                replace(
                    photo,
                    label=None if label is None else text_of(label),
                    split=split_named(str(entry.get("split", ""))) or split,
                    score=score_of(entry.get("score")),
                    attributes=attributes_of(entry.get("attributes")),
                    things=tuple(thing for thing in things if thing is not None),
                )
            )
    return photos, crowds


def _thing(annotation: Mapping[str, Any], names: Mapping[Any, str], size: tuple[int, int]) -> Thing | None:
    label = names[_key(annotation["category_id"])] if names else "car"
    segmentation, box = annotation.get("segmentation"), annotation.get("bbox")
    shape = None
    if isinstance(segmentation, dict):
        if tuple(segmentation["size"]) != size:
            raise ValueError("a mask has another size than its photo")
        shape = pixel_shape(segmentation["counts"], size)
    elif segmentation:
        rings = [[(number(x), number(y)) for x, y in zip(ring[::2], ring[1::2], strict=True)] for ring in segmentation]
        shape = polygon_shape([[ring] for ring in rings], size)
    found = None
    if box:
        x, y, width, height = (number(value) for value in box)
        found = box_of(x, y, x + width, y + height) if width > 0 and height > 0 else None
    return thing_of(label, found, shape, size, annotation.get("score"), annotation.get("attributes"))


def _key(value: Any) -> Any:
    if isinstance(value, (int, str)):
        return value
    raise ValueError("an id is neither a number nor a text")
