"""A batched predictor of vehicles over any Mask R-CNN of Detectron2."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from detection.detectors.check.car_check import CarCheck
from detection.detectors.check.evidence import Evidence
from detection.detectors.contract import COMPACT, Detector
from detection.detectors.fast.speed_up import Precision, autocast, fitting_batch, speed_up
from detection.detectors.outputs import (
    check_photo,
    make_vehicles,
    padded_shape,
    paste_soft,
    resize_photo,
    resized_shape,
)
from detection.vehicle import Vehicle

if TYPE_CHECKING:
    from detectron2.modeling import GeneralizedRCNN

# Detectron2 0.6 calls torch in ways that newer versions advise against: nothing that a user could act on.
warnings.filterwarnings("ignore", message=".*torch.meshgrid.*")
warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
warnings.filterwarnings("ignore", message=".*pkg_resources is deprecated.*")

# Contiguous class ids of Detectron2's COCO models that are road vehicles one can sit in.
COCO_VEHICLES = {2: "car", 5: "bus", 7: "truck"}
# Beyond this a batch's activations are too large for the C library to keep between batches: each costs new pages.
_CPU_PIXELS = 400_000


@dataclass(frozen=True)
class DetectorSettings:
    """What a detector needs beside its weights. Sides are pixels of the resized photo.

    mask_scores: whether a score is the class's times the mean probability within the mask, after which the threshold
    is applied: what is no vehicle is often called one with confidence, but seldom outlined with confidence.
    own_threshold: the one that the weights were given, whichever is used.
    """

    name: str
    kinds: dict[int, str]
    short_side: int
    long_side: int
    score_threshold: float
    rgb: bool
    fingerprint: str
    mask_scores: bool = False
    own_threshold: float | None = None


class MaskRcnnDetector(Detector):
    """Finds vehicles in photos. One for a thread: Detectron2 models keep no state, but batches share the cores.

    batch_size: the most photos that the model sees at a time; it falls when the device's memory does not do for it.
    `precision` is what `speed_up` has chosen, float32 before.
    """

    def __init__(self, model: GeneralizedRCNN, settings: DetectorSettings, batch_size: int | None = None):
        self.model = model.eval()
        self.settings = settings
        self.name, self.fingerprint = settings.name, settings.fingerprint
        self.device, self.precision = str(self.model.device), "float32"
        self._predictors = _box_predictors(self.model)
        # None: on a GPU the first batch shows how many fit; on a CPU more than two small ones only cost time.
        self.batch_size = batch_size or max(1, min(2, _CPU_PIXELS // (settings.short_side * settings.long_side)))
        self._measure_memory = batch_size is None and torch.device(self.device).type == "cuda"

    def speed_up(self, precision: Precision = "auto") -> None:
        """Prepares the model, in place, for nothing but inference; see `detection.detectors.fast.speed_up`."""
        self.precision = speed_up(self.model, set(self.settings.kinds), precision)

    @property
    def score_threshold(self) -> float:
        return self.settings.score_threshold

    @property
    def own_threshold(self) -> float:
        """As the weights say; of those that do not, the one that is used."""
        own = self.settings.own_threshold
        return self.settings.score_threshold if own is None else own

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of the vehicles that it knows."""
        return tuple(dict.fromkeys(self.settings.kinds.values()))

    def input_shape(self, height: int, width: int) -> tuple[int, int]:
        """The padded (height, width) in which the model sees a photo of that size: equal ones share a batch."""
        divisor = max(self.model.backbone.size_divisibility, 1)
        return padded_shape(self._resized_shape(height, width), divisor)

    def with_threshold(self, score_threshold: float) -> MaskRcnnDetector:
        settings = self.settings
        ending = f"-{settings.score_threshold:g}"
        shown = f"{settings.fingerprint.removesuffix(ending)}-{score_threshold:g}"
        other = copy.copy(self)
        other.settings = replace(settings, score_threshold=score_threshold, fingerprint=shown)
        other.fingerprint = shown
        return other

    def car_check(self, evidence: Evidence | None = None) -> CarCheck | None:
        """Only the compact detector, which knows cars alone, needs one. evidence: see `CarCheck`."""
        if self.name != COMPACT:
            return None
        return CarCheck(self.device, evidence)

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Vehicle]]:
        """Vehicles of each photo, best score first.

        images: RGB uint8 HxWx3 arrays of any sizes. Photos that resize to the same padded shape share a batch, and
        only those, so that a photo's result does not depend on its neighbours. Raises `ValueError` for another shape
        or dtype.
        """
        for image in images:
            check_photo(image)
        inputs = [self._resized(image) for image in images]
        groups: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            groups.setdefault(self.input_shape(*image.shape[:2]), []).append(index)
        found: list[list[Vehicle]] = [[] for _ in images]
        for members in groups.values():
            while members:
                batch, members = members[: self.batch_size], members[self.batch_size :]
                outputs = self._forward([inputs[index] for index in batch])
                for index, output in zip(batch, outputs, strict=True):
                    found[index] = self._vehicles(output, images[index].shape[:2], inputs[index].shape[1:])
        return found

    def soft_masks(self, image: np.ndarray, scale: float = 1.0) -> list[np.ndarray]:
        """Probabilities (float32 HxW) of each vehicle of one photo (RGB uint8 HxWx3), best score first.

        scale: of the resized photo, against the size that the model is used at.
        """
        settings = replace(
            self.settings,
            short_side=round(self.settings.short_side * scale),
            long_side=round(self.settings.long_side * scale),
        )
        small = MaskRcnnDetector(self.model, settings, self.batch_size)
        small.precision = self.precision
        resized = small._resized(image)
        (output,) = small._forward([resized])
        size = image.shape[:2]
        factors = np.array([size[1] / resized.shape[2], size[0] / resized.shape[1]] * 2, np.float64)
        kept = output[(output.scores >= self.settings.score_threshold).nonzero()[:, 0]]
        boxes = kept.pred_boxes.tensor.double().numpy() * factors
        return [
            paste_soft(soft[0].float().numpy(), box, size) for soft, box in zip(kept.pred_masks, boxes, strict=True)
        ]

    def _resized_shape(self, height: int, width: int) -> tuple[int, int]:
        return resized_shape(height, width, self.settings.short_side, self.settings.long_side)

    def _resized(self, image: np.ndarray) -> Tensor:
        small = resize_photo(image, self._resized_shape(*image.shape[:2]))
        if not self.settings.rgb:
            small = small[..., ::-1]
        return torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)))

    def _forward(self, batch: list[Tensor]) -> list:
        """Detectron2 `Instances` of each resized photo (uint8 3xHxW); in smaller batches when memory runs out."""
        try:
            return self._run(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
        # Here, and not above, where the error still holds what the failed batch took.
        if torch.device(self.device).type == "cuda":
            torch.cuda.empty_cache()
        self.batch_size = max(1, len(batch) // 2)
        outputs = []
        while batch:
            part, batch = batch[: self.batch_size], batch[self.batch_size :]
            outputs += self._forward(part)
        return outputs

    def _run(self, batch: list[Tensor]) -> list:
        device = torch.device(self.device)
        for predictor in self._predictors:  # detectors of other thresholds may share the model
            predictor.test_score_thresh = self.settings.score_threshold
        if device.type == "cuda":
            batch = [tensor.pin_memory().to(device, non_blocking=True) for tensor in batch]
            if self._measure_memory:
                torch.cuda.reset_peak_memory_stats(device)
        with torch.inference_mode(), autocast(self.precision):
            outputs = self.model.inference([{"image": tensor} for tensor in batch], do_postprocess=False)
            outputs = [one.to("cpu") for one in outputs]
        if self._measure_memory:
            self.batch_size, self._measure_memory = fitting_batch(device, len(batch)), False
        return outputs

    def _vehicles(self, output, size: tuple[int, int], resized: Sequence[int]) -> list[Vehicle]:
        scale = np.array([size[1] / resized[1], size[0] / resized[0]] * 2, np.float64)
        return make_vehicles(
            output.pred_boxes.tensor.float().numpy().astype(np.float64) * scale,
            output.scores.float().numpy(),
            output.pred_classes.numpy(),
            output.pred_masks[:, 0].float().numpy() if output.has("pred_masks") else None,
            size,
            self.settings.kinds,
            self.settings.score_threshold,
            self.settings.mask_scores,
        )


def _box_predictors(model: torch.nn.Module) -> list:
    """The layers that drop boxes of low scores before masks are made of them; a cascade has several."""
    modules = model.modules() if isinstance(model, torch.nn.Module) else ()
    return [module for module in modules if hasattr(module, "test_score_thresh")]
