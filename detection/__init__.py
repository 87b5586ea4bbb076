"""Stage 1: finds the vehicles in a photo, picks the main one, and removes what is not it."""

import os
from importlib import import_module

# OpenMP's threads wait for work by spinning, which takes the cores from those that read and cut photos: with less of it
# a folder run was a tenth faster on two cores (640x480, compact detector). Read when torch is loaded, so set before.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

_HOMES = {
    "load_detector": "loading",
    "Detector": "mask_rcnn",
    "Vehicle": "vehicle",
    "MainChoice": "vehicle",
    "choose_main": "vehicle",
    "rank_vehicles": "vehicle",
    "CutoutStyle": "cutout",
    "cut_out": "cutout",
    "ImageError": "images",
    "load_image": "images",
    "save_image": "images",
    "extract": "extract",
    "clean_folder": "folder",
    "CleanOptions": "options",
    "merge_shards": "merge",
    "UsageError": "errors",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    # Importing torch and Detectron2 takes seconds; whoever wants a CutoutStyle should not wait for them.
    if name in _HOMES:
        return getattr(import_module(f"detection.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'detection' has no attribute '{name}'")
