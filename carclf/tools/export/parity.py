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


LEAST_SAME = 0.995  # share of photos with the same first answer
MOST_DIFFERENCE = 0.01  # of the probability of any class, on the same cut-out
_CROP_SIDE = 1600  # of the photos that stand in for cut-outs where there is no vehicle


@dataclass
class Parity:
    """Figures over all photos. Differences are the largest there are; `box` is in pixels of the photo.

    same_cutouts: share of cut-outs, the same for both, with the same best class. same_answers: share of photos with
    the same status and best class when each goes its own way. score, box, mask_iou: of the vehicles, where both find
    the same number; same_vehicles: the share of photos where they do.
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
    others: list[str] = field(default_factory=list)  # photos that are answered differently

    @property
    def holds(self) -> bool:
        enough = min(self.same_cutouts, self.same_answers) >= LEAST_SAME
        return self.photos > 0 and enough and self.cutout_difference <= MOST_DIFFERENCE

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
            f"{self.score:.2g}, boxes by {self.box:.2g} px, masks have an IoU of {self.mask_iou:.4f} or more",
        ]


def check_parity(model: CarRecognizer, export: CarRecognizer, files: Iterable[Path]) -> Parity:
    """Compares the two on each photo, detector by detector, classifier by classifier on the same cut-outs, and end to
    end. Both must have `top` of all classes. What can't be read is left out."""
    if model.detector is None or export.detector is None:
        raise ValueError("Both recognizers must have a detector.")
    parity = Parity()
    counts = {"cutouts": 0, "answers": 0, "vehicles": 0}
    for file in files:
        try:
            image = load_image(file)
        except ImageError:
            continue
        parity.photos += 1
        view = detector_view(image)
        (ours,), (theirs,) = model.detector.detect([view]), export.detector.detect([view])
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
    return parity


def _compare_vehicles(parity: Parity, ours: Sequence[Vehicle], theirs: Sequence[Vehicle], scale: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        parity.score = max(parity.score, abs(one.score - other.score))
        distance = max(abs(a - b) for a, b in zip(one.box, other.box, strict=True))
        parity.box = max(parity.box, scale * distance)
        shared, either = (one.mask & other.mask).sum(), (one.mask | other.mask).sum()
        parity.mask_iou = min(parity.mask_iou, float(shared / either))


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
