"""Cutting a vehicle out of its photo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detection.common.lazy import hand_on

if TYPE_CHECKING:
    from detection.cutout.cut import CutoutStyle, crop_box, cut_out, soften
    from detection.cutout.extract import extract

_HOMES = {
    "CutoutStyle": "detection.cutout.cut",
    "crop_box": "detection.cutout.cut",
    "cut_out": "detection.cutout.cut",
    "soften": "detection.cutout.cut",
    "extract": "detection.cutout.extract",
}
__all__ = ["CutoutStyle", "crop_box", "cut_out", "extract", "soften"]

__getattr__, __dir__ = hand_on(__name__, _HOMES)
