"""What is wrong with labelled photos before anybody trains on them: one row per photo, and the findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from carclf.datasets import photo_root, read_table
from carclf.datasets.copies import Pictures
from carclf.datasets.corrections.apply import Applied, Corrections, apply_corrections
from carclf.datasets.labels import alike_note
from carclf.datasets.layouts.boxes import box_problem
from carclf.datasets.names import SPLITS, name_below, names
from carclf.datasets.splits import crossing_pictures
from carclf.datasets.table import empty_classes
from detection.common.console import Track, untracked
from detection.common.places.paths import path_of
from detection.common.tally import counted
from detection.images.read import ImageError, image_size

# The findings of rows; what each means, and what to do.
FINDINGS = {
    "missing": "listed, but not there",
    "unreadable": "can't be read; training leaves them out",
    "exact_duplicate": "the same bytes as another file",
    "near_duplicate": "the same picture as another file, saved again or scaled",
    "crosses_split": "copies of a photo on another side of the split: take them out of one side",
    "conflicting_label": "copies of a photo of another class: at most one of the labels is right",
    "box_outside": "the box is empty or extends beyond the photo",
}


@dataclass(frozen=True)
class DataCheck:
    """rows: one per photo, sorted by file, with columns file (below root), label, split (empty where the data have
    none), status (`ok`, `unreadable` or `missing`), reason, width, height (of the photo as it is seen), box, picture (a
    number that copies share), findings (names out of FINDINGS, with spaces between).

    classes: one row per class: class, train, val and test where the data have a split, photos (readable ones); largest
    first. problems: what is wrong with whole classes, a sentence per kind. applied: the corrections, if there were any.
    """

    root: Path
    rows: pd.DataFrame
    classes: pd.DataFrame
    problems: list[str] = field(default_factory=list)
    applied: Applied | None = None

    @property
    def clean(self) -> bool:
        return not self.problems and not (self.rows["findings"] != "").any()

    def found(self, finding: str) -> pd.DataFrame:
        """The rows with this finding; copies of a photo one after the other."""
        rows = self.rows[[finding in findings.split() for findings in self.rows["findings"]]]
        return rows.sort_values(["picture", "file"]) if rows["picture"].notna().all() else rows

    @property
    def balance(self) -> dict[str, Any]:
        """The largest and the smallest class, and how many times larger it is (0 when the smallest is empty)."""
        ends = {}
        for name, row in (("largest", self.classes.iloc[0]), ("smallest", self.classes.iloc[-1])):
            ends[name] = {"class": row["class"], "photos": int(row["photos"])}
        least = ends["smallest"]["photos"]
        return ends | {"ratio": round(ends["largest"]["photos"] / least, 2) if least else 0.0}

    def as_json(self) -> dict[str, Any]:
        """What `--json` writes."""
        counts = Counter(self.rows["status"])
        return {
            "root": str(self.root),
            "clean": self.clean,
            "photos": len(self.rows),
            "status": dict(counts),
            "splits": {split: int(count) for split, count in self.rows["split"].value_counts().items() if split},
            "balance": self.balance,
            "findings": {name: len(self.found(name)) for name in FINDINGS},
            "problems": self.problems,
            "classes": self.classes.to_dict("records"),
            **({"corrections": self.applied.about()} if self.applied else {}),
            "rows": [
                {key: None if value is None or value != value else value for key, value in row.items()}
                for row in self.rows.to_dict("records")
            ],
        }


def check_data(
    data: str | Path,
    images: str | Path | None = None,
    track: Track = untracked,
    corrections: Corrections | None = None,
) -> DataCheck:
    """Looks at every photo of `read_table(data, images)`. Raises `UsageError` as it does.

    track: the rows go through it. corrections: the labels are those that people decided on.
    """
    table = read_table(data, images, keep_missing=True)
    applied = None
    if corrections is not None:
        table, applied = apply_corrections(table, corrections)
    root = photo_root(data, images)
    pictures = Pictures(len(table))
    rows = [_look(photo, root, pictures) for photo in track(table.to_dict("records"), len(table))]
    rows = pd.DataFrame(rows, dtype=object)  # pandas' own text can't hold a name that is not UTF-8
    rows["findings"] = _findings(rows)
    rows["picture"] = rows["picture"].astype("Int64")
    for column in ("width", "height"):
        rows[column] = rows[column].astype("Int64")
    classes = _classes(rows)
    problems = [empty_classes(data, table), alike_note(table["label"]), *_problems(classes)]
    return DataCheck(root, rows.drop(columns="digest"), classes, [problem for problem in problems if problem], applied)


def _look(photo: Mapping[Hashable, Any], root: Path, pictures: Pictures) -> dict[str, Any]:
    path = path_of(photo["file"])
    box = photo.get("box")
    row = {
        "file": name_below(root, path),
        "label": photo["label"],
        "split": photo.get("split", ""),
        "status": "ok",
        "reason": "",
        "width": None,
        "height": None,
        "box": "" if box is None else ",".join(str(value) for value in box),
        "picture": None,
        "digest": None,
    }
    if not path.is_file():
        return row | {"status": "missing", "reason": "there is no such file"}
    look = pictures.look(photo["file"])
    try:
        if look.picture is None:
            raise ImageError(look.reason)
        width, height = image_size(path)
    except ImageError as error:
        return row | {"status": "unreadable", "reason": str(error)}
    problem = "" if box is None else box_problem(box, width, height)
    return row | {
        "width": width, "height": height, "picture": look.picture, "digest": look.digest, "reason": problem,
    }  # fmt: skip


def _findings(rows: pd.DataFrame) -> list[str]:
    """For each row the names of what was found, in the order of FINDINGS."""
    known = rows[rows["picture"].notna()]
    picture = known["picture"]
    bytes_alike = known.groupby("digest")["file"].transform("size")
    picture_alike = known.groupby("picture")["file"].transform("size")
    crossing = crossing_pictures(known, picture) if (rows["split"] != "").any() else set()
    labels = known.groupby("picture")["label"].transform("nunique")
    found = {
        "missing": rows["status"] == "missing",
        "unreadable": rows["status"] == "unreadable",
        "exact_duplicate": bytes_alike > 1,
        "near_duplicate": picture_alike > bytes_alike,
        "crosses_split": picture.isin(crossing),
        "conflicting_label": labels > 1,
        "box_outside": (rows["status"] == "ok") & (rows["reason"] != ""),
    }
    flags = pd.DataFrame({name: values.reindex(rows.index, fill_value=False) for name, values in found.items()})
    return [" ".join(name for name in FINDINGS if row[name]) for row in flags.to_dict("records")]


def _classes(rows: pd.DataFrame) -> pd.DataFrame:
    readable = rows["status"] == "ok"
    classes = pd.DataFrame({"class": sorted(rows["label"].unique())})
    for split in SPLITS if (rows["split"] != "").any() else ():
        if (rows["split"] == split).any():
            classes[split] = _count(rows[readable & (rows["split"] == split)], classes["class"])
    classes["photos"] = _count(rows[readable], classes["class"])
    return classes.sort_values(["photos", "class"], ascending=[False, True], ignore_index=True)


def _count(rows: pd.DataFrame, classes: pd.Series) -> list[int]:
    counts = Counter(rows["label"])
    return [counts[name] for name in classes]


def _problems(classes: pd.DataFrame) -> list[str]:
    """What keeps a training from starting, a sentence each."""
    problems = []
    if len(classes) < 2:
        problems.append("There is only one class: training needs two.")
    to_train = "train" if "train" in classes else "photos"
    # Where no photo is set apart for validation, one of each class is taken from those to train on.
    need = 1 if "val" in classes else 2
    for number, what in ((0, "no readable photo"), (1, "only one readable photo")):
        if number < need and len(short := classes["class"][classes[to_train] == number]):
            some = counted(len(short), "class has", "classes have")
            least = "one" if need == 1 else "two, one of them for validation"
            problems.append(f"{some} {what} to train on ({names(short)}): each needs {least}.")
    return problems
