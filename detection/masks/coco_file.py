"""COCO-format files with masks or boxes, as labelling tools export them: read and checked, a sentence per fault."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from detection.common.errors import UsageError
from detection.masks.rle import checked_counts

MOST_PIXELS = 1 << 28  # of a photo with masks


@dataclass(frozen=True)
class CocoPhoto:
    """One photo of the file: its size (height, width) as the file states it, and its instances.

    `masks` are COCO run-length encodings of that size; `categories` holds the name of each one's category. `drawn`
    tells of each mask whether somebody drew it; else it stands in for a box (`box_mask`).
    """

    file_name: str
    size: tuple[int, int]
    masks: tuple[dict, ...]
    categories: tuple[str, ...]
    drawn: tuple[bool, ...] = ()


def read_coco_file(path: Path, source: str, boxes: bool = False, label: str | None = None) -> list[CocoPhoto]:
    """All photos of a COCO file, those without instances too; regions marked as crowds are left out.

    source: the name to use in complaints. boxes: whether an annotation may have a box alone. label: the field of an
    annotation that names its category where it is there. Raises `UsageError` for a file that is not COCO with masks.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries, annotations = content["images"], content.get("annotations", [])
        names = {one["id"]: str(one["name"]) for one in content.get("categories", [])}
        photos = {entry["id"]: (str(entry["file_name"]), _size(entry)) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"'{path}' of '{source}' is not a COCO file with images and annotations.") from error
    if len(photos) != len(entries):
        raise UsageError(f"'{path}' of '{source}' gives two photos the same id: export it again.")
    found: dict[int, list[tuple[dict, str, bool]]] = {}
    for number, annotation in enumerate(annotations):
        try:
            if annotation.get("iscrowd"):
                continue
            photo = annotation["image_id"]
            name, size = photos[photo]
            category = names[annotation["category_id"]] if names else "car"
            category = str(annotation.get(label) or category) if label else category
            segmentation = annotation.get("segmentation")
        except (KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"Annotation {number + 1} of '{path}' names no photo, or no category, of that file: export it again."
            ) from error
        drawn = bool(segmentation)
        if not drawn and not boxes:
            raise UsageError(
                f"Annotation {number + 1} of '{path}' ('{name}') has no mask: export polygons or masks, not only boxes."
            )
        try:
            mask = _encode(segmentation, size) if drawn else box_mask(annotation["bbox"], size)
        except Exception as error:  # pycocotools raises whatever its C code meets
            what = "mask" if drawn else "box"
            raise UsageError(f"The {what} of annotation {number + 1} of '{path}' ('{name}') can't be read.") from error
        if mask is not None:
            found.setdefault(photo, []).append((mask, category, drawn))
    return [_photo(name, size, found.get(key, ())) for key, (name, size) in photos.items()]


def _photo(name: str, size: tuple[int, int], found: Sequence[tuple[dict, str, bool]]) -> CocoPhoto:
    masks, categories, drawn = zip(*found, strict=True) if found else ((), (), ())
    return CocoPhoto(name, size, masks, categories, drawn)


def box_mask(box: Sequence[float], size: tuple[int, int]) -> dict | None:
    """What stands in for the mask of a vehicle of which only the box is known (x, y, width, height in pixels).

    Its run-length encoding in a photo of (height, width) `size`; None where nothing of it lies in the photo. The box
    with round corners: turned by a few degrees, the box round it grows no more than that round a vehicle does.
    """
    x, y, width, height = (float(value) for value in box)
    if not (width > 0 and height > 0):
        return None
    across = np.abs((np.arange(size[1]) + 0.5 - x - width / 2) / (width / 2))
    down = np.abs((np.arange(size[0]) + 0.5 - y - height / 2) / (height / 2))
    mask = across[None] ** 6 + down[:, None] ** 6 <= 1
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) if mask.any() else None


def _size(entry: dict) -> tuple[int, int]:
    height, width = int(entry["height"]), int(entry["width"])
    if height < 1 or width < 1:
        raise ValueError("a photo has no size")
    if height * width > MOST_PIXELS:
        raise ValueError("larger than any photo")
    return height, width


def _encode(segmentation: list | dict, size: tuple[int, int]) -> dict | None:
    """The run-length encoding; None for a mask without a pixel, as a stray click leaves it."""
    mask = _encode_any(segmentation, size)
    return mask if mask is not None and coco_mask.area(mask) else None


def _encode_any(segmentation: list | dict, size: tuple[int, int]) -> dict | None:
    """By pycocotools, whose C code believes what it is given: so all of it is checked before."""
    if not isinstance(segmentation, dict):
        polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
        for polygon in polygons:
            check_ring(np.array(polygon, np.float64).reshape(-1, 2), size)
        return coco_mask.merge(coco_mask.frPyObjects(polygons, *size)) if polygons else None
    if tuple(segmentation["size"]) != size:
        raise ValueError("the mask and the photo differ in size")
    counts = checked_counts(segmentation["counts"], size)
    if not isinstance(segmentation["counts"], list):
        return segmentation  # as it is: by this a training knows its masks again
    return {"size": list(size), "counts": counts.encode("ascii")}


def check_ring(points: np.ndarray, size: tuple[int, int]) -> None:
    """Raises ValueError for the corners (Nx2, x and y) of a polygon that can't be one of a photo of this height and
    width: not numbers, far outside, or a line so long that drawing it would take for ever."""
    height, width = size
    if not np.isfinite(points).all() or np.abs(points).max(initial=0) > 4 * max(height, width):
        raise ValueError("a corner lies nowhere near the photo")
    if np.abs(np.diff(points, axis=0)).max(axis=1, initial=0).sum() > 4 * height * width + 1000:
        raise ValueError("the outline is longer than any in such a photo")
