"""COCO-format files with masks, as the labelling tools export them: read and checked, every fault one sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pycocotools import mask as coco_mask

from detection.common.errors import UsageError


@dataclass(frozen=True)
class CocoPhoto:
    """One photo of the file: its size (height, width) as the file states it, and its instances.

    `masks` are COCO run-length encodings of that size; `categories` holds the name of each one's category.
    """

    file_name: str
    size: tuple[int, int]
    masks: tuple[dict, ...]
    categories: tuple[str, ...]


def read_coco_file(path: Path, source: str) -> list[CocoPhoto]:
    """All photos of a COCO file, those without instances too; regions marked as crowds are left out.

    source: the name to use in complaints. Raises `UsageError` for a file that is not COCO with masks.
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
    found: dict[int, list[tuple[dict, str]]] = {}
    for number, annotation in enumerate(annotations):
        try:
            if annotation.get("iscrowd"):
                continue
            photo = annotation["image_id"]
            name, size = photos[photo]
            category = names[annotation["category_id"]] if names else "car"
            segmentation = annotation.get("segmentation")
        except (KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"Annotation {number + 1} of '{path}' names no photo, or no category, of that file: export it again."
            ) from error
        if not segmentation:
            raise UsageError(
                f"Annotation {number + 1} of '{path}' ('{name}') has no mask: export polygons or masks, not only boxes."
            )
        try:
            mask = _encode(segmentation, size)
        except Exception as error:  # pycocotools raises whatever its C code meets
            raise UsageError(f"The mask of annotation {number + 1} of '{path}' ('{name}') can't be read.") from error
        if mask is not None:
            found.setdefault(photo, []).append((mask, category))
    return [
        CocoPhoto(
            name, size, tuple(mask for mask, _ in found.get(key, ())), tuple(kind for _, kind in found.get(key, ()))
        )
        for key, (name, size) in photos.items()
    ]


def _size(entry: dict) -> tuple[int, int]:
    height, width = int(entry["height"]), int(entry["width"])
    if height < 1 or width < 1:
        raise ValueError("a photo has no size")
    return height, width


def _encode(segmentation: list | dict, size: tuple[int, int]) -> dict | None:
    """The run-length encoding; None for a mask without a pixel, as a stray click leaves it."""
    mask = _encode_any(segmentation, size)
    return mask if mask is not None and coco_mask.area(mask) else None


def _encode_any(segmentation: list | dict, size: tuple[int, int]) -> dict | None:
    if not isinstance(segmentation, dict):
        polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
        return coco_mask.merge(coco_mask.frPyObjects(polygons, *size)) if polygons else None
    if tuple(segmentation["size"]) != size:
        raise ValueError("the mask and the photo differ in size")
    counts = segmentation["counts"]
    return coco_mask.frPyObjects(segmentation, *size) if isinstance(counts, list) else segmentation
