"""Whether an export answers as the model that it was made from, on photos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detection.cutout.extract import detector_view, extract
from detection.images.read import ImageError, load_image, shrink
from detection.vehicle import Vehicle, rank_vehicles

if TYPE_CHECKING:
    from carclf.recognition.prediction import Prediction
    from carclf.recognition.recognizer import CarRecognizer


@dataclass(frozen=True)
class Limits:
    """What an export must keep. same: share of photos with the same first answer. difference: of the probability of any
    class, on the same cut-out. mask_iou: mean over all vehicles of the model."""

    same: float
    difference: float
    mask_iou: float = 0.0

    def __str__(self) -> str:
        parts = [f"the same first answer on {self.same:.1%} of the photos"]
        if self.difference < 1:
            parts.append(f"probabilities within {self.difference}")
        if self.mask_iou:
            parts.append(f"masks with a mean IoU of {self.mask_iou}")
        return ", ".join(parts)


FLOAT = Limits(0.995, 0.01)
# Rounded weights move probabilities; what counts is which class comes first, and the outline.
INT8 = Limits(0.99, 1, 0.99)
# While layers are chosen, on few photos, of which one may be answered differently. Outlines have to be better than in
# the end: on photos that had no part in the choice they are a little worse.
CHOOSING = Limits(0.96, 1, 0.992)
_CROP_SIDE = 1600  # of the photos that stand in for cut-outs where there is no vehicle


@dataclass
class Parity:
    """Figures over all photos. Differences are the largest there are; `box` is in pixels of the photo.

    same_cutouts: share of cut-outs, the same for both, with the same best class. same_answers: share of photos with
    the same status and best class when each goes its own way. score, box, mask_iou: of the vehicles, where both find
    the same number; same_vehicles: the share of photos where they do. mean_mask_iou: over all vehicles of the model,
    each with the export's that fits it best, 0 where there is none.
    """

    photos: int = 0
    vehicles: int = 0
    same_cutouts: float = 1.0
    cutout_difference: float = 0.0
    same_answers: float = 1.0
    answer_difference: float = 0.0
    same_vehicles: float = 1.0
    score: float = 0.0
    box: float = 0.0
    mask_iou: float = 1.0
    mean_mask_iou: float = 1.0
    others: list[str] = field(default_factory=list)  # photos that are answered differently

    def holds(self, limits: Limits = FLOAT) -> bool:
        enough = min(self.same_cutouts, self.same_answers) >= limits.same
        near = self.cutout_difference <= limits.difference and self.mean_mask_iou >= limits.mask_iou
        return self.photos > 0 and enough and near

    def row(self) -> dict:
        return {
            key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in asdict(self).items()
        }

    def lines(self) -> list[str]:
        return [
            f"same cut-outs: the same best class on {self.same_cutouts:.2%} of {self.photos}, "
            f"probabilities differ by at most {self.cutout_difference:.2g}",
            f"whole chain: the same answer on {self.same_answers:.2%}, "
            f"probabilities differ by at most {self.answer_difference:.2g}",
            f"vehicles: as many on {self.same_vehicles:.2%}, {self.vehicles} in all; scores differ by at most "
            f"{self.score:.2g}, boxes by {self.box:.2g} px, masks have an IoU of {self.mask_iou:.4f} or more, "
            f"{self.mean_mask_iou:.4f} in the mean",
        ]


def check_parity(model: CarRecognizer, export: CarRecognizer, files: Iterable[Path]) -> Parity:
    """Compares the two on each photo, detector by detector, classifier by classifier on the same cut-outs, and end to
    end. Both must have `top` of all classes. What can't be read is left out."""
    if model.detector is None or export.detector is None:
        raise ValueError("Both recognizers must have a detector.")
    parity = Parity()
    counts = {"cutouts": 0, "answers": 0, "vehicles": 0}
    overlaps: list[float] = []
    for file in files:
        try:
            image = load_image(file)
        except ImageError:
            continue
        parity.photos += 1
        view = detector_view(image)
        (ours,), (theirs,) = model.detector.detect([view]), export.detector.detect([view])
        overlaps += (max((_overlap(one, other) for other in theirs), default=0.0) for one in ours)
        if len(ours) == len(theirs):
            counts["vehicles"] += 1
            parity.vehicles += len(ours)
            _compare_vehicles(parity, ours, theirs, image.shape[0] / view.shape[0])
        crop = _cutout(image, view, ours, model)
        (one,), (other,) = model.classifier.predict([crop]), export.classifier.predict([crop])
        counts["cutouts"] += int(one.argmax() == other.argmax())
        parity.cutout_difference = max(parity.cutout_difference, float(np.abs(one - other).max()))
        (mine,), (its,) = model.recognize([str(file)]), export.recognize([str(file)])
        if (mine.status, mine.label) == (its.status, its.label):
            counts["answers"] += 1
        else:
            parity.others.append(file.name)
        parity.answer_difference = max(parity.answer_difference, _difference(mine, its))
    if parity.photos:
        parity.same_cutouts = counts["cutouts"] / parity.photos
        parity.same_answers = counts["answers"] / parity.photos
        parity.same_vehicles = counts["vehicles"] / parity.photos
    if overlaps:
        parity.mean_mask_iou = float(np.mean(overlaps))
    return parity


def _compare_vehicles(parity: Parity, ours: Sequence[Vehicle], theirs: Sequence[Vehicle], scale: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        parity.score = max(parity.score, abs(one.score - other.score))
        distance = max(abs(a - b) for a, b in zip(one.box, other.box, strict=True))
        parity.box = max(parity.box, scale * distance)
        parity.mask_iou = min(parity.mask_iou, _overlap(one, other))


def _overlap(one: Vehicle, other: Vehicle) -> float:
    """The IoU of their masks."""
    return float((one.mask & other.mask).sum() / max(1, (one.mask | other.mask).sum()))


def _cutout(image: np.ndarray, view: np.ndarray, vehicles: Sequence[Vehicle], model: CarRecognizer) -> np.ndarray:
    """What both classifiers are shown: the cut-out of the main vehicle, or the photo itself where there is none."""
    main = rank_vehicles(vehicles, view.shape[:2]).main
    if main is None:
        return shrink(image, _CROP_SIDE)
    return np.ascontiguousarray(extract(image, main, model.classifier.style)[0][..., :3])


def _difference(one: Prediction, other: Prediction) -> float:
    """The largest of any class; 0 where one of them has no probabilities: then the answers differ anyway."""
    mine, its = dict(one.top), dict(other.top)
    return max((abs(mine[label] - its[label]) for label in mine if label in its), default=0.0)
