"""A competition's folder: the sample that an answer must look like, its test photos, and the numbers of its classes."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from carclf.datasets.layouts.archive import unpack
from detection.common.errors import UsageError
from detection.common.files import file_stamp

SAMPLES = ("sample-submission.csv", "sample_submission.csv", "sampleSubmission.csv")
TESTS = ("test_upload", "test")
LABELS = "train.csv"
NAMES = ("classes.csv", "photos.csv")  # lists that may name the numbers


@dataclass(frozen=True)
class Competition:
    """ids: in the sample's order. columns: the sample's two. newline: how it ends its lines.

    photos: the folder of the test photos. counts: how often each category is in train.csv, empty without one.
    names: from a class's name to its category, empty where nothing tells.
    """

    sample: Path
    ids: tuple[str, ...]
    columns: tuple[str, str]
    newline: str
    photos: Path
    counts: Mapping[str, int]
    names: Mapping[str, str]

    def photo(self, id: str) -> Path | None:
        """The photo of an id; None when it is not there, or would be outside the folder."""
        if Path(id).is_absolute() or ".." in Path(id).parts or "\0" in id:
            return None
        path = self.photos / id
        return path if path.is_file() else None

    def stamp(self, id: str) -> tuple[int, int] | None:
        """Tells whether the photo is still the same."""
        path = self.photo(id)
        return None if path is None else file_stamp(path)

    def categories(self, classes: Sequence[str]) -> list[str]:
        """The category of each of a model's classes: by `names`, or the class itself where it is a category.

        Raises `UsageError` when one of them has none.
        """
        names = {_plain(name): category for name, category in self.names.items()}
        known = set(self.counts) | set(self.names.values())
        numbers = {one for one in classes if one in known or (not known and one.isdecimal())}
        found = [names.get(_plain(one), one if one in numbers else None) for one in classes]
        lost = [one for one, category in zip(classes, found, strict=True) if category is None]
        if lost:
            some = ", ".join(f"'{one}'" for one in lost[:3]) + (", ..." if len(lost) > 3 else "")
            raise UsageError(
                f"{len(lost)} of the model's {len(classes)} classes ({some}) are no {self.columns[1]} of "
                f"'{self.sample}': pass --classes FILE, a csv of {self.columns[1]},class that names them all."
            )
        return [category for category in found if category is not None]

    def text(self, answers: Mapping[str, str]) -> str:
        """The submission: the sample's columns and ids, each with its answer."""
        rows = io.StringIO(newline="")
        writer = csv.writer(rows, lineterminator=self.newline)
        writer.writerow(self.columns)
        writer.writerows((id, answers[id]) for id in self.ids)
        return rows.getvalue()


def read_competition(
    data: str | Path, sample: Path | None = None, images: Path | None = None, classes: Path | None = None
) -> Competition:
    """data: the folder or zip with the sample, the photos in test_upload/ or test/, perhaps train.csv and a csv that
    names its categories; the others say where these are instead. Raises `UsageError` for what is missing or wrong."""
    folder = Path(data)
    if folder.is_file() and folder.suffix.lower() == ".zip":
        folder = unpack(folder)
    if not folder.is_dir():
        raise UsageError(f"There is no folder or zip file '{data}': pass what was downloaded from the competition.")
    sample = sample or next((path for name in SAMPLES if (path := folder / name).is_file()), folder / SAMPLES[0])
    columns, rows, newline = _read_rows(sample)
    if len(columns) != 2:
        raise UsageError(f"'{sample}' must have two columns, the id and its answer; it has {', '.join(columns)}.")
    ids = tuple(row[0] for row in rows)
    double = [id for id, times in Counter(ids).items() if times > 1]
    if not ids or double:
        what = f"lists '{double[0]}' more than once" if double else "lists no ids"
        raise UsageError(f"'{sample}' {what}: it is not the sample that the competition gives out.")
    photos = images or next((path for name in TESTS if (path := folder / name).is_dir()), None)
    if photos is None or not photos.is_dir():
        where = f"'{images}'" if images else f"folder {' or '.join(TESTS)} in '{folder}'"
        raise UsageError(f"There is no {where} with the photos to answer: name it with --images.")
    if (photos / photos.name).is_dir():  # as some unpackers leave it
        photos = photos / photos.name
    counts = _counts(folder / LABELS, columns[1])
    names = _names(folder, columns[1], classes)
    strange = sorted(set(names.values()) - set(counts)) if counts else []
    if strange and classes is not None:
        raise UsageError(f"'{classes}' has the {columns[1]} '{strange[0]}', which '{folder / LABELS}' does not have.")
    return Competition(sample, ids, (columns[0], columns[1]), newline, photos, counts, names)


def _read_rows(path: Path) -> tuple[list[str], list[list[str]], str]:
    """The header, the rows and the line ending of a csv."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    except FileNotFoundError as error:
        raise UsageError(f"There is no '{path}': pass the competition's folder, or --sample FILE.") from error
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"'{path}' can't be read as a csv: {str(error).splitlines()[0]}.") from error
    rows = [row for row in rows if row]
    wrong = next((number for number, row in enumerate(rows, 2) if len(row) != len(header)), None)
    if wrong is not None:
        raise UsageError(f"'{path}' has {len(rows[wrong - 2])} values in line {wrong}, not {len(header)}.")
    return header, rows, "\r\n" if "\r\n" in text else "\n"


def _counts(path: Path, column: str) -> Counter[str]:
    if not path.is_file():
        return Counter()
    header, rows, _ = _read_rows(path)
    if column not in header:
        raise UsageError(f"'{path}' has no column '{column}', which the sample asks for.")
    return Counter(row[header.index(column)] for row in rows)


def _names(folder: Path, column: str, classes: Path | None) -> dict[str, str]:
    """Names of the categories, by a file that was named or that lies beside the sample."""
    for path in [classes] if classes else [folder / name for name in NAMES if (folder / name).is_file()]:
        header, rows, _ = _read_rows(path)
        if {column, "class"} <= set(header):
            names: dict[str, str] = {}
            for row in rows:
                name, category = row[header.index("class")], row[header.index(column)]
                if names.setdefault(name, category) != category:
                    raise UsageError(f"'{path}' gives '{name}' two numbers, {names[name]} and {category}.")
            return names
        if classes:
            raise UsageError(f"'{path}' must have the columns {column} and class; it has {', '.join(header)}.")
    return {}


def _plain(name: str) -> str:
    """Names are the same whatever their case and spaces."""
    return " ".join(name.split()).casefold()
