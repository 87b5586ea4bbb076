"""What can be exported: labelled photos, what an import made, and what `clean` and `predict` found."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from carclf.datasets import photo_root, read_table
from carclf.datasets.layouts.folders import by_folders
from carclf.datasets.names import name_below
from carclf.tools.exchange.files import free_names, left_out
from carclf.tools.exchange.formats import coco
from carclf.tools.exchange.guards import box_of, read_json, read_text, reading, score_of, thing_of
from carclf.tools.exchange.record import Photo, Thing, with_label
from carclf.tools.exchange.shapes import mask_shape
from detection.common.console import Track, untracked
from detection.common.errors import UsageError
from detection.common.files import names_read, read_name, user_path
from detection.common.places.paths import path_of
from detection.common.places.place import Place
from detection.common.rows import parse_row
from detection.common.tally import counted
from detection.folder.out.detections import Detections, read_detections
from detection.folder.out.folder import DETECTIONS
from detection.folder.out.manifest import FAILED, read_manifest
from detection.images.read import ImageError, image_size
from detection.vehicle import Vehicle, resize_vehicle

OBJECTS = "objects.json"  # what an import writes beside labels.csv


def read_source(
    source: str | Path, images: str | Path | None = None, track: Track = untracked
) -> tuple[list[Photo], list[str]]:
    """All photos of a source, sorted by name, and a sentence for what is left out. Raises `UsageError`."""
    path = user_path(source)
    folder = None if images is None else user_path(images)
    local = not isinstance(path, Place)
    if local and (path / OBJECTS).is_file():
        return coco.read(path / OBJECTS, folder or path / "images")
    if local and (path / "manifest.csv").is_file():
        return _read_cleaned(path, folder, track)
    rows = _prediction_rows(path) if local and path.is_file() else None
    if rows is not None:
        return _read_predictions(rows, path, folder, track)
    return _read_labelled(source, images, track)


def _read_labelled(source: str | Path, images: str | Path | None, track: Track) -> tuple[list[Photo], list[str]]:
    table, root = read_table(source, images), photo_root(source, images)
    photos: list[Photo] = []
    broken: list[str] = []
    for row in track(table.to_dict("records"), len(table)):
        size = _size(row["file"], broken)
        if size is None:
            continue
        attributes = {key: row[key] for key in ("car", "view") if row.get(key)}
        things: tuple[Thing, ...] = ()
        if row.get("box") is not None:
            with reading(f"The box of '{row['file']}' can't be used"):
                things = (Thing(row["label"], box_of(*row["box"])),)
        name = name_below(root, row["file"])
        photos.append(Photo(name, path_of(row["file"]), size, row["label"], row.get("split"), None, attributes, things))
    return _named(photos), left_out(broken)


def _read_cleaned(folder: Path, images: Path | None, track: Track) -> tuple[list[Photo], list[str]]:
    """The photos that stage 1 looked at, with what it found in them; their classes are their folders."""
    with reading(f"'{folder}' is not a result of carclf clean"):
        settings = json.loads(read_text(folder / "settings.json")) if images is None else {}
        root = user_path(read_name(settings["source"])) if images is None else images
        rows = [row for row in read_manifest(folder / "manifest.csv") if row["status"] not in FAILED]
    if not root.is_dir():
        raise UsageError(f"The photos of '{folder}' are no longer in '{root}': pass their folder with --images.")
    table = by_folders([(row["source"], row["source"]) for row in rows], False)
    labels = {one["file"]: one for one in table.to_dict("records")}
    saved = read_detections(folder / DETECTIONS) if (folder / DETECTIONS).is_file() else None
    photos: list[Photo] = []
    broken: list[str] = []
    unknown = 0
    for row in track(rows, len(rows)):
        path = root / row["source"]
        if not path.is_file():
            raise UsageError(f"The photo '{row['source']}' of '{folder}' is not in '{root}': pass its folder with "
                             "--images.")  # fmt: skip
        size = _size(path, broken)
        if size is None:
            continue
        about = labels.get(row["source"], {})
        label = about.get("label")
        with reading(f"'{folder / 'manifest.csv'}' can't be read at '{row['source']}'"):
            found = _found(row, label, size, saved)
        unknown += found is None
        things = found or ()
        photos.append(Photo(row["source"], path, size, label, about.get("split"), None, {}, things))
    if saved is not None:
        saved.close()
    notes = [] if saved else [f"'{folder}' has no {DETECTIONS}, so there are boxes and no masks: carclf clean "
                              "--save-detections keeps them."]  # fmt: skip
    if unknown:
        notes.append(f"{counted(unknown, 'photo has', 'photos have')} no whole line in {DETECTIONS}: of them only the "
                     "boxes are there.")  # fmt: skip
    return _named(photos), [*notes, *left_out(broken)]


def _found(
    row: Mapping[str, str], label: str | None, size: tuple[int, int], saved: Detections | None
) -> tuple[Thing, ...] | None:
    """The things of a row of the manifest: those of the detections, else its one box."""
    corners = [row["x1"], row["y1"], row["x2"], row["y2"]]
    box = box_of(*corners) if all(corners) else None
    vehicles = None if saved is None else saved.get(row["source"])
    if vehicles is None:
        main = thing_of(label or row.get("kind") or "car", box, None, size, row["score"], {})
        return None if saved is not None and main is None else (() if main is None else (main,))
    whole = [resize_vehicle(vehicle, size) for vehicle in vehicles]
    chosen = None if box is None else min(whole, key=lambda one: _apart(one.box, box), default=None)
    things = [
        _vehicle(full, vehicle, label if full is chosen else None)
        for full, vehicle in zip(whole, vehicles, strict=True)
    ]
    return tuple(thing for thing in things if thing is not None)


def _vehicle(full: Vehicle, seen: Vehicle, label: str | None) -> Thing | None:
    """label: of the vehicle that the photo is about; the others are of their kind."""
    attributes: dict[str, Any] = {"kind": seen.kind} if label else {}
    attributes |= {"main": True} if label else {}
    attributes |= {} if seen.look is None else {"car_check": seen.look.car, "looks_like": seen.look.other}
    attributes |= {"turned": seen.turned} if seen.turned else {}
    box = None if full.box[0] >= full.box[2] or full.box[1] >= full.box[3] else box_of(*map(float, full.box))
    return thing_of(label or seen.kind, box, mask_shape(full.mask), full.mask.shape, seen.score, attributes)


def _apart(box: Iterable[float], other: Iterable[float]) -> float:
    return sum(abs(one - two) for one, two in zip(box, other, strict=True))


def _prediction_rows(path: Path) -> list[dict[str, Any]] | None:
    """The rows that `carclf predict` wrote; None for a file of something else."""
    suffix = path.suffix.lower()
    rows: Any = None
    if suffix in (".jsonl", ".ndjson"):
        rows = [parse_row(line.encode("utf-8")) for line in read_text(path).splitlines() if line.strip()]
    elif suffix == ".json":
        rows = names_read(read_json(path))
    elif suffix == ".csv":
        lines = csv.DictReader(io.StringIO(read_text(path), newline=""))
        if not {"file", "status", "confidence"} <= set(lines.fieldnames or ()):
            return None
        with reading(f"'{path}' can't be read as a csv"):
            rows = [{**row, **{key: _cell(row.get(key)) for key in ("top", "box")}} for row in lines]
        rows = names_read(rows)
    if not isinstance(rows, list) or not all(isinstance(row, dict) and {"file", "status"} <= set(row) for row in rows):
        return None
    return rows


def _cell(text: str | None) -> Any:
    return json.loads(text) if text else None


def _read_predictions(
    rows: list[dict[str, Any]], path: Path, images: Path | None, track: Track
) -> tuple[list[Photo], list[str]]:
    """One photo per file; where every vehicle was named, its rows are its things. The first row is the photo's."""
    photos: dict[str, Photo] = {}
    broken: list[str] = []
    for row in track(rows, len(rows)):
        name = row["file"]
        with reading(f"'{path}' can't be read at '{str(name)[:200]}'"):
            if row["status"] in FAILED:
                broken.append(str(name))
                continue
            photo = photos.get(name)
            if photo is None:
                file = _predicted(str(name), path, images)
                size = _size(file, broken)
                if size is None:
                    continue
                label = row.get("label") or None
                score = score_of(row.get("confidence")) if label else None
                photo = Photo(str(name), file, size, label, None, score, _said(row))
            box = box_of(*row["box"]) if row.get("box") else None
            thing = thing_of(row.get("label") or row.get("kind") or "car", box, None, photo.size,
                             row.get("confidence"), _said(row) if row.get("vehicle") else {})  # fmt: skip
            photos[name] = replace(photo, things=(*photo.things, *([thing] if thing else [])))
    return _named(list(photos.values())), left_out(broken)


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {"status": row["status"]} if row["status"] != "ok" else {}
    said |= {key: row[key] for key in ("reason", "kind", "level", "make", "model", "year") if row.get(key)}
    return said | ({"top": json.dumps(row["top"], ensure_ascii=False)} if row.get("top") else {})


def _predicted(name: str, path: Path, images: Path | None) -> Path:
    """Where the photo of a row lies: below --images, here, or beside the file."""
    for folder in [images] if images else [Path(), path.parent]:
        file = path_of(name) if ":" in name else folder / name
        if file.is_file():
            return file
    raise UsageError(f"The photo '{name}' of '{path}' is not there: pass its folder with --images.")


def _size(file: str | Path, broken: list[str]) -> tuple[int, int] | None:
    """Height and width; None where the photo can't be read, which is noted."""
    try:
        width, height = image_size(file)
    except ImageError:
        broken.append(str(file))
        return None
    return height, width


def _named(photos: list[Photo]) -> list[Photo]:
    """The photos by name, each with one that is free and leads nowhere else, and with a class where it can have one."""
    photos = sorted(photos, key=lambda photo: photo.name)
    below = [_below(photo.name) for photo in photos]
    return [with_label(replace(photo, name=name)) for photo, name in zip(photos, free_names(below), strict=True)]


def _below(name: str) -> str:
    """
    >>> _below("a/b.jpg"), _below("/data/b.jpg"), _below("../b.jpg")
    ('a/b.jpg', 'b.jpg', 'b.jpg')
    """
    parts = name.replace("\\", "/").split("/")
    outside = parts[0] == "" or ".." in parts or ":" in parts[0]
    return parts[-1] if outside else "/".join(part for part in parts if part != ".")
