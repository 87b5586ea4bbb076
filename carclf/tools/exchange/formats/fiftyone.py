"""FiftyOne's data set on disk: metadata.json, samples.json and data/.

The class is a Classification in `label`; things are Detections with masks in their boxes, those of polygons Polylines.
"""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from carclf.datasets.names import split_named
from carclf.tools.exchange.files import Finder, bring, broken_notes, photo_folders
from carclf.tools.exchange.guards import (
    attributes_of,
    box_of,
    number,
    read_json,
    reading,
    score_of,
    text_of,
    thing_of,
    write_values,
)
from carclf.tools.exchange.record import Holds, Photo, Thing
from carclf.tools.exchange.shapes import Shape, mask_shape, polygon_shape, shape_mask
from detection.common.errors import UsageError
from detection.vehicle import mask_box

HOLDS = Holds("FiftyOne", shapes="pieces", box_beside=False)
_SAID = "carclf"  # the field with all attributes; Mongo's names may hold no dots and dollars
_FIELDS = {"_cls", "_id", "id", "tags", "label", "bounding_box", "mask", "mask_path", "confidence", "index", "points",
           "closed", "filled", "attributes", "logits", _SAID}  # fmt: skip


def write(photos: Sequence[Photo], output: Path) -> list[str]:
    bring(photos, [photo.name for photo in photos], output / "data")
    write_values(output / "metadata.json", {"name": "carclf", "media_type": "image", "info": {}})
    write_values(output / "samples.json", {"samples": [_sample(photo) for photo in photos]})
    return []


def _sample(photo: Photo) -> dict[str, Any]:
    sample: dict[str, Any] = {
        "filepath": f"data/{photo.name}",
        "tags": [photo.split] if photo.split else [],
        "_media_type": "image",
    }
    if photo.label is not None:
        sample["label"] = {"_cls": "Classification", "label": photo.label, **_about(photo.score, {})}
    if photo.attributes:
        sample[f"{_SAID}_attributes"] = dict(photo.attributes)
    detections, polylines = [], []
    for place, thing in enumerate(photo.things):
        about = {"label": thing.label, "index": place, **_about(thing.score, thing.attributes)}
        if thing.shape is not None and thing.shape.polygons and all(len(one) == 1 for one in thing.shape.polygons):
            points = [[[x / photo.size[1], y / photo.size[0]] for x, y in one[0]] for one in thing.shape.polygons]
            polylines.append({"_cls": "Polyline", **about, "points": points, "closed": True, "filled": True})
        else:
            detections.append({"_cls": "Detection", **about, **_located(thing, photo.size)})
    sample["detections"] = {"_cls": "Detections", "detections": detections}
    sample["polylines"] = {"_cls": "Polylines", "polylines": polylines}
    return sample


def _about(score: float | None, attributes: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"tags": []}
    found |= {} if score is None else {"confidence": score}
    return found | ({_SAID: dict(attributes)} if attributes else {})


def _located(thing: Thing, size: tuple[int, int]) -> dict[str, Any]:
    x1, y1, x2, y2 = thing.box
    found: dict[str, Any] = {}
    if thing.shape is not None:
        mask = shape_mask(thing.shape, size)
        left, top, right, bottom = mask_box(mask) or (0, 0, 1, 1)
        x1, y1, x2, y2 = float(left), float(top), float(right), float(bottom)
        data = io.BytesIO()
        np.save(data, mask[top:bottom, left:right], allow_pickle=False)
        packed = base64.b64encode(zlib.compress(data.getvalue())).decode("ascii")
        found["mask"] = {"$binary": {"base64": packed, "subType": "00"}}
    height, width = size
    return {"bounding_box": [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height], **found}


def read(source: Path, images: Path | None) -> tuple[list[Photo], list[str]]:
    """samples.json, or a folder with it. Fields of the sample: every Classification, Detections and Polylines."""
    file = source if source.is_file() else source / "samples.json"
    if not file.is_file():
        raise UsageError(f"There is no samples.json in '{source}': export it as a FiftyOneDataset.")
    finder = Finder(file, photo_folders(file.parent, images, "data"))
    values = read_json(file)
    with reading(f"'{file}' is not of FiftyOne"):
        samples = values["samples"]
        if not isinstance(samples, list):
            raise ValueError("samples is not a list")
    photos = []
    for sample in samples:
        with reading(f"'{file}' can't be read at '{str(sample.get('filepath'))[:200]}'"):
            photo = finder.photo(sample["filepath"].removeprefix("data/"))
            if photo is None:
                continue
            splits = [split for tag in sample.get("tags") or [] if (split := split_named(str(tag)))]
            said = attributes_of(sample.get(f"{_SAID}_attributes"))
            photo = replace(photo, split=splits[0] if splits else None, attributes=said)
            found: list[tuple[int, Thing]] = []
            for value in sample.values():
                if isinstance(value, dict) and value.get("_cls") == "Classification" and photo.label is None:
                    photo = replace(photo, label=text_of(value["label"]), score=score_of(value.get("confidence")))
                found += _things(value, photo.size)
            things = tuple(thing for _, thing in sorted(found, key=lambda pair: pair[0]))
            photos.append(replace(photo, things=things))
    return photos, broken_notes(finder)


def _things(value: Any, size: tuple[int, int]) -> list[tuple[int, Thing]]:
    """The things in a field of a sample, each with its number."""
    if not isinstance(value, dict) or value.get("_cls") not in ("Detections", "Polylines", "Detection", "Polyline"):
        return []
    listed = value.get("detections", value.get("polylines")) if value["_cls"].endswith("s") else [value]
    found: list[tuple[int, Thing]] = []
    for one in listed or []:
        thing = _polyline(one, size) if "points" in one else _detection(one, size)
        if thing is not None:
            index = one.get("index")
            found.append((index if type(index) is int else len(found), thing))
    return found


def _polyline(one: Mapping[str, Any], size: tuple[int, int]) -> Thing | None:
    rings = [[(number(x) * size[1], number(y) * size[0]) for x, y in ring] for ring in one["points"]]
    shape = polygon_shape([[ring] for ring in rings], size)
    return thing_of(one["label"], None, shape, size, one.get("confidence"), _said(one))


def _detection(one: Mapping[str, Any], size: tuple[int, int]) -> Thing | None:
    height, width = size
    x, y, across, down = (number(value) for value in one["bounding_box"])
    box = box_of(x * width, y * height, (x + across) * width, (y + down) * height)
    mask = one.get("mask")
    shape = None if mask is None else _mask(mask, box, size)
    return thing_of(one["label"], None if shape else box, shape, size, one.get("confidence"), _said(one))


def _said(one: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in one.items() if key not in _FIELDS and not isinstance(value, (dict, list))}
    return own | dict(one.get(_SAID) or {})


def _mask(value: Mapping[str, Any], box: Sequence[float], size: tuple[int, int]) -> Shape | None:
    """A mask that is stretched over its box; what lies outside of the photo is cut off."""
    binary = value["$binary"]
    inner = _array(base64.b64decode(binary["base64"] if isinstance(binary, dict) else binary, validate=True), size)
    x1, y1, x2, y2 = (round(corner) for corner in box)
    if x2 <= x1 or y2 <= y1 or (x2 - x1) * (y2 - y1) > 4 * size[0] * size[1]:
        raise ValueError("a mask lies in no box of its photo")
    if inner.shape != (y2 - y1, x2 - x1):
        inner = cv2.resize(inner.astype(np.uint8), (x2 - x1, y2 - y1), interpolation=cv2.INTER_NEAREST) > 0
    left, top, right, bottom = max(0, x1), max(0, y1), min(size[1], x2), min(size[0], y2)
    mask = np.zeros(size, bool)
    if left < right and top < bottom:
        mask[top:bottom, left:right] = inner[top - y1 : bottom - y1, left - x1 : right - x1]
    return mask_shape(mask)


def _array(packed: bytes, size: tuple[int, int]) -> np.ndarray:
    """The bool array of a packed .npy file. It says its size first: nothing is made for one that is too large."""
    most = 8 * 4 * size[0] * size[1] + 4096
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, most)
    except zlib.error as error:
        raise ValueError("a mask is damaged") from error
    if unpacker.unconsumed_tail:
        raise ValueError("a mask is larger than its photo")
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("a mask is of another version")
    shape, _, kind = np.lib.format.read_array_header_1_0(file)
    if len(shape) != 2 or kind.kind not in "biu" or shape[0] * shape[1] * kind.itemsize != len(data) - file.tell():
        raise ValueError("a mask is no array of pixels")
    file.seek(0)
    return np.load(file, allow_pickle=False) > 0
