"""YOLO, as Ultralytics documents it: images/ and labels/ alike, a line per thing in shares of the photo, data.yaml.

A line is `class x y width height` (of the centre), or `class x1 y1 x2 y2 ...` round a mask. A file holds one kind only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from carclf.datasets.names import SPLITS, split_named
from carclf.tools.exchange.files import Finder, bring, broken_notes, free_names, photo_folders
from carclf.tools.exchange.guards import box_of, number, read_text, reading, safe_below, text_of, thing_of, whole
from carclf.tools.exchange.record import Box, Holds, Photo, Thing, has_split, labels_of
from carclf.tools.exchange.shapes import Ring, one_ring, outlines, polygon_shape, shape_mask, shape_polygons
from detection.common.errors import UsageError
from detection.common.files import write_text
from detection.common.tally import counted
from detection.images.find import image_names

HOLDS = Holds("YOLO", label=False, shapes="ring", box_beside=False, mixed_split=False, score=False, attributes=False)
_CONFIG, _CLASSES = ("data.yaml", "data.yml", "dataset.yaml"), ("classes.txt", "obj.names")
_MOST_LINES = 10_000  # things in one photo


def write(photos: Sequence[Photo], output: Path) -> list[str]:
    """images/<split>/, labels/<split>/ and data.yaml; without a split all lies in images/ and labels/."""
    labels = labels_of(photos)
    numbers = {label: number for number, label in enumerate(labels)}
    split = has_split(photos)
    below = ["/".join(f"{part}_" if part == "images" else part for part in photo.name.split("/")) for photo in photos]
    names = free_names(below, by_stem=True)
    places = [f"{photo.split or 'train'}/{name}" if split else name for photo, name in zip(photos, names, strict=True)]
    bring(photos, places, output / "images")
    outside = mixed = 0
    for photo, place in zip(photos, places, strict=True):
        as_rings = any(thing.shape is not None for thing in photo.things)
        mixed += as_rings and any(thing.shape is None for thing in photo.things)
        lines = [_line(thing, numbers, photo.size, as_rings) for thing in photo.things]
        outside += lines.count(None)
        if photo.things:
            text = "".join(f"{line}\n" for line in lines if line is not None)
            write_text(output / "labels" / PurePosixPath(place).with_suffix(".txt"), text)
    sides = {photo.split or "train" for photo in photos} if split else set()
    config: dict[str, Any] = {side: f"images/{side}" for side in SPLITS if side in sides}
    config = config or {"train": "images", "val": "images"}
    for side in ("train", "val"):  # there must be both
        config.setdefault(side, next(iter(config.values())))
    write_text(output / "data.yaml", yaml.safe_dump(
        {**config, "names": dict(enumerate(labels))}, sort_keys=False, allow_unicode=True
    ))  # fmt: skip
    notes = [f"{counted(outside, 'thing')} outside of the photo left out: YOLO can't hold them."] if outside else []
    renamed = sum(name != photo.name for name, photo in zip(names, photos, strict=True))
    if renamed:
        notes.append(f"{counted(renamed, 'photo')} renamed: a YOLO label is found by its photo's name.")
    if mixed:
        notes.append(f"In {counted(mixed, 'photo')} with masks the boxes alone are written as four corners: "
                     "a YOLO file holds one kind only.")  # fmt: skip
    return notes


def _line(thing: Thing, numbers: Mapping[str, int], size: tuple[int, int], as_ring: bool) -> str | None:
    """None for a thing of which nothing lies in the photo; what lies outside is cut off."""
    height, width = size
    values: list[float] = []
    if as_ring:
        ring = _ring(thing, size)
        values = [value for x, y in ring for value in (x / width, y / height)]
    elif box := _inside(thing.box, size):
        x1, y1, x2, y2 = box
        values = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    return " ".join([str(numbers[thing.label]), *map(_share, values)]) if values else None


def _ring(thing: Thing, size: tuple[int, int]) -> Ring:
    if thing.shape is None:
        box = _inside(thing.box, size)
        return () if box is None else ((box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3]))
    polygons = shape_polygons(thing.shape, size)
    points = [point for polygon in polygons for ring in polygon for point in ring]
    if not all(0 <= x <= size[1] and 0 <= y <= size[0] for x, y in points):
        polygons = outlines(shape_mask(thing.shape, size))
    return one_ring(polygons) if polygons else ()


def _inside(box: Box, size: tuple[int, int]) -> Box | None:
    x1, y1, x2, y2 = max(0.0, box[0]), max(0.0, box[1]), min(float(size[1]), box[2]), min(float(size[0]), box[3])
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _share(value: float) -> str:
    return f"{value:.12f}".rstrip("0").rstrip(".")


def read(source: Path, images: Path | None) -> tuple[list[Photo], list[str]]:
    """A folder with data.yaml, or that file; without it a folder with classes.txt, images/ and labels/."""
    root = source if source.is_dir() else source.parent
    config = source if source.is_file() else next((root / name for name in _CONFIG if (root / name).is_file()), None)
    if config is not None:
        names, sides = _config(config)
    else:
        known = next((root / name for name in _CLASSES if (root / name).is_file()), None)
        if known is None:
            raise UsageError(
                f"There is no data.yaml and no classes.txt in '{root}': classes have only numbers without."
            )
        names = dict(enumerate(line.strip() for line in read_text(known).splitlines() if line.strip()))
        sides = [(None, "images")]
    places = [(split, place, name) for split, place in sides for name in _photos(root, place, config or root)]
    listed = [name for _, _, name in places]
    doubled = len(set(listed)) < len(listed)
    finder = Finder(config or root, photo_folders(root, images))
    photos = []
    for split, place, name in places:
        below = f"{place}/{name}" if place else name
        photo = finder.photo(below)
        if photo is not None:
            label_file = root / _label_place(below)
            things = _things(label_file, names, photo.size) if label_file.is_file() else ()
            photos.append(replace(photo, name=below if doubled else name, split=split, things=things))
    return photos, broken_notes(finder)


def _config(path: Path) -> tuple[dict[int, str], list[tuple[str | None, str]]]:
    """The classes by number, and for each part of the split where its photos lie below the file's folder."""
    try:
        values = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UsageError(f"'{path}' is not YAML: {str(error).splitlines()[0]}.") from error
    with reading(f"'{path}' does not describe a YOLO data set"):
        listed = values["names"]
        pairs = listed.items() if isinstance(listed, dict) else enumerate(listed)
        names = {whole(key): text_of(name) for key, name in pairs}
        sides: list[tuple[str | None, str]] = []
        for key in SPLITS:
            given = values.get(key, values.get("valid") if key == "val" else None)
            for place in given if isinstance(given, list) else [given] if given else []:
                sides.append((key, _place(place, values.get("path"), path)))
        if not sides:
            raise ValueError("it names no photos: train is missing")
        alone = len({place for _, place in sides}) == 1  # where all photos are for everything, there is no split
        kept: dict[str, str | None] = {}
        for key_, place in sides:
            kept.setdefault(place, split_named(PurePosixPath(place).name) or (None if alone else key_))
        return names, [(split, place) for place, split in kept.items()]


def _place(place: Any, path: Any, config: Path) -> str:
    """A folder or list below the config's. Some tools write ../train/images for train/images."""
    text = str(place).replace("\\", "/")
    while text.startswith("../") and not (config.parent / text).exists():
        text = text[3:]
    if text in (".", "./"):
        return ""
    below = safe_below(text, config)
    above = str(path).replace("\\", "/").strip("/") if isinstance(path, str) and not Path(path).is_absolute() else ""
    if above not in ("", ".") and ".." not in above.split("/") and (config.parent / above / below).exists():
        return safe_below(f"{above}/{below}", config)
    return below


def _photos(root: Path, place: str, source: Path) -> list[str]:
    """The names of the photos in a folder below root, or in a list of them."""
    folder = root / place
    if folder.suffix == ".txt" and folder.is_file():
        raise UsageError(f"'{source}' lists its photos in '{place}': name their folder in it instead.")
    if not folder.is_dir():
        raise UsageError(f"'{source}' names the folder '{place}', which is not in '{root}': check it.")
    return list(image_names(folder))


def _label_place(photo: str) -> PurePosixPath:
    """
    >>> str(_label_place("images/train/a.jpg")), str(_label_place("train/images/a.jpg")), str(_label_place("a.jpg"))
    ('labels/train/a.txt', 'train/labels/a.txt', 'a.txt')
    """
    parts = photo.split("/")
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return PurePosixPath("/".join(parts)).with_suffix(".txt")


def _things(path: Path, names: Mapping[int, str], size: tuple[int, int]) -> tuple[Thing, ...]:
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    with reading(f"'{path}' is not a YOLO label"):
        if len(lines) > _MOST_LINES:
            raise ValueError(f"it has {len(lines)} lines")
        return tuple(thing for cells in lines if (thing := _thing(cells, names, size)) is not None)


def _thing(cells: Sequence[str], names: Mapping[int, str], size: tuple[int, int]) -> Thing | None:
    height, width = size
    kind, values = whole(cells[0]), [number(cell) for cell in cells[1:]]
    if kind not in names:
        raise ValueError(f"the class {kind} has no name in data.yaml")
    # A prediction's confidence comes last.
    score = values.pop() if len(values) % 2 else None
    if len(values) == 4:
        x, y, across, down = values[0] * width, values[1] * height, values[2] * width, values[3] * height
        box = box_of(x - across / 2, y - down / 2, x + across / 2, y + down / 2)
        return thing_of(names[kind], box, None, size, score)
    if len(values) < 6:
        raise ValueError(f"a line has {len(cells)} numbers, neither a box nor an outline")
    ring = [(x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True)]
    return thing_of(names[kind], None, polygon_shape([[ring]], size), size, score)
