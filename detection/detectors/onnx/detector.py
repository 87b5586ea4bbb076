"""The compact detector: ONNX Runtime for its three networks, arrays for the rest, and no torch."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from detection.common.errors import UsageError
from detection.common.machine import photos_side_by_side
from detection.common.networks.arrays import read_arrays
from detection.detectors.check.evidence import Evidence
from detection.detectors.check.imagenet import CLASS_NAMES
from detection.detectors.check.rescored import rescored
from detection.detectors.compact.files import (
    bundled_evidence,
    bundled_path,
    check_bundled,
    compact_fingerprint,
    compact_weights,
    read_details,
)
from detection.detectors.contract import COMPACT, Detector, SureOnes
from detection.detectors.onnx.boxes import apply_deltas, best_anchors, box_levels, clip_boxes, suppress, widen_boxes
from detection.detectors.onnx.car_check import OnnxCarCheck
from detection.detectors.onnx.folder import (
    BOXES,
    EXPORT_FILE,
    FEATURES,
    MASKS,
    NETWORKS,
    DetectorFacts,
    read_detector,
    read_networks,
)
from detection.detectors.onnx.session import has_ends, open_graphs, open_part
from detection.detectors.outputs import check_photo, make_vehicles, padded_shape, resize_photo, resized_shape
from detection.vehicle import Vehicle

if TYPE_CHECKING:
    import onnxruntime


class OnnxDetector(Detector):
    """Finds vehicles in photos without torch; may be used from several threads at once.

    Photos are seen one by one: on a CPU a batch only takes more memory.
    """

    device = "cpu"
    precision = "float32"
    batch_size = 1

    def __init__(
        self,
        networks: Sequence[onnxruntime.InferenceSession],
        settings: DetectorFacts,
        check: Callable[..., OnnxCarCheck],
        score_threshold: float | None = None,
        threads: int | None = None,
    ):
        """networks: of features, boxes and masks. check: loads the second opinion. score_threshold: None takes the
        detector's own. threads: that each network computes in, see `open_session`."""
        self.side_by_side = photos_side_by_side(threads)
        self._features, self._boxes, self._masks = networks
        if self._features.get_providers()[0].startswith("CUDA"):
            self.device = "cuda"
        self._check = check
        self._own_threshold = settings.score_threshold
        self._take(settings if score_threshold is None else _at(settings, score_threshold))
        self._names = [output.name for output in self._features.get_outputs()]
        self._anchors = [np.array(level, np.float32) for level in settings.anchors]

    @classmethod
    def of_export(
        cls,
        folder: str | os.PathLike,
        score_threshold: float | None = None,
        threads: int | None = None,
        runtime: str = "auto",
        device: str = "auto",
    ) -> OnnxDetector:
        """threads, runtime, device: see `open_session`. Raises `UsageError` for a folder that is damaged, or put
        together wrongly."""
        folder = Path(folder)
        settings = read_detector(folder)
        networks = [open_part(folder, file, threads, runtime, device) for file in _FILES]
        check_fit(folder, networks, settings)
        check = partial(OnnxCarCheck.of_export, folder, settings.check_names, threads, runtime, device)
        return cls(networks, settings, check, score_threshold, threads)

    @classmethod
    def bundled(
        cls,
        score_threshold: float | None = None,
        threads: int | None = None,
        runtime: str = "auto",
        device: str = "auto",
    ) -> OnnxDetector:
        """The compact detector that comes with the package: its weights, and the graphs beside them."""
        weights = compact_weights()
        check_bundled(weights)
        arrays, metadata = read_arrays(weights)
        details = read_details(weights, metadata)
        settings = DetectorFacts(
            **read_networks(bundled_path(NETWORKS)).model_dump(),
            name=COMPACT,
            fingerprint=compact_fingerprint(weights, details["score_threshold"]),
            kinds=details["kinds"],
            short_side=details["short_side"],
            long_side=details["long_side"],
            score_threshold=details["score_threshold"],
            check_names=CLASS_NAMES,
        )
        networks = open_graphs([bundled_path(file) for file in _FILES], weights, arrays, threads, runtime, device)
        check = partial(OnnxCarCheck.bundled, threads, runtime, device)
        return cls(networks, settings, check, score_threshold, threads)

    def _take(self, settings: DetectorFacts) -> None:
        self.settings = settings
        # That of the detector as torch runs it: they find the same, up to rounding.
        self.name, self.fingerprint = settings.name, settings.fingerprint

    @property
    def score_threshold(self) -> float:
        return self.settings.score_threshold

    @property
    def own_threshold(self) -> float:
        return self._own_threshold

    def with_threshold(self, score_threshold: float) -> OnnxDetector:
        other = copy.copy(self)
        other._take(_at(self.settings, score_threshold))
        return other

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of the vehicles that it knows."""
        return self.settings.kinds

    def input_shape(self, height: int, width: int) -> tuple[int, int]:
        """The padded (height, width) in which the model sees a photo of that size."""
        size = resized_shape(height, width, self.settings.short_side, self.settings.long_side)
        return padded_shape(size, self.settings.divisor)

    def car_check(self, evidence: Evidence | None = None) -> OnnxCarCheck:
        """The second opinion on what it finds. evidence: see `OnnxCarCheck`."""
        return self._check(evidence=evidence)

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Vehicle]]:
        """Vehicles of each photo (RGB uint8 HxWx3, any sizes), best score first.

        Raises `ValueError` for another shape or dtype.
        """
        return self.detect_sure(images, 0.0)

    def detect_sure(self, images: Sequence[np.ndarray], sure: float) -> list[list[Vehicle]]:
        """As `detect`; of vehicles below the score `sure`, none is outlined where there is one that reaches it."""
        for image in images:
            check_photo(image)
        return [self._detect(image, sure) for image in images]

    def _detect(self, image: np.ndarray, sure: float) -> list[Vehicle]:
        settings = self.settings
        height, width = image.shape[:2]
        size = resized_shape(height, width, settings.short_side, settings.long_side)
        features = self._see(resize_photo(image, size))
        boxes, scores, classes = self._judge(features, self._propose(features, size), size)
        boxes = widen_boxes(boxes, settings.mask_margin, size)
        places = boxes.astype(np.float64) * np.array([width / size[1], height / size[0]] * 2, np.float64)
        kinds = dict(enumerate(settings.kinds))

        def vehicles(soft: list[np.ndarray], least: float) -> list[Vehicle]:
            some = slice(len(soft))
            return make_vehicles(
                places[some], scores[some], classes[some], soft, (height, width), kinds, least, settings.mask_scores
            )

        # Best first; a mask that tells of doubt can only lower a score.
        likely = int(np.count_nonzero(scores >= sure))
        soft = self._outline(features, boxes[:likely], classes[:likely])
        if likely == len(boxes):
            return vehicles(soft, settings.score_threshold)
        found = vehicles(soft, max(sure, settings.score_threshold))

        def rest() -> list[Vehicle]:
            more = self._outline(features, boxes[likely:], classes[likely:])
            return vehicles(soft + more, settings.score_threshold)[len(found) :]

        return SureOnes(found, rest, [tuple(box) for box in places[likely:].tolist()]) if found else rest()

    def _see(self, resized: np.ndarray) -> dict[str, Any]:
        """What the first network makes of a resized photo, by its outputs' names, in ONNX Runtime's memory."""
        import onnxruntime

        settings = self.settings
        height, width = resized.shape[:2]
        padded = np.zeros((1, 3, *padded_shape((height, width), settings.divisor)), np.float32)
        for channel, values in enumerate(cv2.split(resized)):
            plane = padded[0, channel, :height, :width]
            np.subtract(values, np.float32(settings.mean[channel]), out=plane)
            plane /= np.float32(settings.std[channel])
        image = onnxruntime.OrtValue.ortvalue_from_numpy(padded)
        outputs = self._features.run_with_ort_values(self._names, {"image": image})
        return dict(zip(self._names, outputs, strict=True))

    def _propose(self, features: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
        """Where vehicles may be: float32 Kx4, xyxy in pixels of the resized photo of (height, width) `size`."""
        settings = self.settings
        boxes, logits, levels = [], [], []
        for level, (anchors, stride) in enumerate(zip(self._anchors, settings.anchor_strides, strict=True)):
            best, value = best_anchors(
                features[f"objectness{level}"].numpy()[0],
                features[f"deltas{level}"].numpy()[0],
                anchors,
                stride,
                settings.proposals_before,
            )
            boxes.append(best)
            logits.append(value)
            levels.append(np.full(len(best), level))
        found, score, group = np.concatenate(boxes), np.concatenate(logits), np.concatenate(levels)
        whole = np.isfinite(found).all(axis=1) & np.isfinite(score)
        found = clip_boxes(found, size)
        whole &= (found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])
        found, score, group = found[whole], score[whole], group[whole]
        return found[suppress(found, score, group, settings.proposal_overlap, settings.proposals_after)]

    def _judge(
        self, features: dict[str, Any], proposals: np.ndarray, size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The proposals that are vehicles: boxes (float32 Kx4), scores [K] and classes [K]."""
        import onnxruntime

        settings = self.settings
        first, last = settings.box_levels
        level = box_levels(proposals, settings.canonical_size, settings.canonical_level, (first, last))
        feeds = {f"p{number}": features[f"p{number}"] for number in range(first, last + 1)}
        parts = [proposals[level == number] for number in range(last - first + 1)]
        proposals = np.concatenate(parts)  # in the order in which the network answers
        if not len(proposals):
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
        for number, part in enumerate(parts, first):
            feeds[f"boxes{number}"] = onnxruntime.OrtValue.ortvalue_from_numpy(part)
        outputs = self._boxes.run_with_ort_values(["scores", "deltas"], feeds)
        scores, deltas = (output.numpy() for output in outputs)
        scores = scores[:, :-1]  # the last class is the background
        count = scores.shape[1]
        boxes = apply_deltas(
            deltas.reshape(-1, 4), np.repeat(proposals, deltas.shape[1] // 4, axis=0), settings.box_weights
        )
        boxes = clip_boxes(boxes, size).reshape(len(proposals), -1, 4)
        # As `OneKindPredictor`: a vehicle is of one kind.
        kind, scores = scores.argmax(axis=1), scores.sum(axis=1)
        boxes = boxes[np.arange(len(boxes)), kind if boxes.shape[1] == count else 0]
        good = (scores > settings.score_threshold) & np.isfinite(boxes).all(axis=1)
        boxes, scores, kind = boxes[good], scores[good], kind[good]
        kept = suppress(boxes, scores, np.zeros_like(kind), settings.box_overlap, settings.most_vehicles)
        return boxes[kept], scores[kept], kind[kept]

    def _outline(self, features: dict[str, Any], boxes: np.ndarray, classes: np.ndarray) -> list[np.ndarray]:
        """Probabilities (float32 MxM) of each vehicle over its box."""
        import onnxruntime

        soft = []
        feeds = {name: features[name] for name in self._mask_features}
        # One by one: masks are made from features of 112x112 cells, and several at once gain no time.
        for box, kind in zip(boxes, classes, strict=True):
            feeds["boxes"] = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(box[None]))
            (masks,) = self._masks.run_with_ort_values(["masks"], feeds)
            (mask,) = masks.numpy()
            soft.append(mask[kind if len(mask) > 1 else 0])
        return soft

    @property
    def _mask_features(self) -> list[str]:
        return [given.name for given in self._masks.get_inputs() if given.name != "boxes"]


_FILES = (FEATURES, BOXES, MASKS)


def check_fit(folder: Path, networks: Sequence[onnxruntime.InferenceSession], settings: DetectorFacts) -> None:
    """Raises `UsageError` where the networks in `folder` are not those that its settings are about."""
    features, boxes, masks = networks
    first, last = settings.box_levels
    levels = range(len(settings.anchor_strides))
    wanted = {f"p{level}" for level in range(first, last + 1)}
    wanted |= {f"{what}{level}" for what in ("objectness", "deltas") for level in levels}
    given = {output.name: output.shape for output in features.get_outputs()}
    scores = {output.name: output.shape for output in boxes.get_outputs()}.get("scores", [None])
    anchors = [given.get(f"objectness{level}", [None, None])[1] for level in levels]
    pyramid = range(first, last + 1)
    seen = {name for name in given if name not in wanted} | {f"p{level}" for level in pyramid} | {"boxes"}
    drawn = {one.name for one in masks.get_inputs()}
    floats = "tensor(float)"
    if (
        not wanted <= given.keys()
        or not has_ends(features, {"image": floats}, wanted)
        or not has_ends(
            boxes, {f"{what}{level}": floats for what in ("p", "boxes") for level in pyramid}, ["scores", "deltas"]
        )
        or not {"boxes"} <= drawn <= seen
        or not has_ends(masks, dict.fromkeys(drawn, floats), ["masks"])
        or scores[-1] != len(settings.kinds) + 1
        or anchors != [len(level) for level in settings.anchors]
    ):
        raise UsageError(f"The networks in '{folder}' are not those of its {EXPORT_FILE}: export the model again.")


def _at(settings: DetectorFacts, score_threshold: float) -> DetectorFacts:
    name = settings.fingerprint.removesuffix(f"-{settings.score_threshold:g}")
    return settings.model_copy(
        update={"score_threshold": score_threshold, "fingerprint": f"{name}-{score_threshold:g}"}
    )


def load_bundled_detector(
    score_threshold: float | None = None, threads: int | None = None, runtime: str = "auto", device: str = "auto"
) -> Detector:
    """`OnnxDetector.bundled`, with the scores that its check corrects."""
    detector = OnnxDetector.bundled(score_threshold, threads, runtime, device)
    return rescored(detector, bundled_evidence(detector.fingerprint))


def load_onnx_detector(
    folder: str | os.PathLike,
    device: str = "auto",
    weights=None,
    score_threshold: float | None = None,
    threads: int | None = None,
    runtime: str = "auto",
) -> Detector:
    """The detector of an export. Raises `UsageError` for what an export can't do, as to take other weights."""
    if weights is not None:
        raise UsageError(f"The export '{folder}' holds its weights already: leave '{weights}' out.")
    detector = OnnxDetector.of_export(folder, score_threshold, threads, runtime, device)
    facts = detector.settings.evidence
    return rescored(detector, None if facts is None else Evidence.of_facts(facts.model_dump()))
