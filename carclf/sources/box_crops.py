"""Crops by the boxes that come with the photos, as files: what `carclf prepare` writes, and the crops stage may."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from carclf.sources.boxes import Box, box_problem, crop_to_box
from carclf.sources.table import name_below
from detection.images import ImageError, load_image, save_image

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
    track: Callable[[Iterable, int], Iterable] = lambda rows, total: rows,
) -> pd.DataFrame:
    """The table with each photo that has a box replaced by its crop, and without the column box.

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
    table = table[kept].assign(file=[file for file in files if file is not None]).reset_index(drop=True)
    return table.drop(columns="box", errors="ignore")
