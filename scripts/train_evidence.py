"""Learns how the car check's thousand classes speak for a vehicle, which corrects the bundled detector's scores.

    python scripts/train_evidence.py configs/detector/compact_streets.yaml data=FOLDER [--out FILE]

A logistic regression on what the check sees of the detector's own finds, right and wrong ones, in the photos to fit to.
Prints what it does on the photos to choose by. To be run again whenever the bundled detector has other weights.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

if TYPE_CHECKING:
    from detection.detectors.contract import Detector
    from detection.masks.records import MaskRecord

# All chosen on the photos to choose by; docs/experiments.md says how.
STRENGTH = 1e-3  # C of the regression: 1e-4 finds fewer vehicles at no false one, 1e-2 as well
SHARE, OFFSET = 1.0, -0.84  # at the detector's threshold of 0.84, a score of 0.5 needs an evidence of 2.5
CERTAIN, LEAST = 0.98, 0.3
# Sources in which all vehicles are labelled: what is found beside them is none.
WHOLE = ("weather", "coco", "negatives", "plain", "other_vehicles", "hard")
WEIGHTS = {("weather", 0): 0.5}  # many of these are cars that are labelled a little elsewhere
DEALERS = 250  # of their photos, which show a car each
LOWEST = 0.05
MOST, RANDOM, VIEWS = 25, 4, 2


def train(
    config: str,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write it; default: beside the bundled weights.")] = None,
    seed: int = 0,
) -> None:
    from detection.common.errors import UsageError

    warnings.simplefilter("ignore", FutureWarning)  # libraries' advice to their own developers
    try:
        _train(config, overrides or [], out, seed)
    except UsageError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error


def _train(config: str, overrides: Sequence[str], out: Path | None, seed: int) -> None:
    import torch
    from sklearn.linear_model import LogisticRegression

    from detection.common.config import read_config
    from detection.common.networks.weights import write_safetensors
    from detection.detectors.check.evidence import FORMAT, Evidence, log_classes
    from detection.detectors.compact.files import EVIDENCE, bundled_path
    from detection.detectors.onnx.detector import OnnxDetector
    from detection.training.config import DetectorTraining
    from detection.training.examples import read_records

    _, records, held = read_records(read_config(DetectorTraining, config, overrides))
    records = [one for one in records if one.source not in ("drawn", "stanford", "dealer_unlabelled")]
    dealers = [one for one in records if one.source == "dealer"]
    rng = np.random.default_rng(seed)
    kept = {id(dealers[index]) for index in rng.permutation(len(dealers))[:DEALERS]}
    records = [one for one in records if one.source != "dealer" or id(one) in kept]
    detector = OnnxDetector.bundled()
    seen, labels, sources = _look(detector, records, rng)
    seen, labels = log_classes(seen), np.array(labels)
    weights = np.array([WEIGHTS.get((source, label), 1.0) for source, label in zip(sources, labels, strict=True)])
    for label in (0, 1):
        weights[labels == label] *= len(labels) / 2 / weights[labels == label].sum()
    model = LogisticRegression(C=STRENGTH, max_iter=5000).fit(seen, labels, sample_weight=weights)
    print(f"{len(labels)} views of {len(records)} photos, {labels.mean():.1%} of them vehicles")
    numbers = {"constant": float(model.intercept_[0])}
    numbers |= {"share": SHARE, "offset": OFFSET, "certain": CERTAIN, "least": LEAST}
    fingerprint = detector.fingerprint.removesuffix(f"-{detector.score_threshold:g}")
    target = out or bundled_path(EVIDENCE)
    metadata = {"format": FORMAT, "details": json.dumps({"detector": fingerprint, **numbers})}
    array = model.coef_[0].astype(np.float32)
    write_safetensors(target, {"weights": torch.from_numpy(array)}, metadata)
    print(f"written: {target}")
    _report(detector, Evidence(array, **numbers, name=""), held)


def _look(detector: Detector, records: Sequence[MaskRecord], rng) -> tuple[np.ndarray, list[int], list[str]]:
    """What the check sees of each view, float32 [N, 1000], whether it is a vehicle, and the source of its photo."""
    from detection.common.console import tracked
    from detection.detectors.check.car_check import car_view

    probabilities, labels, sources = [], [], []
    low, check = detector.with_threshold(LOWEST), _Probabilities()
    for record in tracked("looking")(records, len(records)):
        image = record.image()
        views = []
        for box, label in _boxes(low, record, image, rng):
            size = np.array([box[2] - box[0], box[3] - box[1]] * 2)
            for turn in range(VIEWS):
                moved = np.array(box) + rng.normal(0, 0.04 * turn, 4) * size
                view = car_view(image, np.clip(moved, 0, [image.shape[1], image.shape[0]] * 2))
                views.append(view[:, ::-1] if turn else view)
                labels.append(label)
                sources.append(record.source)
        probabilities += [check.of(view) for view in views]
    return np.stack(probabilities), labels, sources


def _boxes(detector: Detector, record: MaskRecord, image: np.ndarray, rng) -> Iterator[tuple[tuple, int]]:
    """Boxes in one photo (x1, y1, x2, y2), and whether each is a vehicle: 1 or 0."""
    from detection.vehicle import box_iou

    height, width = image.shape[:2]
    own = [_box_of(mask) for mask in record.decoded_masks(image.shape[:2]) if mask.any()]
    vehicle = [kind in ("car", "truck", "bus") for kind in record.categories or ("car",) * len(own)]
    whole = record.source in WHOLE
    for found in detector.detect([image])[0][:MOST]:
        overlaps = [box_iou(box, found.box) for box in own]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] >= 0.5:
            if vehicle[best]:
                yield found.box, 1
        elif whole and (best < 0 or overlaps[best] < 0.3):
            yield found.box, 0
    if whole and not own:  # the detector's own errors in these are few
        yield (0, 0, width, height), 0
        for _ in range(RANDOM):
            (x1, x2), (y1, y2) = np.sort(rng.uniform(0, width, 2)), np.sort(rng.uniform(0, height, 2))
            if min(x2 - x1, y2 - y1) > 40:
                yield (x1, y1, x2, y2), 0


def _box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


class _Probabilities:
    """The check's network itself: its looks tell less."""

    def __init__(self):
        from detection.detectors.onnx.car_check import OnnxCarCheck

        self._session = OnnxCarCheck.bundled()._session

    def of(self, view: np.ndarray) -> np.ndarray:
        return self._session.run(["probabilities"], {"views": np.ascontiguousarray(view[None])})[0][0]


def _report(detector: Detector, evidence, held: dict[str, list[MaskRecord]]) -> None:
    """The highest corrected scores of what is no vehicle, in photos without one, and how many photos would get one."""
    from detection.detectors.check.car_check import car_view

    low, check, threshold = detector.with_threshold(LEAST), _Probabilities(), detector.score_threshold
    for source in ("negatives", "plain", "other_vehicles", "hard"):
        highest = []
        for record in held.get(source, []):
            image = record.image()
            found = low.detect([image])[0]
            speaking = [evidence.of(check.of(car_view(image, one.box))[None])[0] for one in found]
            highest.append(
                max(
                    (
                        one.score if one.score >= CERTAIN else evidence.rescored(one.score, its)
                        for one, its in zip(found, speaking, strict=True)
                    ),
                    default=0.0,
                )
            )
        shown = ", ".join(f"{one:.2f}" for one in sorted(highest)[:-4:-1])
        print(f"{source}: {sum(one >= threshold for one in highest)} of {len(highest)} get one; highest: {shown}")


if __name__ == "__main__":
    typer.run(train)
