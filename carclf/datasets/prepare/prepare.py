"""Labelled photos of any layout as a folder per class below train/, val/ and test/, by hard links."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field

from carclf.datasets import photo_root, read_table, split_table
from carclf.datasets.layouts.boxes import box_problem, write_box_crop
from carclf.datasets.names import name_below
from carclf.datasets.prepare.places import places_of
from detection.common.config import StrictConfig
from detection.common.console import Track, untracked
from detection.common.errors import UsageError
from detection.common.files import bring_file, remove_leftovers, user_path, write_json, write_table
from detection.common.files.names import common_folder
from detection.common.output_folder import OutputFolder, changed_keys, check_apart
from detection.common.places.paths import path_of
from detection.common.places.place import Place
from detection.common.tally import StatusCounts, counted, exit_code
from detection.images.read import ImageError, image_size, load_image

MANIFEST, SETTINGS = "prepared.csv", "prepare.json"
# What can become of a photo; the last two have no file.
STATUSES = ("linked", "copied", "cropped", "unreadable", "wrong_box")


class PrepareOptions(StrictConfig):
    """test: share of each class for test/ where the data have no split; 0 puts all into train/. seed: which share.
    crop_to_boxes: write what the boxes show; photos without one stay whole. padding: margin round the box, as a part of
    its longer side. copy_files: copies even where links can be had.
    """

    test: float = Field(0.1, ge=0, lt=1)
    seed: int = Field(1, ge=0)
    crop_to_boxes: bool = False
    padding: float = Field(0.0, ge=0, le=10)
    copy_files: bool = False


@dataclass(frozen=True)
class Prepared:
    """rows: one per photo, as in prepared.csv: source (below the data's folder), file (below output; empty for none),
    label, split, status (one of STATUSES), reason, box (in pixels of the source; `x1,y1,x2,y2`).
    """

    output: Path
    rows: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or 3 when a photo has no place."""
        return exit_code((self.rows["file"] == "").any())

    def __str__(self) -> str:
        statuses = StatusCounts(Counter(self.rows["status"]), STATUSES)
        splits = Counter(self.rows["split"][self.rows["file"] != ""])
        sides = ", ".join(f"{number} {split}" for split, number in sorted(splits.items(), reverse=True))
        return f"{counted(len(self.rows), 'photo')}: {statuses}; {sides or 'none'}. {self.output / MANIFEST}"


def prepare_data(
    data: str | Path,
    output: str | Path,
    images: str | Path | None = None,
    options: PrepareOptions | None = None,
    track: Track = untracked,
) -> Prepared:
    """Makes output/train/<class>/... and so on, and prepared.csv there with one row per photo.

    The data's own split is kept; else copies of a photo stay on one side. What an earlier call made of the same photos
    and options is kept, so that a stopped one resumes. track: the rows go through it.
    Raises `UsageError` for data that can't be read (see `read_table`), and for an output that lies in the data, holds
    other things, was made of other photos or with other options, or can't be written.
    """
    options = options or PrepareOptions()
    output = user_path(output)
    if isinstance(output, Place):
        raise UsageError(f"'{output}' can't be prepared: OUT must be a folder here, which is copied afterwards.")
    table, root = read_table(data, images), photo_root(data, images)
    photos = (
        root
        if isinstance(root, Place) or Path(data).is_dir()
        else Path(common_folder(map(os.path.dirname, table["file"])))
    )
    taken = f"The photos are inside OUT '{output}': choose another OUT."
    inside = f"OUT '{output}' is inside the photos' folder '{photos}': choose a folder outside it."
    check_apart(photos, output, same=taken, inside=inside, around=taken)
    try:
        settings = _settings(table, root, options)
        table, notes = _with_split(table, options)
        table["place"] = pd.Series(places_of(table, options.crop_to_boxes), table.index, dtype=object)
        _open_output(output, settings)
        rows = [
            _describe(photo, root) | _bring(photo, output, options)
            for photo in track(table.to_dict("records"), len(table))
        ]
        rows = pd.DataFrame(rows, dtype=object)  # pandas' own text can't hold a name that is not UTF-8
        write_table(output / MANIFEST, rows)
    except OSError as error:
        raise UsageError(f"'{output}' can't be written: {error.strerror or error}.") from error
    copied = int((rows["status"] == "copied").sum())
    if copied and not options.copy_files:
        notes.append(f"{copied} photos were copied: '{output}' can't hold links to them, it is another file system.")
    return Prepared(output, rows, tuple(notes))


def _with_split(table: pd.DataFrame, options: PrepareOptions) -> tuple[pd.DataFrame, list[str]]:
    if "split" in table:
        return table, ["The data's own split is kept."]
    if not options.test:
        return table.assign(split="train"), ["The data have no split: all photos go to train/."]
    split = split_table(table, options.test, options.seed)
    side = dict(zip(split["file"], split["split"].replace("val", "test"), strict=True))
    # A photo that can't be read is on no side, and gets a row that says why.
    note = f"The data have no split: {options.test:.0%} of each class go to test/, copies of a photo to one side."
    return table.assign(split=[side.get(file, "train") for file in table["file"]]), [note]


def _describe(photo: Mapping[Hashable, Any], root: Path) -> dict[str, Any]:
    box = photo.get("box")
    return {
        "source": name_below(root, photo["file"]),
        "file": photo["place"],
        "label": photo["label"],
        "split": photo["split"],
        "status": "",
        "reason": "",
        "box": "" if box is None else ",".join(str(value) for value in box),
    }


def _bring(photo: Mapping[Hashable, Any], output: Path, options: PrepareOptions) -> dict[str, Any]:
    """Puts one photo into its place; returns what changes in its row."""
    source, target = path_of(photo["file"]), output / photo["place"]
    box = photo.get("box") if options.crop_to_boxes else None
    if target.exists() and box is None:
        return {"status": _same(source, target)}
    try:
        if box is not None and target.exists():
            # By this command, or OUT would have been refused; it is there whole.
            return {"status": "cropped", "reason": box_problem(box, *image_size(source))}
        if box is not None:
            return {"status": "cropped", "reason": write_box_crop(source, target, box, options.padding)}
        load_image(source, max_side=72)  # only to know that it can be read
    except ImageError as error:
        return {"file": "", "status": "unreadable", "reason": str(error)}
    except ValueError as error:
        return {"file": "", "status": "wrong_box", "reason": str(error)}
    target.parent.mkdir(parents=True, exist_ok=True)
    return {"status": "linked" if bring_file(source, target, link=not options.copy_files) else "copied"}


def _same(source: Path, target: Path) -> str:
    """Whether the file in place is this photo's, by link or by copy. Raises `UsageError` for another's."""
    if not isinstance(source, Place) and target.samefile(source):
        return "linked"
    if target.is_file() and target.stat().st_size == source.stat().st_size:
        return "copied"
    raise UsageError(f"'{target}' exists already, and is not '{source}': choose another OUT, or remove it.")


def _settings(table: pd.DataFrame, root: Path, options: PrepareOptions) -> dict[str, Any]:
    """What OUT depends on: the options, and a digest of all photos' names, labels, sizes and times."""
    digest = hashlib.sha256()
    for photo in table.to_dict("records"):
        status = path_of(photo["file"]).stat()
        told = [photo["file"], photo["label"], photo.get("split"), photo.get("box")]
        values = [*told, status.st_size, status.st_mtime_ns]
        digest.update(repr(values).encode("utf-8", "surrogateescape"))
    return {"data": str(root), "photos": len(table), "digest": digest.hexdigest(), **options.model_dump(mode="json")}


def _open_output(output: Path, settings: dict[str, Any]) -> None:
    """Makes OUT, or checks that it can be resumed."""
    noted = output / SETTINGS
    folder = OutputFolder(output, SETTINGS, failed=f"'{output}' can't be written")
    if not folder.check(f"'{output}' exists already and was not made by `carclf prepare`: choose another OUT."):
        folder.make(lambda: write_json(noted, settings))
        return
    try:
        before = json.loads(noted.read_text(encoding="utf-8"))
        changed = changed_keys(settings, before)
    except (ValueError, AttributeError) as error:
        raise UsageError(f"'{noted}' is damaged: choose another OUT.") from error
    if changed:
        what = "other photos, or they have changed since" if "digest" in changed else "other options"
        key = next((key for key in changed if key not in ("digest", "photos")), "photos")
        then, now = before.get(key), settings[key]
        which = f" ({key} '{then}', now '{now}')" if then != now else ""
        raise UsageError(f"'{output}' was made of {what}{which}: choose another OUT.")
    remove_leftovers(output, 0.0)
