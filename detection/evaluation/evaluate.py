"""How good a detector is on photos whose masks are known."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from detection.detectors.contract import Detector, as_detector
from detection.evaluation.boundary import boundary_f_score
from detection.evaluation.coco_ap import AveragePrecision
from detection.evaluation.recall import Recall
from detection.masks.records import MaskRecord
from detection.vehicle import Vehicle, choose_main, mask_box

# COCO's precision is over all scores; below this one nothing changes but the time.
LOW_THRESHOLD = 0.05
# Detections below the threshold take time, too. So speed is measured without them, on this many photos.
TIMED_PHOTOS = 24


def evaluate_detector(
    detector: Detector,
    records: Sequence[MaskRecord],
    finish: Callable[[np.ndarray, Vehicle], Vehicle] | None = None,
) -> dict[str, float]:
    """Figures on `records`, one photo at a time as in prediction.

    Photos with a vehicle, at the detector's threshold: IoU of the chosen main vehicle with the largest mask (mean,
    median, least), F-score of its edge (2 px at 512 px), the best match among all found, the count missed; and over
    all scores and vehicles the COCO figures ap, ap50, ap75 (masks) and box_ap, box_ap50, box_ap75.
    Of each vehicle, of a box alone too, whether it is found, by kind and size (see `Recall`); of photos with boxes
    alone no more than that. Photos without: the share that gets a vehicle. `ms` is the median time of one photo, of up
    to `TIMED_PHOTOS`.
    finish: what is done to the main vehicle before it is measured, such as `finish_vehicle`.
    """
    main: list[float] = []
    best: list[float] = []
    edges: list[float] = []
    false: list[bool] = []
    times: list[float] = []
    precision, recall = AveragePrecision(), Recall()
    detector = as_detector(detector)
    threshold = detector.score_threshold
    low = detector.with_threshold(min(LOW_THRESHOLD, threshold))
    for record in records:
        image = record.image()
        if len(times) < TIMED_PHOTOS:
            start = time.perf_counter()
            detector.detect([image])
            times.append(time.perf_counter() - start)
        found = low.detect([image])[0]
        vehicles = [vehicle for vehicle in found if vehicle.score >= threshold]
        masks = record.decoded_masks(image.shape[:2])
        kinds = record.categories or ("car",) * len(masks)
        boxed = [(box, kind) for mask, kind in zip(masks, kinds, strict=True) if (box := mask_box(mask))]
        recall.add([box for box, _ in boxed], [kind for _, kind in boxed], vehicles, image.shape[:2])
        if not all(record.drawn):
            continue
        precision.add(masks, kinds, found)
        if not masks:
            false.append(bool(vehicles))
            continue
        truth = max(masks, key=np.sum)
        best.append(max((iou(truth, vehicle.mask) for vehicle in vehicles), default=0.0))
        chosen = choose_main(vehicles, image.shape[:2])
        if chosen is not None and finish is not None:
            chosen = finish(image, chosen)
        main.append(0.0 if chosen is None else iou(truth, chosen.mask))
        edges.append(0.0 if chosen is None else boundary_f_score(truth, chosen.mask))
    figures: dict[str, float] = {"photos": len(records), "ms": float(np.median(times)) * 1e3 if times else 0.0}
    if main:
        figures |= {
            "main_iou": float(np.mean(main)),
            "main_iou_median": float(np.median(main)),
            "main_iou_least": float(np.min(main)),
            "best_iou": float(np.mean(best)),
            "missed": int(np.sum(np.array(main) == 0)),
            "boundary_f": float(np.mean(edges)),
        }
        figures |= precision.figures()
    figures |= recall.figures()
    if false:
        figures["false_share"] = float(np.mean(false))
    return figures


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two bool HxW masks; 0 when both are empty."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 0.0
