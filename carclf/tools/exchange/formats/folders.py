"""A folder per class, below train, val and test where there is a split: nothing but the classes of whole photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from carclf.datasets import photo_root, read_table
from carclf.datasets.names import name_below
from carclf.datasets.prepare.places import places_of
from carclf.tools.exchange.files import Finder, bring, broken_notes, photo_folders
from carclf.tools.exchange.guards import safe_below
from carclf.tools.exchange.record import Holds, Photo, has_split
from detection.common.errors import UsageError

HOLDS = Holds("folders", boxes=False, mixed_split=False, score=False, attributes=False)
UNLABELLED = "unlabelled"


def write(photos: Sequence[Photo], output: Path) -> list[str]:
    """<class>/, or <split>/<class>/; photos without a class are refused, as their folder would become one."""
    without = [photo.name for photo in photos if photo.label is None]
    if without:
        raise UsageError(f"{len(without)} photos have no class, the first is '{without[0]}': folders can't hold them, "
                         "choose csv or coco.")  # fmt: skip
    split = has_split(photos)
    rows = [(photo.name, photo.label, photo.split or "train") for photo in photos]
    places = places_of(pd.DataFrame(rows, columns=["file", "label", "split"], dtype=object))
    bring(photos, places if split else [place.partition("/")[2] for place in places], output)
    return []


def read(source: Path, images: Path | None) -> tuple[list[Photo], list[str]]:
    """Any layout of labelled photos that `carclf train` takes."""
    table, root = read_table(source, images), photo_root(source, images)
    finder = Finder(source, photo_folders(root, images))
    photos = []
    for row in table.to_dict("records"):
        photo = finder.photo(safe_below(name_below(root, row["file"]), source))
        if photo is not None:
            photos.append(Photo(photo.name, photo.path, photo.size, row["label"], row.get("split")))
    return photos, broken_notes(finder)
