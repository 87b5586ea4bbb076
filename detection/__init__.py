"""Stage 1: finds the vehicles in a photo, picks the main one, and removes what is not it."""

from importlib import import_module

_HOMES = {
    "load_detector": "mask_rcnn",
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
