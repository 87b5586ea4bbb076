"""COCO average precision of a detector's masks and boxes, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detection.vehicle import Vehicle, mask_box


class AveragePrecision:
    """Takes in one photo after another, as run-length encodings, and works out the figures at the end.

    With masks of one kind alone every vehicle counts as that kind (a truck found where a car was drawn is right);
    with several, precision is averaged over the kinds.
    """

    def __init__(self) -> None:
        self._images: list[dict] = []
        self._truths: list[dict] = []
        self._found: list[dict] = []

    def add(self, masks: Sequence[np.ndarray], kinds: Sequence[str], vehicles: Sequence[Vehicle]) -> None:
        """masks: bool HxW of the vehicles that are there, `kinds` theirs; vehicles: what the detector found there."""
        number = len(self._images) + 1
        shape = next((one.shape for one in [*masks, *(vehicle.mask for vehicle in vehicles)]), (1, 1))
        self._images.append({"id": number, "height": shape[0], "width": shape[1]})
        for mask, kind in zip(masks, kinds, strict=True):
            box = mask_box(mask)
            if box is not None:
                entry = {"id": len(self._truths) + 1, "image_id": number, "kind": kind, "iscrowd": 0}
                self._truths.append(entry | _shape(mask, box))
        for vehicle in vehicles:
            entry = {"image_id": number, "kind": vehicle.kind, "score": vehicle.score}
            self._found.append(entry | _shape(vehicle.mask, vehicle.box))

    def figures(self) -> dict[str, float]:
        """`ap` (IoU 0.50 to 0.95), `ap50`, `ap75` of the masks, `box_ap`, `box_ap50`, `box_ap75`; {} without truths."""
        kinds = sorted({truth["kind"] for truth in self._truths})
        if not kinds:
            return {}
        numbers = {kind: index + 1 for index, kind in enumerate(kinds)}
        if len(kinds) == 1:
            found = [entry | {"category_id": 1} for entry in self._found]
        else:
            found = [
                entry | {"category_id": numbers[entry["kind"]]} for entry in self._found if entry["kind"] in numbers
            ]
        names = ("ap", "ap50", "ap75", "box_ap", "box_ap50", "box_ap75")
        if not found:
            return dict.fromkeys(names, 0.0)
        truth = COCO()
        truth.dataset = {
            "images": self._images,
            "categories": [{"id": number, "name": kind} for kind, number in numbers.items()],
            "annotations": [entry | {"category_id": numbers[entry["kind"]]} for entry in self._truths],
        }
        values: list[float] = []
        with contextlib.redirect_stdout(io.StringIO()):
            truth.createIndex()
            for what in ("segm", "bbox"):
                evaluation = COCOeval(truth, _results(truth, found), what)
                evaluation.evaluate()
                evaluation.accumulate()
                evaluation.summarize()
                values += [max(0.0, float(value)) for value in evaluation.stats[:3]]
        return dict(zip(names, values, strict=True))


def _shape(mask: np.ndarray, box: Sequence[float]) -> dict:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    x1, y1, x2, y2 = (float(value) for value in box)
    return {"segmentation": rle, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": float(coco_mask.area(rle))}


def _results(truth: COCO, found: list[dict]) -> COCO:
    results = COCO()
    results.dataset = {
        "images": truth.dataset["images"],
        "categories": truth.dataset["categories"],
        "annotations": [entry | {"id": index + 1, "iscrowd": 0} for index, entry in enumerate(found)],
    }
    results.createIndex()
    return results
