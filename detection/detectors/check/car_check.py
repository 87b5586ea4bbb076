"""A second opinion on what a detector has found: does it look like a car to a network that knows a thousand things?

A detector of cars alone has seen few other vehicles; a locomotive's front is much like a van's to it. ImageNet's
classes tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from detection.detectors.check.evidence import Evidence
from detection.detectors.check.imagenet import CLASS_NAMES
from detection.detectors.contract import CarChecker
from detection.vehicle import Look

ARCHITECTURE = "tf_efficientnet_lite0"
SIDE = 224
# Of ImageNet's classes those that a passenger car, a pickup or a van may fall into, by their numbers.
CAR_CLASSES = {
    407: "ambulance", 436: "beach wagon", 468: "cab", 479: "car wheel", 511: "convertible", 581: "grille",
    609: "jeep", 627: "limousine", 654: "minibus", 656: "minivan", 661: "Model T", 675: "moving van", 717: "pickup",
    734: "police van", 751: "racer", 757: "recreational vehicle", 817: "sports car",
}  # fmt: skip
# Kinds of vehicle that are not to look like a car: what a detector says of them is all there is.
BEYOND_CARS = ("truck", "bus")
# The surer the detector is, the less a vehicle has to look like a car to this network: fog, snow and odd angles cost
# the network more than they cost the detector. Pairs of a detector's score and the least probability of the classes
# above together, surest first. A score below the detector's own threshold counts from WEAK_SCORE on. Chosen on one half
# of the photos that scripts/evaluate_finder.py reads; it also prints the figures of the other half.
LEAST = ((0.98, 0.0), (0.9, 0.005), (0.0, 0.01))
WEAK_SCORE, WEAK_LEAST = 0.5, 0.2
# In a photo that was turned, whatever the score: three more views must not find cars where there are none.
TURNED_LEAST = 0.1
# The mean and deviation that this network takes.
_HALF = 127.5


class CarCheck(CarChecker):
    """Looks at boxes that were found. Raises `UsageError` where the ImageNet weights are not installed.

    evidence: what `Look.evidence` comes from; None leaves it out.
    """

    def __init__(self, device: str = "cpu", evidence: Evidence | None = None):
        import timm
        import torch

        from detection.common.networks.weights import imagenet_state

        self.net = timm.create_model(ARCHITECTURE)
        self.net.load_state_dict(imagenet_state(ARCHITECTURE))
        self.net.to(device).to(memory_format=torch.channels_last).eval()
        self.device, self.evidence = device, evidence

    def look(self, views: Sequence[np.ndarray]) -> list[Look]:
        """views: as `car_view` gives them."""
        import torch

        if not len(views):
            return []
        batch = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).to(self.device)
        with torch.inference_mode():
            probabilities = self.net(normalise(batch)).softmax(dim=1).cpu().numpy()
        return looks(probabilities, CLASS_NAMES, self.evidence)


def is_car(look: Look | None, score: float, weak: bool = False, turned: bool = False) -> bool:
    """Whether a vehicle of this score counts as a car by its look, None where it was not looked at. weak: the score is
    below the detector's own threshold. turned: the photo had to be turned."""
    least = WEAK_LEAST if weak else TURNED_LEAST if turned else _least(score)
    return least == 0 or (look is not None and look.car >= least)


def needs_look(score: float, turned: bool = False) -> bool:
    """Whether a vehicle of this score has to be looked at: the surest ones are cars whatever they look like, except in
    a photo that had to be turned."""
    return turned or _least(score) > 0


def _least(score: float) -> float:
    return next(least for lowest, least in LEAST if score >= lowest)


def normalise(views):
    """uint8 tensor of any shape to what the network takes."""
    return (views.float() - _HALF) / _HALF


def looks(probabilities: np.ndarray, names: Sequence[str], evidence: Evidence | None = None) -> list[Look]:
    """probabilities: float [N, 1000] of ImageNet's classes; names: of these."""
    numbers = list(CAR_CLASSES)
    speaking = [None] * len(probabilities) if evidence is None else map(float, evidence.of(probabilities))
    found = []
    for row, one in zip(probabilities, speaking, strict=True):
        others = row.copy()
        others[numbers] = -1
        found.append(Look(float(row[numbers].sum()), names[int(others.argmax())], one))
    return found


def car_view(image: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """What the check sees of a vehicle: RGB uint8 224x224x3, its box in the photo with a margin of a twentieth.

    image: RGB uint8 HxWx3. box: x1, y1, x2, y2 in its pixels.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box
    margin = 0.05 * max(x2 - x1, y2 - y1)
    left, top = max(0, int(x1 - margin)), max(0, int(y1 - margin))
    right, bottom = min(width, int(np.ceil(x2 + margin))), min(height, int(np.ceil(y2 + margin)))
    crop = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    shrinking = crop.shape[0] * crop.shape[1] > SIDE * SIDE
    return cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
