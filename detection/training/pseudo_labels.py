"""Masks for photos that nobody has labelled: a detector's own, kept where several looks at the photo agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from detection.common.console import Track, untracked
from detection.common.errors import UsageError
from detection.common.files import replace_file
from detection.detectors.mask_rcnn import MaskRcnnDetector
from detection.evaluation.evaluate import iou
from detection.images.find import find_images
from detection.images.read import ImageError, load_image
from detection.vehicle import mask_box

# One pair per look: (short side of the photo as the detector sees it, relative to its own; mirrored).
LOOKS = ((1.0, False), (1.0, True), (0.8, False), (1.2, True))
_LEAST_SHARE = 0.004  # smaller vehicles are no reason to doubt a photo, and none to trust it


@dataclass(frozen=True)
class PseudoLabel:
    """Masks (bool HxW) of the vehicles of one photo, and how well the looks agreed (least IoU with their mean)."""

    masks: tuple[np.ndarray, ...]
    agreement: float


def pseudo_label(detector: MaskRcnnDetector, image: np.ndarray, least_agreement: float = 0.97) -> PseudoLabel | None:
    """Masks of the vehicles of an RGB uint8 HxWx3 photo; None when the looks do not agree.

    Every look must find the same vehicles. A mask is the mean of what the looks see, which is nearer to the truth
    than each of them, so a detector can learn from it.
    """
    views = [_look(detector, image, scale, mirrored) for scale, mirrored in LOOKS]
    if not views[0] or len({len(view) for view in views}) > 1:
        return None
    masks, worst = [], 1.0
    for first in views[0]:
        partners = [max(view, key=lambda other: iou(first > 0.5, other > 0.5)) for view in views]
        mean = np.mean(partners, axis=0)
        mask = mean > 0.5
        worst = min([worst, *(iou(mask, partner > 0.5) for partner in partners)])
        masks.append(mask)
    return PseudoLabel(tuple(masks), worst) if worst >= least_agreement else None


def label_folder(
    detector: MaskRcnnDetector,
    images: Path,
    target: Path,
    *,
    every: int = 1,
    stretch: float = 1.0,
    least_agreement: float = 0.97,
    skip: Callable[[str], bool] = lambda _relative: False,
    track: Track = untracked,
) -> tuple[int, int]:
    """Writes a COCO file of the photos below `images` (every n-th) whose looks agree; returns (kept, looked at).

    stretch: width factor of photos that are stored squeezed; the masks written are those of the stored photo.
    skip: photos to leave out, by their path relative to `images`, such as those with a better mask.
    """
    paths = [path for path in find_images(images) if not skip(path.relative_to(images).as_posix())][::every]
    if not paths:
        raise UsageError(f"The folder '{images}' holds no photo to label: check the path.")
    entries: list[dict] = []
    annotations: list[dict] = []
    for path in track(paths, len(paths)):
        try:
            image = load_image(path)
        except ImageError:
            continue
        height, width = image.shape[:2]
        seen = image if stretch == 1 else cv2.resize(image, (round(width * stretch), height))
        label = pseudo_label(detector, seen, least_agreement)
        if label is None:
            continue
        number = len(entries) + 1
        entries.append(
            {"id": number, "file_name": path.relative_to(images).as_posix(), "height": height, "width": width}
        )
        for mask in label.masks:
            stored = cv2.resize(mask.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_LINEAR) > 127
            annotations.append(_annotation(len(annotations) + 1, number, stored, label.agreement))
    content = {"images": entries, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]}
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, json.dumps(content).encode())
    return len(entries), len(paths)


def _annotation(number: int, image: int, mask: np.ndarray, agreement: float) -> dict:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    x1, y1, x2, y2 = mask_box(mask) or (0, 0, 0, 0)
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "area": int(mask.sum()),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
        "agreement": round(agreement, 4),
    }


def _look(detector: MaskRcnnDetector, image: np.ndarray, scale: float, mirrored: bool) -> list[np.ndarray]:
    """Soft masks (float32 HxW, 0..1) of what one look at the photo finds, largest first."""
    seen = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
    softs = detector.soft_masks(seen, scale)
    softs = [soft[:, ::-1] if mirrored else soft for soft in softs]
    large = [soft for soft in softs if np.count_nonzero(soft > 0.5) >= _LEAST_SHARE * soft.size]
    return sorted(large, key=lambda soft: -np.count_nonzero(soft > 0.5))
