"""Boxes that come with labelled photos, and crops by them. A box is x1, y1, x2, y2 in pixels of the photo as it is
seen (EXIF turned), x2 and y2 exclusive."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from detection.errors import UsageError

Box = tuple[int, int, int, int]
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def parse_box(value: Any) -> Box | None:
    """A box from four numbers or a text of them, as a csv holds it; None for an empty one.

    Raises `UsageError` for anything else.

    >>> parse_box("(10, 20, 110, 95.0)"), parse_box("")
    ((10, 20, 110, 95), None)
    """
    if value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, str):
        numbers = _NUMBER.findall(value)
        if not re.fullmatch(r"[\[(]?[\s,;]*[\])]?", _NUMBER.sub("", value)):
            numbers = []
    else:
        numbers = list(value)
    if len(numbers) != 4:
        raise UsageError(f"'{value}' is no box: it must be the four numbers x1,y1,x2,y2.")
    x1, y1, x2, y2 = (round(float(number)) for number in numbers)
    return x1, y1, x2, y2


def box_problem(box: Box, width: int, height: int) -> str:
    """Why a box does not fit its photo; empty when it does.

    >>> box_problem((0, 0, 12, 5), 10, 10)
    'the box 0,0,12,5 reaches out of the photo (10 x 10)'
    """
    x1, y1, x2, y2 = box
    text = f"the box {x1},{y1},{x2},{y2}"
    if x1 >= x2 or y1 >= y2:
        return f"{text} is empty"
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        return f"{text} lies outside the photo ({width} x {height})"
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
        return f"{text} reaches out of the photo ({width} x {height})"
    return ""


def crop_to_box(image: np.ndarray, box: Any, padding: float = 0.0) -> np.ndarray:
    """The box's part of an RGB uint8 HxWx3 photo, as a new array; clipped to the photo.

    padding: margin on each side as a part of the box's longer side, as in `CutoutStyle`.
    Raises ValueError for an empty box, and for one that lies outside the photo.

    >>> crop_to_box(np.zeros((50, 80, 3), np.uint8), (10, 10, 30, 20), padding=0.1).shape
    (14, 24, 3)
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = parse_box(box)
    if x1 >= x2 or y1 >= y2 or x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        raise ValueError(box_problem((x1, y1, x2, y2), width, height))
    margin = round(padding * max(x2 - x1, y2 - y1))
    return image[max(0, y1 - margin) : y2 + margin, max(0, x1 - margin) : x2 + margin].copy()
