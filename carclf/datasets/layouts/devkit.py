"""The .mat files of the Stanford Cars devkit: photos, classes, boxes and which are for testing.

There are two releases. One has a list per part, each with its own numbering of photos: cars_train_annos.mat
(cars_train/) and cars_test_annos_withlabels.mat (cars_test/), classes in cars_meta.mat. The other has all in
cars_annos.mat (car_ims/).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from carclf.datasets.layouts.found import find_photos
from carclf.datasets.layouts.mat_file import NewerFormat, read_mat
from detection.common.errors import UsageError

TRAIN, TEST, ALL, META = (
    "cars_train_annos.mat", "cars_test_annos_withlabels.mat", "cars_annos.mat", "cars_meta.mat",
)  # fmt: skip
_PARTS = {TRAIN: ("train", "cars_train"), TEST: ("test", "cars_test")}
_BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


def find_devkit(folder: Path) -> list[Path]:
    """The lists of a devkit that lies in the folder or in the sub-folders that it is unpacked to; [] for none."""
    for place in ("", "devkit", "car_devkit/devkit", "car_devkit"):
        lists = [folder / place / name for name in (TRAIN, TEST) if (folder / place / name).is_file()]
        everything = folder / place / ALL
        if everything.is_file() and not (lists and (folder / "cars_train").is_dir()):
            return [everything]
        if lists:
            return lists
    return []


def read_devkit(lists: Sequence[Path], root: Path, keep_missing: bool = False) -> pd.DataFrame:
    """Columns file, label, split and box of the lists' photos, which lie below root.

    The devkit counts pixels from 1, and its boxes include their last ones; here boxes are as everywhere (see
    carclf/datasets/layouts/boxes.py).
    Nothing is unpickled: a .mat file holds numbers, texts and structures of them.
    Raises `UsageError` for a file that can't be read, one without classes, and photos that are not there.
    """
    parts = [_read_list(path, alone=len(lists) == 1) for path in lists]
    return find_photos(pd.concat(parts, ignore_index=True), [root], str(lists[0]), keep_missing)


def photo_folder(path: Path) -> Path:
    """The folder below which the photos of a .mat file lie: its own, or one of the two above it."""
    places = _read_list(path, alone=True)["places"].iloc[0]
    around = [path.parent, *path.parent.absolute().parents[:2]]
    return next((root for root in around if any((root / place).is_file() for place in places)), path.parent)


def _read_list(path: Path, alone: bool) -> pd.DataFrame:
    """Columns places, label, split and box."""
    content = _load(path)
    rows = content.get("annotations")
    if rows is None:
        raise UsageError(f"'{path}' is not a list of the devkit: it holds no annotations.")
    rows = rows if isinstance(rows, list | np.ndarray) else [rows]
    if not len(rows):
        raise UsageError(f"'{path}' lists no photos.")
    if not all(isinstance(row, dict) and "class" in row for row in rows):
        raise UsageError(f"'{path}' names no classes: for the test photos pass {TEST}, which does.")
    classes = content.get("class_names")
    if classes is None:
        classes = _class_names(path)
    try:
        return pd.DataFrame([_photo(row, classes, path.name, alone) for row in rows])
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise UsageError(f"'{path}' is not built like the devkit's lists: {_detail(error)}.") from error


def _photo(row: dict[str, Any], classes: Sequence[str], listing: str, alone: bool) -> dict[str, Any]:
    number = int(row["class"])
    if not 1 <= number <= len(classes):
        raise ValueError(f"class {number} is none of the {len(classes)} classes")
    x1, y1, x2, y2 = (int(row[corner]) for corner in _BOX)
    if "relative_im_path" in row:
        name, split = str(row["relative_im_path"]), "test" if int(row["test"]) else "train"
        bare = name.rpartition("/")[2]
        places = [name, bare]
    else:
        # Downloads are often unpacked into a folder of their own name. A bare name says which photo it is only where
        # there is one list: both number theirs from 00001.
        bare = str(row["fname"])
        split, folder = _PARTS.get(listing, ("train", "cars_train"))
        places = [f"{folder}/{bare}", f"{folder}/{folder}/{bare}", *([bare] if alone else [])]
    label = str(classes[number - 1]).strip()
    return {"places": tuple(places), "label": label, "split": split, "box": (x1 - 1, y1 - 1, x2, y2)}


def _class_names(path: Path) -> Sequence[str]:
    meta = path.parent / META
    if not meta.is_file():
        raise UsageError(f"'{path}' has only the numbers of the classes: put {META} of the devkit next to it.")
    classes = _load(meta).get("class_names")
    if classes is None or isinstance(classes, str):
        raise UsageError(f"'{meta}' holds no class names: take {META} of the devkit.")
    return classes


def _load(path: Path) -> dict[str, Any]:
    try:
        return read_mat(path, ("annotations", "class_names"))
    except NewerFormat as error:
        raise UsageError(f"'{path}' is a MATLAB 7.3 file, which can't be read: save it again with -v7.") from error
    except (ValueError, OSError) as error:
        raise UsageError(f"'{path}' can't be read as a .mat file: {_detail(error)}.") from error


def _detail(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return f"it has no {text}" if isinstance(error, KeyError) else text or type(error).__name__
