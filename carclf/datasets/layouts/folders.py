"""A folder per class, perhaps below train, val and test; also one that stage 1 wrote."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from carclf.datasets.labels import lost_note
from carclf.datasets.layouts.csv_file import UPLOADS
from carclf.datasets.names import names, split_named
from detection.common.errors import UsageError
from detection.common.files import escape_name
from detection.common.places.place import Place
from detection.common.tally import counted
from detection.folder.out.manifest import read_manifest as read_rows
from detection.folder.plan import QUARANTINE
from detection.images.find import is_clutter, passed_over, survey_images

log = logging.getLogger("carclf")


def read_folders(root: Path, nested: bool = False) -> pd.DataFrame:
    """Columns file and label, and split when there is one, of a folder per class.

    nested: each of the deepest folders is a class, named by all above it, as in make/model/year.

    Raises `UsageError` when there are no photos, or none lies in a class folder.
    """
    if (root / "manifest.csv").is_file():
        return _read_cleaned(root, nested)
    found = survey_images(root)
    inside = found.names
    for note in found.notes:
        log.warning("%s", note)
    if not inside:
        raise UsageError(f"There are no photos in '{root}': it must hold a folder of photos for each class.")
    table = by_folders([(str((root / name).absolute()), name) for name in inside], nested)
    if table.empty:
        raise UsageError(
            f"The photos in '{root}' are not in class folders: make one folder per class, or pass a csv of file,class."
        )
    if len(table) < len(inside):
        log.warning("%d photos that lie in no class folder are left out of '%s'.", len(inside) - len(table), root)
    note = "" if nested else empty_folders_note(root, table)
    if note:
        log.warning("%s", note)
    return table


def empty_folders_note(root: Path, table: pd.DataFrame) -> str:
    """A sentence about the class folders of `read_folders(root)` that hold no photo of its table; empty for none."""
    if (root / "manifest.csv").is_file():
        return ""
    above = [root]
    if "split" in table:
        above = [folder for folder in _folders_in(root) if split_named(folder.name)]
    known = set(table["label"])
    empty: dict[str, Counter[str]] = {}
    for folder in (one for place in above for one in _folders_in(place)):
        name = escape_name(folder.name)
        if name not in known and name != UPLOADS:
            empty.setdefault(name, Counter()).update(survey_images(folder).passed)
    if not empty:
        return ""
    some = f"{counted(len(empty), 'class folder holds', 'class folders hold')} no photo ({names(sorted(empty))})"
    passed = passed_over(sum(empty.values(), Counter()))
    return f"{some}: a model won't know {'it' if len(empty) == 1 else 'them'}. {passed}".strip()


def _folders_in(place: Path) -> list[Path]:
    return sorted(one for one in place.iterdir() if one.is_dir() and not is_clutter(one.name))


def read_manifest(folder: Path) -> dict[str, Path | None]:
    """The crop that stage 1 made of each source (relative, with slashes): an absolute path, or None for none.

    A photo without a car counts when stage 1 was told to keep it, not when it was put into quarantine.

    Raises `UsageError` when the folder's manifest.csv is none.
    """
    try:
        rows = read_rows(folder / "manifest.csv")
        if isinstance(folder, Place) and not folder.key:
            folder.store.remember(folder.store.walk().entries)  # or each cut-out is asked for
        pairs = [(row["source"], row["output"] or "", row["status"]) for row in rows]
    except (ValueError, KeyError, OSError) as error:
        raise UsageError(
            f"'{folder / 'manifest.csv'}' is not a manifest of stage 1: clean the photos again."
        ) from error
    made = {}
    for source, output, status in pairs:
        file = (folder / output).absolute()
        usable = status == "ok" or (status == "no_car" and Path(output).parts[:1] != (QUARANTINE,))
        made[source] = file if output and usable and file.is_file() else None
    return made


def folder_names(root: Path) -> dict[str, dict[str, str]]:
    """Class -> its parts, of folders make/model/year, as `read_folders` with `nested` names them.

    Folders above a photo are make, model, years and, if there are more, trim. Raises `UsageError` where two folders
    give the same name to different things.
    """
    inside = list(read_manifest(root)) if (root / "manifest.csv").is_file() else survey_images(root).names
    parts = [name.split("/") for name in inside]
    skipped = 1 if _has_splits(parts) else 0
    table: dict[str, dict[str, str]] = {}
    for folders in sorted({tuple(map(escape_name, part[skipped:-1])) for part in parts} - {()}):
        name, found = _nested(folders)
        if table.setdefault(name, found) != found:
            raise UsageError(f"Two folders in '{root}' give the name '{name}', one of them "
                             f"'{'/'.join(folders)}': write make, model and year as folders of their own.")  # fmt: skip
    return table


def _nested(folders: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The name of a class, and its parts. A model's folder may have the make's name in front, or not."""
    make, model, years, *trim = (*folders, "", "")[: max(3, len(folders))]
    model = model if model == make or model.startswith(f"{make} ") else f"{make} {model}".strip()
    name = " ".join(part for part in (model, years, *trim) if part)
    return name, {"make": make, "model": model, "years": years, "trim": " ".join(trim)}


def _read_cleaned(root: Path, nested: bool = False) -> pd.DataFrame:
    """Only what the manifest lists as a result of a class folder's photo."""
    made = read_manifest(root)
    table = by_folders([(str(output), source) for source, output in made.items() if output is not None], nested)
    if table.empty:
        raise UsageError(f"The manifest in '{root}' lists no cut-out in a class folder: clean it again.")
    if len(table) < len(made):
        log.warning("%d photos that stage 1 gave no cut-out for are left out of '%s'.", len(made) - len(table), root)
        listed = by_folders([(source, source) for source in made], nested)
        if note := lost_note(listed["label"], table["label"], "stage 1 gave no cut-out for any of their photos"):
            log.warning("%s", note)
    return table


def by_folders(photos: Sequence[tuple[str, str]], nested: bool = False) -> pd.DataFrame:
    """The table of (file, path below the root with slashes); photos in no class folder are left out.

    A folder's name that is not UTF-8 is escaped: labels go into models and pages. pandas' own text can't hold such
    names of files, so columns are objects.
    Where train, val and test lie at the top, classes are the folders in them.
    """

    def label(folders: list[str]) -> str:
        names = [escape_name(folder) for folder in folders]
        return _nested(names)[0] if nested else names[0]

    parts = [(file, name.split("/")) for file, name in photos]
    if not _has_splits([inside for _, inside in parts]):
        rows = [(file, label(inside[:-1])) for file, inside in parts if len(inside) > 1]
        return pd.DataFrame(rows, columns=["file", "label"], dtype=object)
    placed = [(file, label(inside[1:-1]), split_named(inside[0])) for file, inside in parts if len(inside) > 2]
    return pd.DataFrame([row for row in placed if row[2]], columns=["file", "label", "split"], dtype=object)


def _has_splits(paths: Sequence[list[str]]) -> bool:
    """Whether the top folders are parts of a split: all of them, or train and another; a class may be named Test."""
    tops = {path[0] for path in paths if len(path) > 1} - {UPLOADS}
    splits = {split_named(path[0]) for path in paths if len(path) > 2} - {None}
    if not splits:
        return False
    return all(split_named(top) for top in tops) or ("train" in splits and len(splits) > 1)
