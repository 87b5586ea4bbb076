"""Labelled photos from the layouts people have: one table of file and label, and its split."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from detection.duplicates import difference_hash, differing_bits
from detection.errors import UsageError
from detection.images import ImageError, find_images, load_image
from detection.plan import QUARANTINE

log = logging.getLogger("carclf")

FILE_COLUMNS = ("file", "path", "image", "filename", "Id")
LABEL_COLUMNS = ("class", "label", "Category")
LISTS = ("labels.csv", "train.csv")


def read_table(data: str | Path, images: str | Path | None = None) -> pd.DataFrame:
    """Labelled photos as columns file (absolute path) and label (str), sorted by file.

    data is one of
    - a folder with a folder per class (deeper folders belong to the class at the top), also one that stage 1 wrote;
    - a csv of `file,class` (or `file,label`), paths relative to `images` or to the csv's own folder;
    - the competition's csv of `Id,Category`, photos at `<Category>/<Id>` or `<Id>`; class names come from a `class`
      column when it has one, else from a `photos.csv` beside it;
    - a folder that holds such a csv as labels.csv or train.csv.
    Raises `UsageError` when something is missing, empty or listed twice.
    """
    data = Path(data)
    if not data.exists():
        raise UsageError(f"There is no '{data}': pass data=FOLDER with a folder per class, or data=FILE.csv.")
    if data.is_dir():
        lists = [data / name for name in LISTS if (data / name).is_file()]
        table = _read_list(lists[0], images) if lists else _read_folders(data)
    else:
        table = _read_list(data, images)
    return table.sort_values("file", ignore_index=True)


def photo_root(data: str | Path, images: str | Path | None = None) -> Path:
    """The folder under which all photos of `read_table(data, images)` lie."""
    if images is not None:
        return Path(images).absolute()
    data = Path(data).absolute()
    return data if data.is_dir() else data.parent


def split_table(table: pd.DataFrame, validation: float = 0.1, seed: int = 1) -> pd.DataFrame:
    """Adds the column split (train or val): the given share of each class, at least one photo on either side.

    Copies of a photo (same bytes, or the same picture saved again) stay together, or validation would be flattered.
    Raises `UsageError` for fewer than two classes and for a class that can't be split.
    """
    table = table.reset_index(drop=True)
    picture = pd.Series(_pictures(table["file"].tolist()), dtype=object)
    if picture.isna().any():
        log.warning(
            "%d photos can't be read and are left out, the first is '%s'.",
            picture.isna().sum(), table["file"][picture.isna()].iloc[0],
        )  # fmt: skip
        table, picture = table[picture.notna()].reset_index(drop=True), picture.dropna().reset_index(drop=True)
    counts = table["label"].value_counts()
    if len(counts) < 2:
        raise UsageError(f"Training needs photos of at least two classes, and there is only {_names(counts.index)}.")
    if (counts < 2).any():
        alone = sorted(counts.index[counts < 2])
        raise UsageError(
            f"{_count(len(alone), 'class has', 'classes have')} only one photo ({_names(alone)}): "
            "add photos or leave them out, each class needs one for training and one for validation."
        )
    side: dict[int, str] = {}
    random = np.random.default_rng(seed)
    for label, rows in sorted(table.groupby("label").groups.items()):
        groups = picture[rows].value_counts(sort=False).sort_index()
        if len(groups) < 2:
            raise UsageError(f"All photos of class '{label}' are copies of one: add other photos of it.")
        _assign(groups, max(1, round(validation * len(rows))), side, random)
        sides = {side[group] for group in groups.index}
        if len(sides) < 2:
            raise UsageError(f"The photos of class '{label}' are copies of other classes' photos: clean its folder.")
    return table.assign(split=[side[group] for group in picture])


def _assign(groups: pd.Series, wanted: int, side: dict[int, str], random: np.random.Generator) -> None:
    """Puts groups of copies (index: picture, value: photos of this class) on a side until validation has enough."""
    taken = sum(count for group, count in groups.items() if side.get(group) == "val")
    free = [group for group in groups.index if group not in side]
    has_train = any(side.get(group) == "train" for group in groups.index)
    for number, position in enumerate(random.permutation(len(free))):
        last_for_train = number == len(free) - 1 and not has_train
        side[free[position]] = "val" if taken < wanted and not last_for_train else "train"
        has_train |= side[free[position]] == "train"
        taken += groups[free[position]] if side[free[position]] == "val" else 0


def _read_folders(root: Path) -> pd.DataFrame:
    if (root / "manifest.csv").is_file():
        return _read_cleaned(root)
    files = find_images(root)
    if not files:
        raise UsageError(f"There are no photos in '{root}': it must hold a folder of photos for each class.")
    inside = [(file, file.relative_to(root).parts) for file in files]
    rows = [(str(file.absolute()), parts[0]) for file, parts in inside if len(parts) > 1]
    if not rows:
        raise UsageError(
            f"The photos in '{root}' lie side by side: put them into a folder per class, or pass a csv of file,class."
        )
    if len(rows) < len(files):
        log.warning("%d photos that lie in no class folder are left out of '%s'.", len(files) - len(rows), root)
    return pd.DataFrame(rows, columns=["file", "label"])


def _read_cleaned(root: Path) -> pd.DataFrame:
    """A folder per class that stage 1 wrote: only what its manifest lists as a result of a class folder's photo."""
    rows, lost = [], 0
    for source, output in read_manifest(root).items():
        parts = Path(source).parts
        if len(parts) > 1 and output is not None:
            rows.append((str(output), parts[0]))
        else:
            lost += 1
    if not rows:
        raise UsageError(f"The manifest in '{root}' lists no cut-out that lies in a class folder: clean it again.")
    if lost:
        log.warning("%d photos that stage 1 gave no cut-out for are left out of '%s'.", lost, root)
    return pd.DataFrame(rows, columns=["file", "label"])


def read_manifest(folder: Path) -> dict[str, Path | None]:
    """The crop that stage 1 made of each source (relative, with slashes): an absolute path, or None for none.

    A photo without a car counts when stage 1 was told to keep it, not when it was put into quarantine.

    Raises `UsageError` when the folder's manifest.csv is none.
    """
    try:
        manifest = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
        pairs = zip(manifest["source"], manifest["output"], manifest["status"], strict=True)
    except (ValueError, KeyError, OSError) as error:
        raise UsageError(f"'{folder / 'manifest.csv'}' is no manifest of stage 1: clean the photos again.") from error
    made = {}
    for source, output, status in pairs:
        file = (folder / output).absolute()
        usable = status == "ok" or (status == "no_car" and Path(output).parts[:1] != (QUARANTINE,))
        made[source] = file if output and usable and file.is_file() else None
    return made


def _read_list(path: Path, images: str | Path | None) -> pd.DataFrame:
    try:
        listed = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"'{path}' can't be read as a csv: {str(error).splitlines()[0]}.") from error
    file_column = next((name for name in FILE_COLUMNS if name in listed), None)
    label_column = next((name for name in LABEL_COLUMNS if name in listed), None)
    if file_column is None or label_column is None:
        raise UsageError(f"'{path}' must have the columns file,class or Id,Category; it has {_names(listed.columns)}.")
    if listed.empty:
        raise UsageError(f"'{path}' lists no photos.")
    if images is not None and not Path(images).is_dir():
        raise UsageError(f"There is no photo folder '{images}': pass images=FOLDER.")
    listed["label"] = _class_names(listed[label_column], path) if label_column == "Category" else listed[label_column]
    if (listed["label"].str.strip() == "").any():
        row = int(np.flatnonzero(listed["label"].str.strip() == "")[0]) + 2
        raise UsageError(f"'{path}' gives no class in line {row}: each photo needs one.")
    twice = listed[file_column].duplicated()
    if twice.any():
        raise UsageError(f"'{path}' lists {_count(int(twice.sum()), 'photo', 'photos')} twice, the first is "
                         f"'{listed[file_column][twice].iloc[0]}': keep one line each.")  # fmt: skip
    folders = listed["Category"] if "Category" in listed else [None] * len(listed)
    roots = [Path(images)] if images is not None else [path.parent, path.parent / "images", path.parent / "train"]
    found = [_find(name, folder, roots) for name, folder in zip(listed[file_column], folders, strict=True)]
    if (roots[0] / "manifest.csv").is_file():
        found, listed = _from_manifest(found, listed, folders, file_column, roots[0])
    missing = [name for name, file in zip(listed[file_column], found, strict=True) if file is None]
    if missing:
        raise UsageError(f"{len(missing)} of the {len(found)} photos that '{path}' lists are not in '{roots[0]}', the "
                         f"first is '{missing[0]}': pass images=FOLDER, or take these lines out.")  # fmt: skip
    return pd.DataFrame({"file": [str(file.absolute()) for file in found], "label": listed["label"]})


def _from_manifest(found: list, listed: pd.DataFrame, folders, column: str, root: Path) -> tuple[list, pd.DataFrame]:
    """For photos that stage 1 has cut out into `root`: it may have changed their suffix, or given no cut-out."""
    made = read_manifest(root)
    keep = []
    for row, (name, folder) in enumerate(zip(listed[column], folders, strict=True)):
        key = next((key for key in (name, f"{folder}/{name}") if key in made), None)
        if key is not None:
            found[row] = made[key]
        keep.append(key is None or made[key] is not None)
    if not all(keep):
        log.warning("%d photos that stage 1 gave no cut-out for are left out.", len(keep) - sum(keep))
    return [file for file, kept in zip(found, keep, strict=True) if kept], listed[keep].reset_index(drop=True)


def _class_names(category: pd.Series, path: Path) -> pd.Series:
    beside = path.parent / "photos.csv"
    if not beside.is_file():
        return category
    known = pd.read_csv(beside, dtype=str, keep_default_na=False)
    if not {"Category", "class"} <= set(known):
        return category
    names = dict(zip(known["Category"], known["class"], strict=True))
    return category.map(lambda number: names.get(number, number))


def _find(name: str, folder: str | None, roots: Sequence[Path]) -> Path | None:
    for root in roots:
        for file in (root / name, root / folder / name) if folder is not None else (root / name,):
            if file.is_file():
                return file
    return None


def _pictures(files: Sequence[str]) -> list[int | None]:
    """One number a photo; photos with the same bytes, or the same picture saved again or scaled, share it.

    None for a file that can't be read.
    """
    by_bytes: dict[bytes, int | None] = {}
    seen = _Pictures(len(files))
    numbers = []
    for file in files:
        digest = _digest(file)
        if digest not in by_bytes:
            by_bytes[digest] = seen.number(file)
        numbers.append(by_bytes[digest])
    return numbers


def _digest(file: str) -> bytes:
    try:
        return hashlib.sha256(Path(file).read_bytes()).digest()
    except OSError:
        return file.encode()


class _Pictures:
    """Numbers pictures; near-duplicates of an earlier one get its number."""

    # A photo saved again differs in a few bits of its hash. Cut-outs of two cars of one shape do so too, so the
    # thumbnails decide: a copy differs by less than 2 levels, another photo by more than 10.
    BITS, LEVELS = 6, 4

    def __init__(self, most: int):
        self._hashes = np.zeros(most, np.uint64)
        self._thumbnails: list[np.ndarray] = []
        self._numbers: list[int] = []

    def number(self, file: str) -> int | None:
        """None for a file that can't be read."""
        try:
            small = load_image(file, max_side=72)
        except ImageError:
            return None
        thumbnail = cv2.resize(small, (36, 32), interpolation=cv2.INTER_AREA)
        bits = difference_hash(cv2.cvtColor(thumbnail, cv2.COLOR_RGB2GRAY))
        count = len(self._numbers)
        near = np.flatnonzero(differing_bits(bits, self._hashes[:count]) <= self.BITS)
        twin = next((index for index in near if self._alike(thumbnail, self._thumbnails[index])), None)
        self._hashes[count] = bits
        self._thumbnails.append(thumbnail)
        self._numbers.append(count if twin is None else self._numbers[twin])
        return self._numbers[-1]

    def _alike(self, one: np.ndarray, other: np.ndarray) -> bool:
        return cv2.absdiff(one, other).mean() < self.LEVELS


def _names(values) -> str:
    values = [str(value) for value in values]
    return ", ".join(values[:3]) + (f" and {len(values) - 3} more" if len(values) > 3 else "")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
