"""Photos with cars for training the detector: COCO-format files, soft cut-outs and photos without cars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from pydantic import model_validator

from detection.common.config import StrictConfig
from detection.common.errors import UsageError
from detection.images.duplicates import difference_hash, near_duplicate_groups
from detection.images.find import find_images
from detection.images.read import ImageError, image_size, load_image
from detection.masks.coco_file import read_coco_file


class MaskSource(StrictConfig):
    """One source of training photos.

    kind "coco": `annotations` is a COCO json, `images` its folder; a file without annotations gives negatives.
    kind "boxes": the same, but annotations may have a box alone, which teaches where a vehicle is, not its outline.
    kind "alpha": `annotations` is a folder of 8-bit alpha PNG beside `images`, same relative names.
    kind "negatives": `images` is a folder of photos without any vehicle.
    `weight` is how often a photo is drawn against one of weight 1; `validation` is the share held out, by photo with
    near-duplicates together. `split` is a list of content hashes instead (`detection.masks.parts`): photos to `fit` to,
    and those that it does not name, are trained on; those to `choose` by are held out, and measured unless `measure`
    is false; those to `report` on are never looked at. `optional`: it is left out where its annotations are missing.
    `incomplete` says that vehicles may be unlabelled: such photos are only shown zoomed in
    on a labelled one. `label` is the field of a COCO annotation that names its category, where it has one; else its
    category does. `stretch` undoes a squeeze of the width (1.333: a 4:3 photo stored square).
    """

    name: str
    kind: Literal["coco", "boxes", "alpha", "negatives"] = "coco"
    images: str
    annotations: str | None = None
    weight: float = 1.0
    validation: float = 0.0
    split: str | None = None
    measure: bool = True
    optional: bool = False
    incomplete: bool = False
    label: str | None = None
    stretch: float = 1.0

    @model_validator(mode="after")
    def _one_split(self) -> MaskSource:
        if self.split is not None and self.validation > 0:
            raise ValueError(f"the source '{self.name}' has a split and a share of validation: keep one of them")
        return self

    @property
    def holds_out(self) -> bool:
        """Whether some of its photos are to be measured on."""
        return self.validation > 0 or (self.split is not None and self.measure)


@dataclass(frozen=True)
class MaskRecord:
    """One photo. `masks` are COCO run-length encodings of the size (height, width); none means no vehicle.

    `categories` holds the name that the source gives each mask's category; empty where it knows no categories.
    `drawn` tells which masks are real ones, the others standing in for boxes; empty where all are.
    """

    source: str
    path: str
    size: tuple[int, int]
    masks: tuple[dict, ...]
    weight: float
    incomplete: bool
    stretch: float
    categories: tuple[str, ...] = ()
    drawn: tuple[bool, ...] = ()

    def image(self, max_side: int | None = None) -> np.ndarray:
        """RGB uint8 HxWx3, stretched to its true proportions; before that shrunk to `max_side` where it is larger."""
        try:
            image = load_image(self.path, max_side=max_side)
        except ImageError as error:
            raise unusable(self.source, self.path, error) from error
        return image if self.stretch == 1 else cv2.resize(image, self._stretched(image.shape[:2]))

    def decoded_masks(self, shape: tuple[int, int] | None = None) -> list[np.ndarray]:
        """One bool HxW array per instance, of the (height, width) `shape` of `image()`; None: its shape unshrunk."""
        masks = [coco_mask.decode(rle) for rle in self.masks]
        size = self._stretched(self.size) if shape is None else shape[::-1]
        if size != self.size[::-1]:
            masks = [cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR) for mask in masks]
        return [mask.astype(bool) for mask in masks]

    def _stretched(self, size: tuple[int, int]) -> tuple[int, int]:
        return round(size[1] * self.stretch), size[0]


def read_source(source: MaskSource) -> list[MaskRecord]:
    """All records of a source. Raises `UsageError` for what is missing."""
    images = Path(source.images)
    if not images.is_dir():
        raise UsageError(f"The photos of '{source.name}' are missing: there is no folder '{images}'.")
    if source.kind in ("coco", "boxes"):
        return _read_coco(source, images)
    if source.kind == "alpha":
        return _read_alpha(source, images)
    return [_record(source, path, photo_size(source.name, path), ()) for path in find_images(images)]


def _read_coco(source: MaskSource, images: Path) -> list[MaskRecord]:
    records = []
    for photo in read_coco_file(Path(source.annotations or ""), source.name, source.kind == "boxes", source.label):
        path = images / photo.file_name.replace("\\", "/")
        if not path.is_file():
            # Some tools write the path that the photo had where it was labelled.
            path = images / path.name
        if not path.is_file():
            raise UsageError(
                f"The photo '{photo.file_name}' of '{source.annotations}' is not in the folder '{images}'."
            )
        records.append(_record(source, path, photo.size, photo.masks, photo.categories, photo.drawn))
    return records


def _read_alpha(source: MaskSource, images: Path) -> list[MaskRecord]:
    records = []
    folder = Path(source.annotations or "")
    for alpha_path in sorted(folder.rglob("*.png")):
        found = sorted((images / alpha_path.relative_to(folder)).parent.glob(f"{alpha_path.stem}.*"))
        alpha = cv2.imread(str(alpha_path), cv2.IMREAD_GRAYSCALE)
        if not found or alpha is None:
            continue
        mask = largest_piece(alpha > 127)
        # An automatic tool made them: where it kept next to nothing, it failed.
        if mask.mean() < 0.05:
            continue
        rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        records.append(_record(source, found[0], mask.shape, (rle,)))
    return records


def _record(
    source: MaskSource,
    path: Path,
    size: tuple[int, int],
    masks: tuple[dict, ...],
    categories: tuple[str, ...] = (),
    drawn: tuple[bool, ...] = (),
) -> MaskRecord:
    about = source.weight, source.incomplete, source.stretch
    return MaskRecord(source.name, str(path), size, masks, *about, categories, () if all(drawn) else drawn)


def photo_size(source: str, path: str | Path) -> tuple[int, int]:
    """Height and width of a photo as it is shown, from its header. Raises `UsageError` where it is none."""
    try:
        width, height = image_size(path)
    except ImageError as error:
        raise unusable(source, path, error) from error
    return height, width


def unusable(source: str, path: str | Path, error: ImageError) -> UsageError:
    return UsageError(f"A photo of '{source}' can't be used, remove it: {error} It is '{path}'.")


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece of a bool HxW mask, as bool HxW (all False when the mask is empty)."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return np.zeros_like(mask, dtype=bool)
    return labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))


def split_records(
    records: Sequence[MaskRecord], share: float, seed: int, distance: int = 10
) -> tuple[list[MaskRecord], list[MaskRecord]]:
    """Training and validation records; photos whose difference hashes are within `distance` bits stay together."""
    if share <= 0:
        return list(records), []
    groups = near_duplicate_groups([photo_hash(record.path) for record in records], distance)
    order = np.random.default_rng(seed).permutation(len(groups))
    wanted = share * len(records)
    held: set[int] = set()
    for index in order:
        if len(held) >= wanted:
            break
        # A long burst of one car would make the validation figure a figure of that car.
        if len(groups[index]) <= max(2, wanted / 8):
            held.update(groups[index])
    train = [record for index, record in enumerate(records) if index not in held]
    return train, [records[index] for index in sorted(held)]


def photo_hash(path: str) -> int:
    """`difference_hash` of a photo's file; 0 for one that can't be read."""
    image = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    if image is None:  # HEIC, and what is no photo at all
        try:
            image = cv2.cvtColor(load_image(path, max_side=512), cv2.COLOR_RGB2GRAY)
        except ImageError:
            return 0
    return difference_hash(image)
