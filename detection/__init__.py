"""Stage 1: finds the vehicles in a photo, picks the main one, and removes what is not it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from detection.common.lazy import hand_on

# OpenMP's threads wait for work by spinning, which takes the cores from those that read and cut photos: with less of it
# a folder run was a tenth faster on two cores (640x480, compact detector). Read when torch is loaded, so set before.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# No dependency calls home. ONNX Runtime keeps a device id in the user's cache and looks up its maker's collector;
# albumentations asks a registry for newer versions. Both read these when they are imported, so they are set before.
for _quiet in ("ORT_DISABLE_TELEMETRY", "NO_ALBUMENTATIONS_UPDATE", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ[_quiet] = "1"

if TYPE_CHECKING:
    from detection.common.errors import UsageError
    from detection.cutout.cut import CutoutStyle, cut_out
    from detection.cutout.extract import extract
    from detection.detectors.contract import Detector
    from detection.detectors.load import load_detector
    from detection.folder.merge import merge_shards
    from detection.folder.options import CleanOptions
    from detection.folder.run import clean_folder
    from detection.images.read import ImageError, load_image
    from detection.images.write import save_image
    from detection.vehicle import MainChoice, Vehicle, choose_main, rank_vehicles

_HOMES = {
    "load_detector": "detection.detectors.load",
    "Detector": "detection.detectors.contract",
    "Vehicle": "detection.vehicle",
    "MainChoice": "detection.vehicle",
    "choose_main": "detection.vehicle",
    "rank_vehicles": "detection.vehicle",
    "CutoutStyle": "detection.cutout.cut",
    "cut_out": "detection.cutout.cut",
    "ImageError": "detection.images.read",
    "load_image": "detection.images.read",
    "save_image": "detection.images.write",
    "extract": "detection.cutout.extract",
    "clean_folder": "detection.folder.run",
    "CleanOptions": "detection.folder.options",
    "merge_shards": "detection.folder.merge",
    "UsageError": "detection.common.errors",
}
__all__ = [
    "CleanOptions",
    "CutoutStyle",
    "Detector",
    "ImageError",
    "MainChoice",
    "UsageError",
    "Vehicle",
    "choose_main",
    "clean_folder",
    "cut_out",
    "extract",
    "load_detector",
    "load_image",
    "merge_shards",
    "rank_vehicles",
    "save_image",
]

__getattr__, __dir__ = hand_on(__name__, _HOMES)
