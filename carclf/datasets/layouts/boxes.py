"""Boxes that come with photos: reading them, and cropping the photos to them."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from carclf.datasets.names import name_below
from detection.common.console import Track, untracked
from detection.common.errors import UsageError
from detection.images.read import ImageError, load_image
from detection.images.write import save_image

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
        raise UsageError(f"'{value}' is not a box: it must be four numbers, x1,y1,x2,y2.")
    x1, y1, x2, y2 = (round(float(number)) for number in numbers)
    return x1, y1, x2, y2


def box_problem(box: Box, width: int, height: int) -> str:
    """Why a box does not fit its photo; empty when it does.

    >>> box_problem((0, 0, 12, 5), 10, 10)
    'the box 0,0,12,5 extends beyond the photo (10 x 10)'
    """
    x1, y1, x2, y2 = box
    text = f"the box {x1},{y1},{x2},{y2}"
    if x1 >= x2 or y1 >= y2:
        return f"{text} is empty"
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        return f"{text} lies outside the photo ({width} x {height})"
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
        return f"{text} extends beyond the photo ({width} x {height})"
    return ""


def crop_to_box(image: np.ndarray, box: Any, padding: float = 0.0) -> np.ndarray:
    """The box's part of an RGB uint8 HxWx3 photo, as a new array; clipped to the photo.

    padding: margin on each side as a part of the box's longer side, as in `CutoutStyle`.
    Raises ValueError for an empty box, and for one that lies outside the photo.

    >>> crop_to_box(np.zeros((50, 80, 3), np.uint8), (10, 10, 30, 20), padding=0.1).shape
    (14, 24, 3)
    """
    height, width = image.shape[:2]
    numbers = parse_box(box)
    if numbers is None:
        raise ValueError("The box is empty.")
    x1, y1, x2, y2 = numbers
    if x1 >= x2 or y1 >= y2 or x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        raise ValueError(box_problem((x1, y1, x2, y2), width, height))
    margin = round(padding * max(x2 - x1, y2 - y1))
    return image[max(0, y1 - margin) : y2 + margin, max(0, x1 - margin) : x2 + margin].copy()


log = logging.getLogger("carclf")

_LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif")


def crop_suffix(file: str | Path) -> str:
    """.png for what was saved without loss, else .jpg.

    >>> crop_suffix("a.TIFF"), crop_suffix("a.webp")
    ('.png', '.jpg')
    """
    return ".png" if Path(file).suffix.lower() in _LOSSLESS else ".jpg"


def write_box_crop(source: Path, target: Path, box: Box, padding: float) -> str:
    """Writes the box's part of a photo; returns what is odd about the box (see `box_problem`), mostly nothing.

    Raises `ImageError` for a photo that can't be read, ValueError for a box with nothing of the photo in it, OSError.
    """
    image = load_image(source)
    crop = crop_to_box(image, box, padding)
    target.parent.mkdir(parents=True, exist_ok=True)
    save_image(target, crop)
    return box_problem(box, image.shape[1], image.shape[0])


def crop_table(
    table: pd.DataFrame,
    root: Path,
    folder: Path,
    padding: float = 0.0,
    track: Track = untracked,
) -> pd.DataFrame:
    """The table with each photo that has a box replaced by its crop, with the column photo and without box.

    The crops mirror the photos' places below root; one that is there already is taken as it is, so a folder must
    be of one padding. Photos without a box stay whole; those that can't be read or cropped are left out with a warning.
    """
    files: list[str | None] = []
    reasons: list[str] = []
    for photo in track(table.to_dict("records"), len(table)):
        if photo.get("box") is None:
            files.append(photo["file"])
            continue
        source, suffix = Path(photo["file"]), crop_suffix(photo["file"])
        target = folder / name_below(root, source).lstrip("/")
        # a.webp becomes a.webp.jpg: a.jpg may lie beside it.
        target = target if target.suffix.lower() == suffix else target.with_name(target.name + suffix)
        try:
            if not target.is_file():
                write_box_crop(source, target, photo["box"], padding)
            files.append(str(target.absolute()))
        except (ImageError, ValueError) as error:
            files.append(None)
            reasons.append(f"'{source}': {error}")
    if reasons:
        log.warning("%d photos could not be cropped to their boxes and are left out, the first is %s",
                    len(reasons), reasons[0])  # fmt: skip
    kept = [file is not None for file in files]
    crops = pd.Series(files, table.index, dtype=object)
    table = table[kept].assign(file=crops[kept], photo=table["file"][kept]).reset_index(drop=True)
    return table.drop(columns="box", errors="ignore")
