"""WebDataset's layout: beside each photo in an archive a file of the same name that says the class."""

from __future__ import annotations

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from carclf.datasets.layouts.lists import LABEL_COLUMNS
from detection.common.errors import UsageError
from detection.common.files import escape_name
from detection.common.places.faults import PlaceError
from detection.common.places.place import Place
from detection.images.find import survey_images

SUFFIXES = (".cls", ".json")
log = logging.getLogger("carclf")


def read_sidecars(root: Place) -> pd.DataFrame | None:
    """Columns file and label of an archive whose photos have a .cls (the class) or a .json (with a key class, label or
    Category) beside them; None where no photo has one. Photos without one are left out with a warning.

    Raises `UsageError` for one that names no class.
    """
    photos = survey_images(root).names
    known = set(root.store.names())
    pairs = []
    for photo in photos:
        stem = os.path.splitext(photo)[0]
        beside = next((stem + suffix for suffix in SUFFIXES if stem + suffix in known), None)
        if beside is not None:
            pairs.append((photo, beside))
    if not pairs:
        return None
    if len(pairs) < len(photos):
        log.warning(
            "%d photos without a file that says their class are left out of '%s'.", len(photos) - len(pairs), root
        )
    with ThreadPoolExecutor(root.store.threads) as pool:
        labels = list(pool.map(lambda pair: _label(root, pair[1]), pairs))
    rows = [(str(root / photo), label) for (photo, _), label in zip(pairs, labels, strict=True)]
    return pd.DataFrame(rows, columns=["file", "label"], dtype=object)


def _label(root: Place, name: str) -> str:
    try:
        text = (root / name).read_bytes().decode("utf-8-sig").strip()
        if name.endswith(".json"):
            values = json.loads(text)
            text = str(next(values[key] for key in LABEL_COLUMNS if key in values)).strip()
    except (PlaceError, ValueError, TypeError, StopIteration) as error:
        raise UsageError(f"'{root / name}' names no class: it needs one of {', '.join(LABEL_COLUMNS)}.") from error
    if not text:
        raise UsageError(f"'{root / name}' is empty: it must name a class.")
    return escape_name(text)
