"""Labelled cars, seen small."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from carclf.classifier.colour.reader import WORDS
from carclf.classifier.colour.view import vehicle_view
from detection.common.files import replace_file
from detection.images.exposure import expose
from detection.images.read import load_image
from detection.masks.parts import file_digest, read_parts

SPLITS = Path(__file__).resolve().parents[2] / "data" / "splits"
BY_EYE = ("dealer20", "stanford_cars")


@dataclass(frozen=True)
class View:
    """A car seen small, its word, its part, and what it belongs together with."""

    rgb: np.ndarray
    mask: np.ndarray
    word: str
    part: str
    group: str
    source: str


def labelled(data: Path, wanted: set[str]) -> Iterator[tuple[str, Path, str, str, str]]:
    """(data set, photo, its part, word, group) of the photos of these parts."""
    parts = read_parts(SPLITS / "porsche.csv")
    for row in _rows(data / "porsche" / "labels.csv"):
        path = data / "porsche" / "images" / row["file"]
        part = parts.get(file_digest(path))
        if row["colour"].lower() in WORDS and part in wanted:
            yield "porsche", path, part, row["colour"].lower(), row["advert"]
    words = {row["sha256"]: row for row in _rows(SPLITS / "colours.csv")}
    for source in BY_EYE:
        for path in sorted(one for one in (data / source / "images").rglob("*") if one.is_file()):
            row = words.get(file_digest(path), {})
            if row.get("part") in wanted:
                yield source, path, row["part"], row["colour"], row["sha256"]


def views_of(photos: Iterable[tuple[str, Path, str, str, str]], kept: Path | None = None) -> list[View]:
    """The cars as the chain finds them; those in which none is found are left out. photos: as `labelled` gives them.
    kept: a file to keep them in."""
    if kept is not None and kept.exists():
        return _read(kept)
    from carclf.recognition.recognizer import CarRecognizer
    from detection.cutout.extract import detector_view
    from detection.vehicle import resize_vehicle

    recognizer = CarRecognizer(threads=1, colour=False)
    assert recognizer.finder is not None
    views = []
    for source, path, part, word, group in photos:
        photo = load_image(path)
        seen = detector_view(photo)
        found = recognizer.finder.find([seen])
        (finding,) = recognizer.finder.decide([partial(np.asarray, seen)], found, recognizer.kinds, False)
        if not isinstance(finding, Exception) and finding.choice.main is not None:
            vehicle = resize_vehicle(finding.choice.main, photo.shape[:2])
            views.append(View(*vehicle_view(expose(photo), vehicle), word, part, group, source))
    if kept is not None:
        write(kept, views)
    return views


def write(kept: Path, views: list[View]) -> None:
    """To a file that `views_of` takes."""
    import io

    arrays: dict[str, np.ndarray] = {f"rgb{number}": view.rgb for number, view in enumerate(views)}
    arrays |= {f"mask{number}": view.mask for number, view in enumerate(views)}
    arrays["about"] = np.array([(view.word, view.part, view.group, view.source) for view in views])
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]  # its stubs take no names
    replace_file(kept, file.getvalue())


def _read(kept: Path) -> list[View]:
    with np.load(kept) as arrays:
        about = arrays["about"]
        return [
            View(arrays[f"rgb{number}"], arrays[f"mask{number}"], *map(str, row)) for number, row in enumerate(about)
        ]


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
