"""The one reader of labelled photos: tells which layout it is and reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from carclf.datasets.layouts.archive import unpack
from carclf.datasets.layouts.devkit import find_devkit, photo_folder, read_devkit
from carclf.datasets.layouts.folders import empty_folders_note, read_folders
from carclf.datasets.layouts.lists import LISTS, read_list
from carclf.datasets.layouts.sidecars import read_sidecars
from detection.common.errors import UsageError
from detection.common.files import user_path
from detection.common.places.paths import folder_of
from detection.common.places.place import Place
from detection.common.places.virtual.tables import lists_paths


def read_table(
    data: str | Path, images: str | Path | None = None, *, keep_missing: bool = False, nested: bool = False
) -> pd.DataFrame:
    """Labelled photos as columns file (absolute path) and label (str), sorted by file.

    Where the data say so there are also the columns split (train, val or test) and box ((x1, y1, x2, y2) in pixels, x2
    and y2 exclusive, or None). data is one of
    - a folder with a folder per class (deeper folders belong to the class at the top), perhaps below train/, val/ and
      test/, which then are the split; also one that stage 1 wrote;
    - a csv of `file,class` (or `file,label`, `img_file,class`), paths relative to `images` or to the csv's own folder,
      perhaps with the columns `split` or `subset`, and `box` or `x1,y1,x2,y2`;
    - the competition's csv of `Id,Category`, photos at `<Category>/<Id>` or `<Id>`; class names come from a `class`
      column when it has one, else from a `photos.csv` beside it;
    - a folder that holds such a csv as labels.csv, car_dataset_labels.csv or train.csv;
    - a .mat list of the Stanford devkit, or a folder that holds the devkit and its photos;
    - a zip file of any of these, as the competition's is;
    - a parquet table with such columns;
    - an address of a folder or csv, and an archive in WebDataset's layout: a .cls or .json beside each photo.
    keep_missing: listed photos that are not there stay in the table. nested: of class folders each of the deepest ones
    is a class, as in make/model/year.
    Raises `UsageError` when something is missing, empty or listed twice.
    """
    path = _opened(data)
    folder = None if images is None else _opened(images, what="images")
    listed = _list_in(path)
    if listed is not None:
        table = read_list(listed, folder, keep_missing)
    elif path.is_dir():
        devkit = _devkit_in(path)
        beside = read_sidecars(path) if isinstance(path, Place) else None
        if beside is not None:
            table = beside
        else:
            table = read_devkit(devkit, folder or path, keep_missing) if devkit else read_folders(path, nested)
    else:
        table = read_devkit([path], folder or photo_folder(path), keep_missing)
    return table.sort_values("file", ignore_index=True)


def read_table_of(classes: Sequence[str], data: str | Path, images: str | Path | None = None) -> pd.DataFrame:
    """`read_table` for a model of these classes: nested folders are told by the names that they give."""
    table = read_table(data, images)
    if set(table["label"]) <= set(classes) or not _opened(data).is_dir():
        return table
    nested = read_table(data, images, nested=True)
    return nested if set(nested["label"]) <= set(classes) else table


def empty_classes(data: str | Path, table: pd.DataFrame) -> str:
    """A sentence about the class folders of `read_table(data)` that hold no photo of its table; empty for none."""
    path = _opened(data)
    if isinstance(path, Place):  # no folder there is empty
        return ""
    folders = path.is_dir() and _list_in(path) is None and not _devkit_in(path)
    return empty_folders_note(path, table) if folders else ""


def _list_in(path: Path) -> Path | None:
    """The csv that lists the photos, if one does."""
    if not path.is_dir():
        return None if path.suffix.lower() == ".mat" else path
    return next((path / name for name in LISTS if (path / name).is_file()), None)


def _devkit_in(path: Path) -> list[Path]:
    return [] if (path / "manifest.csv").is_file() else find_devkit(path)


def photo_root(data: str | Path, images: str | Path | None = None) -> Path:
    """The folder under which all photos of `read_table(data, images)` lie."""
    if images is not None:
        return _opened(images, what="images").absolute()
    path = _opened(data).absolute()
    if path.suffix.lower() == ".mat" and path.is_file():
        return photo_folder(path)
    return path if path.is_dir() else path.parent


def _place(path: str | Path) -> Place | None:
    """A folder elsewhere, or an archive that need not be unpacked, as a zip here always was."""
    path = user_path(path)
    if path.suffix.lower() == ".parquet" and path.is_file() and lists_paths(path):
        return None  # as a csv
    if isinstance(path, Place):
        return None if path.suffix.lower() == ".csv" else folder_of(path)
    apart = path.suffix.lower() in (".tar", ".parquet") and not path.is_dir()
    return folder_of(path.absolute()) if apart else None


def _opened(path: str | Path, what: str = "data") -> Path:
    """The path, or the folder that the zip file is unpacked into."""
    place = _place(path)
    if place is not None and place.is_dir():
        return place
    path = user_path(path)
    if not isinstance(path, Place) and path.is_file() and path.suffix.lower() == ".zip":
        return unpack(path)
    if what == "data" and not path.exists():
        raise UsageError(f"There is no '{path}': pass data=FOLDER with a folder per class, data=FILE.csv or FILE.zip.")
    if what == "images" and not path.is_dir():
        raise UsageError(f"There is no photo folder '{path}': pass images=FOLDER.")
    return path
