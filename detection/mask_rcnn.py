"""Detectron2 models as detectors of vehicles: loading them, and a batched predictor over them."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from detection.device import choose_device
from detection.errors import UsageError
from detection.files import replace_file
from detection.vehicle import Vehicle, mask_box

# Detectron2 0.6 calls torch in ways that newer versions advise against: nothing that a user could act on.
warnings.filterwarnings("ignore", message=".*torch.meshgrid.*")
warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
warnings.filterwarnings("ignore", message=".*pkg_resources is deprecated.*")

# Contiguous class ids of Detectron2's COCO models that are road vehicles one can sit in.
COCO_VEHICLES = {2: "car", 5: "bus", 7: "truck"}
WEIGHTS_FORMAT = "carclf-detector-1"


@dataclass(frozen=True)
class DetectorSettings:
    """What a detector needs beside its weights. Sides are pixels of the resized photo."""

    name: str
    kinds: dict[int, str]
    short_side: int
    long_side: int
    score_threshold: float
    rgb: bool
    fingerprint: str


def compact_weights() -> Path:
    """Where the bundled weights of the compact detector lie."""
    return Path(__file__).parent / "weights" / "compact.safetensors"


def load_detector(
    name_or_config: str = "compact",
    device: str = "auto",
    weights: str | Path | None = None,
    score_threshold: float | None = None,
) -> Detector:
    """Loads a detector.

    name_or_config: "compact" (bundled), a Detectron2 model-zoo name such as
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x", or the path of a Detectron2 YAML config with COCO classes.
    weights: a .safetensors file; for zoo models and configs also a .pth that holds tensors only (never a pickle).
    device: "auto" takes a GPU when there is one. score_threshold: None takes the model's own.
    Raises `UsageError` with one sentence when the model or its weights can't be had.
    """
    place = torch.device(choose_device(device))
    if name_or_config == "compact":
        return _load_compact(place, Path(weights) if weights else compact_weights(), score_threshold)
    from detection.zoo import load_zoo

    return load_zoo(name_or_config, place, weights, score_threshold)


class Detector:
    """Finds vehicles in photos. One for a thread: Detectron2 models keep no state, but batches share the cores."""

    def __init__(self, model: torch.nn.Module, settings: DetectorSettings, batch_size: int = 8):
        self.model = model.eval()
        self.settings = settings
        self.batch_size = batch_size

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

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Vehicle]]:
        """Vehicles of each photo, best score first.

        images: RGB uint8 HxWx3 arrays of any sizes. Photos that resize to the same padded shape share a batch, and
        only those, so that a photo's result does not depend on its neighbours. Raises `ValueError` for another shape
        or dtype.
        """
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"A photo must be RGB uint8 HxWx3, not {image.dtype} {image.shape}.")
        inputs = [self._resized(image) for image in images]
        groups: dict[tuple[int, int], list[int]] = {}
        for index, tensor in enumerate(inputs):
            divisor = max(self.model.backbone.size_divisibility, 1)
            padded = tuple(-(-side // divisor) * divisor for side in tensor.shape[1:])
            groups.setdefault(padded, []).append(index)
        found: list[list[Vehicle]] = [[] for _ in images]
        for members in groups.values():
            for start in range(0, len(members), self.batch_size):
                batch = members[start : start + self.batch_size]
                outputs = self._forward([inputs[index] for index in batch])
                for index, output in zip(batch, outputs, strict=True):
                    found[index] = self._vehicles(output, images[index].shape[:2], inputs[index].shape[1:])
        return found

    def _resized(self, image: np.ndarray) -> Tensor:
        height, width = image.shape[:2]
        scale = self.settings.short_side / min(height, width)
        scale = min(scale, self.settings.long_side / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        # INTER_AREA averages what it shrinks; enlarging it would give blocks.
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        if not self.settings.rgb:
            small = small[..., ::-1]
        return torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)))

    def _forward(self, batch: list[Tensor]):
        with torch.inference_mode():
            return self.model.inference([{"image": tensor} for tensor in batch], do_postprocess=False)

    def _vehicles(self, output, size: tuple[int, int], resized: tuple[int, int]) -> list[Vehicle]:
        scale = np.array([size[1] / resized[1], size[0] / resized[0]] * 2, np.float64)
        boxes = output.pred_boxes.tensor.float().cpu().numpy().astype(np.float64) * scale
        scores = output.scores.float().cpu().numpy()
        classes = output.pred_classes.cpu().numpy()
        soft = output.pred_masks[:, 0].float().cpu().numpy() if output.has("pred_masks") else None
        vehicles = []
        for index in np.argsort(-scores, kind="stable"):
            kind = self.settings.kinds.get(int(classes[index]))
            if kind is None or scores[index] < self.settings.score_threshold:
                continue
            mask = paste_mask(None if soft is None else soft[index], boxes[index], size)
            if not mask.any():
                continue
            box = tuple(float(value) for value in mask_box(mask)) if soft is not None else _clipped(boxes[index], size)
            vehicles.append(Vehicle(box=box, mask=mask, score=float(scores[index]), kind=kind))
        return vehicles


def paste_mask(soft: np.ndarray | None, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Full-size bool HxW mask of one instance.

    soft: float MxM, the probabilities over the box, or None for a model without masks (the whole box).
    box: xyxy in pixels of the photo. size: (height, width).
    """
    height, width = size
    x1, y1, x2, y2 = _clipped(box, size)
    left, top = int(np.floor(x1)), int(np.floor(y1))
    right, bottom = min(width, int(np.ceil(x2))), min(height, int(np.ceil(y2)))
    mask = np.zeros((height, width), bool)
    if right <= left or bottom <= top:
        return mask
    if soft is None:
        mask[top:bottom, left:right] = True
        return mask
    rows, columns = soft.shape
    sx, sy = columns / max(box[2] - box[0], 1e-6), rows / max(box[3] - box[1], 1e-6)
    # From pixel centres of the photo to cell centres of the soft mask.
    inverse = np.array(
        [[sx, 0, (left + 0.5 - box[0]) * sx - 0.5], [0, sy, (top + 0.5 - box[1]) * sy - 0.5]], np.float64
    )
    part = cv2.warpAffine(
        np.ascontiguousarray(soft, np.float32),
        inverse,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    mask[top:bottom, left:right] = part >= 0.5
    return mask


def _clipped(box: np.ndarray, size: tuple[int, int]) -> tuple[float, float, float, float]:
    height, width = size
    x1, x2 = np.clip(box[[0, 2]], 0, width)
    y1, y2 = np.clip(box[[1, 3]], 0, height)
    return float(x1), float(y1), float(x2), float(y2)


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
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UsageError(f"The detector's weights '{path}' are missing: reinstall carclf, or pass --weights FILE.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UsageError(f"'{path}' is not a safetensors file: pass weights made by train_detector.") from error
    if metadata.get("format") != WEIGHTS_FORMAT:
        raise UsageError(f"'{path}' holds no weights of the compact detector: pass weights made by train_detector.")
    details = json.loads(metadata["details"])
    from detectron2.modeling import build_model

    from detection.compact import KINDS, compact_config

    threshold = details["score_threshold"] if score_threshold is None else score_threshold
    cfg = compact_config()
    cfg.MODEL.DEVICE = str(device)
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = threshold
    model = build_model(cfg)
    missing, unexpected = model.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise UsageError(f"'{path}' does not fit this version's compact detector: train it again with train_detector.")
    model.backbone.bottom_up.fold()
    model.to(memory_format=torch.channels_last)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    settings = DetectorSettings(
        name="compact",
        kinds=dict(enumerate(KINDS)),
        short_side=details["short_side"],
        long_side=details["long_side"],
        score_threshold=threshold,
        rgb=True,
        fingerprint=f"compact-{digest}-{threshold:g}",
    )
    return Detector(model, settings)
