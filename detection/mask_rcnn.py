"""Detectron2 models as detectors of vehicles: loading them, and a batched predictor over them."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from detection.device import choose_device
from detection.errors import UsageError
from detection.files import replace_file
from detection.inference import Precision, autocast, fitting_batch, speed_up
from detection.instances import check_photo, make_vehicles, padded_shape, resize_photo, resized_shape
from detection.paste import paste_soft
from detection.tensors import read_safetensors
from detection.vehicle import Vehicle

# Detectron2 0.6 calls torch in ways that newer versions advise against: nothing that a user could act on.
warnings.filterwarnings("ignore", message=".*torch.meshgrid.*")
warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
warnings.filterwarnings("ignore", message=".*pkg_resources is deprecated.*")

# Contiguous class ids of Detectron2's COCO models that are road vehicles one can sit in.
COCO_VEHICLES = {2: "car", 5: "bus", 7: "truck"}
# Beyond this a batch's activations are too large for the C library to keep between batches: each costs new pages.
_CPU_PIXELS = 400_000
WEIGHTS_FORMAT = "carclf-detector-1"


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


def compact_weights() -> Path:
    """Where the bundled weights of the compact detector lie."""
    return Path(__file__).parent / "weights" / "compact.safetensors"


def load_detector(
    name_or_config: str = "compact",
    device: str = "auto",
    weights: str | Path | None = None,
    score_threshold: float | None = None,
    precision: Precision = "auto",
) -> Detector:
    """Loads a detector and makes it fast on its device.

    name_or_config: "compact" (bundled), a Detectron2 model-zoo name such as
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x", or the path of a Detectron2 YAML config with COCO classes.
    weights: a .safetensors file; for zoo models and configs also a .pth that holds tensors only (never a pickle).
    device: "auto" takes a GPU when there is one. score_threshold: None takes the model's own.
    precision: "auto" takes half precision where it is faster and the results stay the same to 0.5 px; "float32" never.
    Raises `UsageError` with one sentence when the model or its weights can't be had.
    """
    if precision not in get_args(Precision):
        raise UsageError(f"'{precision}' is not a precision: choose {' or '.join(get_args(Precision))}.")
    detector = load_as_trained(name_or_config, device, weights, score_threshold)
    detector.speed_up(precision)
    return detector


def load_as_trained(
    name_or_config: str, device: str, weights: str | Path | None = None, score_threshold: float | None = None
) -> Detector:
    """`load_detector` without what makes it fast: a plain Detectron2 model, for comparisons."""
    place = torch.device(choose_device(device))
    if name_or_config == "compact":
        return _load_compact(place, Path(weights) if weights else compact_weights(), score_threshold)
    from detection.zoo import load_zoo

    return load_zoo(name_or_config, place, weights, score_threshold)


class Detector:
    """Finds vehicles in photos. One for a thread: Detectron2 models keep no state, but batches share the cores.

    batch_size: the most photos that the model sees at a time; it falls when the device's memory does not do for it.
    `precision` is what `speed_up` has chosen, float32 before.
    """

    def __init__(self, model: torch.nn.Module, settings: DetectorSettings, batch_size: int | None = None):
        self.model = model.eval()
        self.settings = settings
        self.precision = "float32"
        # None: on a GPU the first batch shows how many fit; on a CPU more than two small ones only cost time.
        self.batch_size = batch_size or max(1, min(2, _CPU_PIXELS // (settings.short_side * settings.long_side)))
        self._measure_memory = batch_size is None and torch.device(self.device).type == "cuda"

    def speed_up(self, precision: Precision = "auto") -> None:
        """Prepares the model, in place, for nothing but inference; see `detection.inference`."""
        self.precision = speed_up(self.model, set(self.settings.kinds), precision)

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def device(self) -> str:
        return str(self.model.device)

    @property
    def fingerprint(self) -> str:
        """Changes with architecture, weights and threshold: results of equal fingerprints may be mixed."""
        return self.settings.fingerprint

    @property
    def own_threshold(self) -> float | None:
        """The score from which on a vehicle is one, as the weights say; None where they do not."""
        return self.settings.own_threshold

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of the vehicles that it knows."""
        return tuple(dict.fromkeys(self.settings.kinds.values()))

    def input_shape(self, height: int, width: int) -> tuple[int, int]:
        """The padded (height, width) in which the model sees a photo of that size: equal ones share a batch."""
        divisor = max(self.model.backbone.size_divisibility, 1)
        return padded_shape(self._resized_shape(height, width), divisor)

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
        sides = {
            "short_side": round(self.settings.short_side * scale),
            "long_side": round(self.settings.long_side * scale),
        }
        small = Detector(self.model, replace(self.settings, **sides), self.batch_size)
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

    def _vehicles(self, output, size: tuple[int, int], resized: tuple[int, int]) -> list[Vehicle]:
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


def save_compact(model: torch.nn.Module, path: Path, details: dict) -> None:
    """Writes the weights in half precision with `details` (JSON) as metadata; temp file, then rename.

    details: at least short_side, long_side and score_threshold.
    """
    from safetensors.torch import save

    tensors = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, save(tensors, metadata={"format": WEIGHTS_FORMAT, "details": json.dumps(details)}))


def _load_compact(device: torch.device, path: Path, score_threshold: float | None) -> Detector:
    if path == compact_weights() and not path.is_file():
        raise UsageError(f"The detector's weights '{path}' are missing: reinstall carclf, or pass --weights FILE.")
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != WEIGHTS_FORMAT:
        raise UsageError(f"'{path}' holds no weights of the compact detector: pass weights made by train-detector.")
    details = json.loads(metadata["details"])
    from detectron2.modeling import build_model

    from detection.compact import KINDS, compact_config

    threshold = details["score_threshold"] if score_threshold is None else score_threshold
    kinds = details.get("kinds", KINDS)
    cfg = compact_config()
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(kinds)
    cfg.MODEL.DEVICE = str(device)
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = threshold
    model = build_model(cfg)
    missing, unexpected = model.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise UsageError(f"'{path}' does not fit this version's compact detector: train it again with train_detector.")
    model.backbone.bottom_up.fold()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    settings = DetectorSettings(
        name="compact",
        kinds=dict(enumerate(kinds)),
        short_side=details["short_side"],
        long_side=details["long_side"],
        score_threshold=threshold,
        rgb=True,
        fingerprint=f"compact-{digest}-{threshold:g}",
        mask_scores=True,
        own_threshold=details["score_threshold"],
    )
    return Detector(model, settings)
