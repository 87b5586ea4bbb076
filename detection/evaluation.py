"""How good a detector is on photos whose masks are known."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from detection.masks_data import Record
from detection.vehicle import choose_main


def evaluate_detector(detector, records: Sequence[Record]) -> dict[str, float]:
    """Figures on `records`, one photo at a time as in prediction.

    Photos with a vehicle: IoU of the chosen main vehicle with the largest mask (mean, median, least), the best match
    among all found, the count missed. Photos without: the share that gets a vehicle. `ms` is the median time of one
    photo.
    """
    main, best, false, times = [], [], [], []
    for record in records:
        image = record.image()
        start = time.perf_counter()
        vehicles = detector.detect([image])[0]
        times.append(time.perf_counter() - start)
        masks = record.decoded_masks()
        if not masks:
            false.append(bool(vehicles))
            continue
        truth = max(masks, key=np.sum)
        best.append(max((iou(truth, vehicle.mask) for vehicle in vehicles), default=0.0))
        chosen = choose_main(vehicles, image.shape[:2])
        main.append(0.0 if chosen is None else iou(truth, chosen.mask))
    figures: dict[str, float] = {"photos": len(records), "ms": float(np.median(times)) * 1e3 if times else 0.0}
    if main:
        figures |= {
            "main_iou": float(np.mean(main)),
            "main_iou_median": float(np.median(main)),
            "main_iou_least": float(np.min(main)),
            "best_iou": float(np.mean(best)),
            "missed": int(np.sum(np.array(main) == 0)),
        }
    if false:
        figures["false_share"] = float(np.mean(false))
    return figures


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two bool HxW masks; 0 when both are empty."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 0.0
