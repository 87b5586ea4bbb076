"""The one door to detectors: exports, the compact one, the model zoo's, trained ones and one's own, by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from detection.common.config import shipped_path
from detection.common.errors import UsageError, need
from detection.common.files import expand_home, user_path
from detection.common.networks.runtime import check_export_runtime, choose_engine
from detection.common.places.address import scheme_of
from detection.common.places.kept import copied_here
from detection.detectors.check.rescored import rescored
from detection.detectors.compact.files import bundled_evidence, compact_weights
from detection.detectors.contract import COMPACT
from detection.detectors.onnx.folder import EXPORT_FILE, is_export

if TYPE_CHECKING:
    from detection.detectors.contract import CarChecker, Detector
    from detection.detectors.fast.speed_up import Precision
    from detection.detectors.mask_rcnn import MaskRcnnDetector

PRECISIONS = ("auto", "float32")
# What `carclf train-detector` leaves (`detection.detectors.trained`, which imports torch).
FILES = ("compact.safetensors", "model.safetensors", "model.yaml")


def load_detector(
    name_or_config: str = COMPACT,
    device: str = "auto",
    weights: str | Path | None = None,
    score_threshold: float | None = None,
    precision: str = "auto",
    runtime: str = "auto",
    threads: int | None = None,
) -> Detector:
    """Loads a detector and makes it fast on its device.

    name_or_config: "compact" (bundled); the folder of an export (`carclf export`); a Detectron2 model-zoo name such as
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x" (with or without .yaml); a Detectron2 YAML config; the output
    folder of a training; or a training config such as configs/detector/mask_rcnn_R50_FPN.yaml, which means the model
    as it is published.
    weights: a .safetensors file, or a .pth that holds tensors only (never a pickle); None takes those beside a trained
    config, or the zoo's own, fetched once and cached. Weights that carclf trained say which kinds and sizes they know.
    device: "auto" takes a GPU when there is one. score_threshold: None takes the model's own.
    precision: "auto" takes half precision where it is faster and the results stay the same to 0.5 px; "float32" never.
    runtime: "auto" takes ONNX Runtime for the bundled weights and for exports on a CPU, and torch for everything else;
    "onnx", "openvino" and "torch" insist. Where OpenVINO is installed, "auto" takes it in place of ONNX Runtime if a
    self-test has found it faster. Both compute in float32. threads: that each of their networks computes in; None: one
    per core.
    Each may be an address, such as s3://bucket/detector: it is copied to this machine.
    Of an export only the score threshold, the device and the runtime may be chosen: it has its own weights.
    Raises `UsageError` with one sentence when the model or its weights can't be had.
    """
    name_or_config, weights = _here(name_or_config), None if weights is None else _here(weights)
    if is_export(name_or_config):
        from detection.detectors.onnx.detector import load_onnx_detector

        check_export_runtime(name_or_config, runtime, device)
        return load_onnx_detector(name_or_config, device, weights, score_threshold, threads, runtime)
    if precision not in PRECISIONS:
        raise UsageError(f"'{precision}' is not a precision: choose {' or '.join(PRECISIONS)}.")
    hindrance = ""
    if name_or_config != COMPACT:
        hindrance = "which is neither bundled nor an export"
    elif weights is not None and user_path(weights) != compact_weights():
        hindrance = "as its weights are not the bundled ones"
    if choose_engine(f"the detector '{name_or_config}'", runtime, device, hindrance) == "onnx":
        from detection.detectors.onnx.detector import load_bundled_detector

        return load_bundled_detector(score_threshold, threads, runtime, device)
    detector = load_as_trained(name_or_config, device, weights, score_threshold)
    detector.speed_up(cast("Precision", precision))
    return rescored(detector, bundled_evidence(detector.fingerprint)) if detector.name == COMPACT else detector


def load_car_check(device: str = "cpu", runtime: str = "auto", threads: int | None = None) -> CarChecker:
    """The second opinion on what any detector finds. device, runtime, threads: as for `load_detector`.

    Raises `UsageError` where the ImageNet weights are not installed.
    """
    if choose_engine("the car check", runtime, device) == "onnx":
        from detection.detectors.onnx.car_check import OnnxCarCheck

        return OnnxCarCheck.bundled(threads, runtime, device)
    from detection.common.networks.device import choose_device
    from detection.detectors.check.car_check import CarCheck

    return CarCheck(choose_device(device))


def load_as_trained(
    name_or_config: str, device: str, weights: str | Path | None = None, score_threshold: float | None = None
) -> MaskRcnnDetector:
    """`load_detector` for all but exports, without what makes a model fast: plain Detectron2, to compare with."""
    need(("torch", "torchvision", "detectron2"), f"Running the detector '{name_or_config}' by torch")
    import torch

    from detection.common.networks.device import choose_device
    from detection.detectors.compact.weights import load_compact
    from detection.detectors.trained import read_model_choice, run_detector
    from detection.detectors.zoo.model import YAML, load_zoo

    place = torch.device(choose_device(device))
    name, choice = _here(name_or_config), None
    weights = None if weights is None else Path(_here(weights))
    path = shipped_path(Path(name))
    if name != COMPACT and path.is_dir():
        name, found = run_detector(path)
        weights = weights or found
    elif path.suffix in YAML and path.is_file():
        choice = read_model_choice(path)
    if name == COMPACT or (choice is not None and choice.compact):
        return load_compact(place, Path(weights) if weights else compact_weights(), score_threshold)
    return load_zoo(name, place, weights, score_threshold, choice)


def _here(name: str | Path) -> str:
    """A name, or a path of this machine, also where an address is named."""
    text = expand_home(str(name))
    return str(copied_here(user_path(text), EXPORT_FILE, "*.onnx", *FILES)) if scheme_of(text) else text
