"""Where each photo of a table goes in a folder per class below its split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from carclf.datasets.layouts.boxes import crop_suffix
from carclf.datasets.names import safe_names


def places_of(table: pd.DataFrame, cropped: bool = False) -> list[str]:
    """`<split>/<class>/<name>` for each row, all different, even where case does not count.

    table: columns file, label and split, perhaps box. cropped: photos with a box get a suffix that a crop can be
    written with. Of two photos with one name the later keeps its folder's name in front, or gets a number.
    """
    folders = safe_names(table["label"])
    boxes = table["box"] if cropped and "box" in table else [None] * len(table)
    taken: set[str] = set()
    places = []
    for file, label, split, box in zip(table["file"], table["label"], table["split"], boxes, strict=True):
        folder = f"{split}/{folders[label]}"
        free = (f"{folder}/{name}" for name in _names(Path(file), "" if box is None else crop_suffix(file)))
        place = next(place for place in free if place.casefold() not in taken)
        taken.add(place.casefold())
        places.append(place)
    return places


def _names(path: Path, suffix: str) -> Iterator[str]:
    stem, suffix = path.stem, suffix or path.suffix
    yield f"{stem}{suffix}"
    stem = f"{path.parent.name}-{stem}"
    yield f"{stem}{suffix}"
    number = 2
    while True:
        yield f"{stem} ({number}){suffix}"
        number += 1
