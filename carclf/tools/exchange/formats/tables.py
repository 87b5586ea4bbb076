"""csv: labels.csv with a line per photo, as `carclf train` reads it, and objects.csv with a line per thing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from carclf.datasets.names import split_named
from carclf.tools.exchange.files import Finder, bring, broken_notes, photo_folders
from carclf.tools.exchange.guards import attributes_of, box_of, read_text, reading, score_of, text_of, thing_of
from carclf.tools.exchange.record import Holds, Photo, Thing
from carclf.tools.exchange.shapes import Shape, pixel_shape, polygon_shape
from detection.common.errors import UsageError
from detection.common.files import write_text

HOLDS = Holds("csv")
LABELS, OTHERS, OBJECTS = "labels.csv", "unlabelled.csv", "objects.csv"
_CORNERS = ("x1", "y1", "x2", "y2")


def write(photos: Sequence[Photo], output: Path) -> list[str]:
    """images/, labels.csv, objects.csv, and unlabelled.csv for the photos without a class."""
    bring(photos, [photo.name for photo in photos], output / "images")
    write_labels(photos, output / LABELS)
    if any(photo.label is None for photo in photos):
        _write(output / OTHERS, [_photo_row(photo) for photo in photos if photo.label is None])
    rows = [_thing_row(photo.name, thing) for photo in photos for thing in photo.things]
    if rows:
        _write(output / OBJECTS, rows)
    return []


def write_labels(photos: Iterable[Photo], path: Path) -> None:
    """The photos that have a class: file, class, split, the box of the largest thing, confidence and attributes."""
    _write(path, [_photo_row(photo) for photo in photos if photo.label is not None])


def _photo_row(photo: Photo) -> dict[str, str]:
    largest = max(photo.things, key=_area, default=None)
    corners = ("",) * 4 if largest is None else tuple(map(_number, largest.box))
    return {
        "file": photo.name,
        "class": photo.label or "",
        "split": photo.split or "",
        **dict(zip(_CORNERS, corners, strict=True)),
        "confidence": "" if photo.score is None else repr(photo.score),
        "attributes": _json(photo.attributes),
    }


def _thing_row(name: str, thing: Thing) -> dict[str, str]:
    return {
        "file": name,
        "label": thing.label,
        **dict(zip(_CORNERS, map(_number, thing.box), strict=True)),
        "confidence": "" if thing.score is None else repr(thing.score),
        "mask": "" if thing.shape is None else thing.shape.counts or json.dumps(thing.shape.polygons),
        "attributes": _json(thing.attributes),
    }


def _write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Columns that are empty throughout are left out, but not the first two."""
    if not rows:
        rows = [{"file": "", "class": ""}]
        used = list(rows[0])
        rows = []
    else:
        used = [name for number, name in enumerate(rows[0]) if number < 2 or any(row[name] for row in rows)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, used, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read(source: Path, images: Path | None) -> tuple[list[Photo], list[str]]:
    """A csv with a line per photo, or a folder with labels.csv; objects.csv beside it."""
    labels = source if source.is_file() else source / LABELS
    if not labels.is_file():
        raise UsageError(f"There is no {LABELS} in '{source}': name the csv itself.")
    finder = Finder(labels, photo_folders(labels.parent, images, "images"))
    objects = _things_by_file(labels.parent / OBJECTS)
    others = labels.parent / OTHERS
    photos = []
    listed = [(labels, row) for row in _rows(labels)] + [
        (others, row) for row in (_rows(others) if others.is_file() else ())
    ]
    for file, row in listed:
        with reading(f"'{file}' can't be read at '{str(row.get('file'))[:200]}'"):
            photo = finder.photo(row["file"])
            if photo is None:
                continue
            label = row.get("class") or row.get("label") or None
            if label is None and file == labels:
                raise ValueError("it has no class")
            split = split_named(row["split"]) if row.get("split") else None
            if row.get("split") and split is None:
                raise ValueError(f"the split is '{row['split']}', not train, val or test")
            corners = [row.get(name, "") for name in _CORNERS]
            if objects is not None:
                things = [_thing(one, photo.size) for one in objects.pop(row["file"], [])]
            else:
                box = box_of(*corners) if all(corners) else None
                things = [thing_of(label, box, None, photo.size)]
            photos.append(
                replace(
                    photo,
                    label=None if label is None else text_of(label),
                    split=split,
                    score=score_of(row.get("confidence")),
                    attributes=_attributes(row),
                    things=tuple(thing for thing in things if thing is not None),
                )
            )
    if objects and (lost := set(objects) - set(finder.broken)):
        raise UsageError(f"'{labels.parent / OBJECTS}' names '{min(lost)}', which '{labels}' does not: add it there.")
    return photos, broken_notes(finder)


def _things_by_file(path: Path) -> dict[str, list[dict[str, str]]] | None:
    if not path.is_file():
        return None
    found: dict[str, list[dict[str, str]]] = {}
    for row in _rows(path):
        found.setdefault(row.get("file", ""), []).append(row)
    return found


def _thing(row: Mapping[str, str], size: tuple[int, int]) -> Thing | None:
    text = row.get("mask", "")
    shape: Shape | None = None
    if text.startswith("["):
        shape = polygon_shape(json.loads(text), size)
    elif text:
        shape = pixel_shape(text, size)
    corners = [row.get(name, "") for name in _CORNERS]
    box = box_of(*corners) if all(corners) else None
    return thing_of(row.get("label"), box, shape, size, row.get("confidence"), _attributes(row))


def _rows(path: Path) -> list[dict[str, str]]:
    csv.field_size_limit(1 << 24)  # a mask is one cell
    with reading(f"'{path}' can't be read as a csv"):
        try:
            rows = list(csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True))
        except csv.Error as error:
            raise ValueError(str(error)) from error
        return [{key: value or "" for key, value in row.items() if key is not None} for row in rows]


def _attributes(row: Mapping[str, str]) -> dict[str, Any]:
    return attributes_of(json.loads(row["attributes"])) if row.get("attributes") else {}


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), ensure_ascii=False) if values else ""


def _number(value: float) -> str:
    """Without an exponent, which no reader of boxes expects."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _area(thing: Thing) -> float:
    x1, y1, x2, y2 = thing.box
    return (x2 - x1) * (y2 - y1)
