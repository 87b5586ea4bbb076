"""csv files that name photos and their classes, the competition's among them."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pandas as pd

from carclf.datasets.layouts.boxes import parse_box
from carclf.datasets.layouts.csv_file import FILE_COLUMNS, PHOTO_FOLDERS, canonical, read_csv_text, spellings
from carclf.datasets.layouts.found import find_photos
from carclf.datasets.names import SPLITS, names, safe_name, split_named
from detection.common.errors import UsageError
from detection.common.files import expand_home, read_name
from detection.common.tally import counted

LABEL_COLUMNS = ("class", "label", "Category")
SPLIT_COLUMNS = ("split", "subset")
# Which car a photo shows, and from which side: photos of one car are no independent witnesses.
CAR, VIEW = "car", "view"
CAR_COLUMNS = (CAR, "advert")
CORNERS = ("x1", "y1", "x2", "y2")
_KNOWN = (*FILE_COLUMNS, *LABEL_COLUMNS, *SPLIT_COLUMNS, *CORNERS, "box", *CAR_COLUMNS, VIEW)
# Lists that a folder may hold.
LISTS = ("labels.csv", "car_dataset_labels.csv", "train.csv")


def read_list(path: Path, images: Path | None, keep_missing: bool = False) -> pd.DataFrame:
    """Columns file and label, and split, box, car (from car or advert) and view where the csv has them.

    Raises `UsageError` for a csv that can't be read, lacks a column, lists nothing, lists a photo twice or without a
    class, has a split or box that is none, and for photos that are not there (unless keep_missing).
    """
    try:
        text, delimiter = read_csv_text(path, _KNOWN)
        listed = pd.read_csv(StringIO(text), dtype=str, keep_default_na=False, sep=delimiter)
        listed.columns = canonical(list(listed.columns), _KNOWN)
    except (ValueError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"'{path}' can't be read as a csv: {str(error).splitlines()[0]}.") from error
    file_column = next((name for name in FILE_COLUMNS if name in listed), None)
    label_column = next((name for name in LABEL_COLUMNS if name in listed), None)
    if file_column is None or label_column is None:
        raise UsageError(f"'{path}' must have the columns file,class or Id,Category; it has {names(listed.columns)}.")
    # pandas' own text can't hold a name that is not UTF-8.
    listed[file_column] = pd.Series([read_name(name) for name in listed[file_column]], listed.index, dtype=object)
    if listed.empty:
        raise UsageError(f"'{path}' lists no photos.")
    label = _class_names(listed[label_column], path) if label_column == "Category" else listed[label_column]
    if (label.str.strip() == "").any():
        raise UsageError(f"'{path}' gives no class in line {_line(label.str.strip() == '')}: each photo needs one.")
    twice = listed[file_column].duplicated()
    if twice.any():
        raise UsageError(f"'{path}' lists {counted(int(twice.sum()), 'photo')} twice, the first is "
                         f"'{listed[file_column][twice].iloc[0]}': keep one line each.")  # fmt: skip
    columns = {"label": label} | _splits(listed, path) | _boxes(listed, path)
    car = next((name for name in CAR_COLUMNS if name in listed), None)
    columns |= ({CAR: listed[car]} if car else {}) | ({VIEW: listed[VIEW]} if VIEW in listed else {})
    folders = listed["Category"] if "Category" in listed else listed[label_column]
    splits = columns.get("split", [""] * len(listed))
    columns["places"] = pd.Series(
        [_places(name, folder, split) for name, folder, split in zip(listed[file_column], folders, splits, strict=True)]
    )
    beside = [path.parent, *(folder for name in PHOTO_FOLDERS if (folder := path.parent / name).is_dir())]
    return find_photos(pd.DataFrame(columns), [images] if images else beside, str(path), keep_missing)


def _places(name: str, folder: str, split: str) -> tuple[str, ...]:
    """The photo itself, or in its class's folder, or in that one below train, val or test."""
    folder = safe_name(folder)
    above = ["", f"{folder}/", *([f"{split}/{folder}/"] if split else [])]
    return tuple(expand_home(f"{place}{one}") for one in spellings(name) for place in above)


def _line(wrong: pd.Series) -> int:
    """The csv's line of the first wrong row; the header is line 1."""
    return int(wrong.to_numpy().argmax()) + 2


def _class_names(category: pd.Series, path: Path) -> pd.Series:
    """The competition's numbers by name, where a photos.csv beside the list knows them."""
    beside = path.parent / "photos.csv"
    if not beside.is_file():
        return category
    known = pd.read_csv(beside, dtype=str, keep_default_na=False)
    if not {"Category", "class"} <= set(known):
        return category
    by_number = dict(zip(known["Category"], known["class"], strict=True))
    return category.map(lambda number: by_number.get(number, number))


def _splits(listed: pd.DataFrame, path: Path) -> dict[str, pd.Series]:
    column = next((name for name in SPLIT_COLUMNS if name in listed), None)
    if column is None or (listed[column].str.strip() == "").all():
        return {}
    split = listed[column].map(lambda word: split_named(word or "train"))
    if split.isna().any():
        word = listed[column][split.isna()].iloc[0]
        raise UsageError(f"'{path}' gives the {column} '{word}' in line {_line(split.isna())}: "
                         f"known are {', '.join(SPLITS)}.")  # fmt: skip
    return {"split": split}


def _boxes(listed: pd.DataFrame, path: Path) -> dict[str, pd.Series]:
    if "box" in listed:
        texts = listed["box"].tolist()
    elif set(CORNERS) <= set(listed):
        texts = [",".join(row) if any(row) else "" for row in listed[list(CORNERS)].itertuples(index=False)]
    else:
        return {}
    boxes = []
    for row, text in enumerate(texts):
        try:
            boxes.append(parse_box(text))
        except UsageError as error:
            raise UsageError(f"'{path}' has a wrong box in line {row + 2}: {error}") from error
    return {"box": pd.Series(boxes, dtype=object)}
