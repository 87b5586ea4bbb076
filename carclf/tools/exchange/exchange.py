"""Labelled photos and results written in another program's format, and read from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from carclf.datasets.layouts.archive import unpack
from carclf.tools.exchange.files import LEFT_OUT, bring
from carclf.tools.exchange.formats import coco
from carclf.tools.exchange.formats.tables import write_labels
from carclf.tools.exchange.guards import write_values
from carclf.tools.exchange.record import Photo, labels_of, losses, with_label
from carclf.tools.exchange.source import OBJECTS, read_source
from detection.common.console import Track, untracked
from detection.common.errors import UsageError
from detection.common.files import TEMP_PREFIX, move_over, user_path
from detection.common.output_folder import OutputFolder, check_apart
from detection.common.places.place import Place
from detection.common.tally import counted, exit_code

_HOMES = {
    "coco": "coco",
    "yolo": "yolo",
    "voc": "voc",
    "label-studio": "label_studio",
    "cvat": "cvat",
    "fiftyone": "fiftyone",
    "csv": "tables",
    "folders": "folders",
}
FORMATS = tuple(_HOMES)


@dataclass(frozen=True)
class Exchanged:
    """What was written. notes: a sentence for everything that did not come along."""

    output: Path
    photos: int
    things: int
    masks: int
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or 3 when photos could not be read."""
        return exit_code(any(LEFT_OUT in note for note in self.notes))

    def __str__(self) -> str:
        parts = [counted(self.photos, "photo"), counted(self.things, "thing"), counted(self.masks, "mask")]
        return f"{', '.join(parts)}. {self.output}"


def export_data(
    source: str | Path,
    format: str,
    output: str | Path,
    images: str | Path | None = None,
    track: Track = untracked,
) -> Exchanged:
    """Writes a source (see `read_source`) to a new folder, in one of `FORMATS`; photos are linked, or copied.

    Raises `UsageError` for a source that can't be read, and for an output that is not free.
    """
    form = _form(format)
    output = _free(output)
    photos, notes = read_source(source, images, track)
    if not photos:
        raise UsageError(f"There is no readable photo in '{source}'.")
    _check_apart(photos, output)
    notes += losses(photos, form.HOLDS)
    _write(output, lambda folder: notes.extend(form.write(photos, folder)))
    return _exchanged(output, photos, notes)


def import_data(
    source: str | Path,
    format: str,
    output: str | Path,
    images: str | Path | None = None,
) -> Exchanged:
    """Reads a file or folder in one of `FORMATS` and writes a new folder that trainings read: images/, labels.csv for
    `carclf train`, masks.json and boxes.json (COCO) for `carclf train-detector`, and objects.json with everything.

    Raises `UsageError` for what is damaged, leads out of its folder or grows without end, and for an output that is
    not free.
    """
    form = _form(format)
    output = _free(output)
    path = user_path(source)
    if isinstance(path, Place):
        raise UsageError(f"'{path}' can't be imported: copy it here first.")
    if path.is_file() and path.suffix.lower() == ".zip":
        path = unpack(path)
    if not path.exists():
        raise UsageError(f"There is no '{source}': check the path.")
    photos, notes = form.read(path, None if images is None else user_path(images))
    if not photos:
        raise UsageError(f"There is no readable photo in '{source}'.")
    photos = [with_label(photo) for photo in photos]
    _check_apart(photos, output)
    _write(output, lambda folder: _write_import(photos, folder))
    unlabelled = sum(photo.label is None for photo in photos)
    if unlabelled:
        notes.append(f"{counted(unlabelled, 'photo has', 'photos have')} no class: in {OBJECTS}, but not in "
                     "labels.csv.")  # fmt: skip
    return _exchanged(output, photos, notes)


def _write_import(photos: Sequence[Photo], folder: Path) -> None:
    bring(photos, [photo.name for photo in photos], folder / "images")
    if any(photo.label is not None for photo in photos):
        write_labels(photos, folder / "labels.csv")
    labels = labels_of(photos)
    write_values(folder / OBJECTS, coco.content(photos, labels))
    # What teaches an outline must not hold a vehicle without one: a detector learns that it is none.
    drawn = [photo for photo in photos if all(thing.shape is not None for thing in photo.things)]
    if any(photo.things for photo in drawn):
        write_values(folder / "masks.json", coco.content(drawn, labels))
    if labels:
        write_values(folder / "boxes.json", coco.content(photos, labels))


def _form(format: str) -> Any:
    if format not in _HOMES:
        raise UsageError(f"Unknown format '{format}': choose {', '.join(FORMATS)}.")
    return import_module(f"carclf.tools.exchange.formats.{_HOMES[format]}")


def _free(output: str | Path) -> Path:
    path = user_path(output)
    if isinstance(path, Place):
        raise UsageError(f"'{path}' can't be written: --output must be a folder here, which is copied afterwards.")
    OutputFolder(path, lambda folder: False).check(f"'{path}' exists already: choose another --output.")
    return path


def _check_apart(photos: Sequence[Photo], output: Path) -> None:
    for folder in {photo.path.parent for photo in photos}:
        text = f"The photos lie in --output '{output}': choose another."
        inside = f"--output '{output}' lies in the photos' folder '{folder}': choose one outside it."
        check_apart(folder, output, same=text, inside=inside, around=text)


def _write(output: Path, write: Callable[[Path], object]) -> None:
    """The folder is there whole or not at all."""
    temp = output.absolute().with_name(f"{TEMP_PREFIX}{output.name}.tmp")
    try:
        shutil.rmtree(temp, ignore_errors=True)
        temp.mkdir(parents=True)
        write(temp)
        if output.is_dir():
            output.rmdir()  # it is empty
        move_over(temp, output)
    except OSError as error:
        raise UsageError(f"'{output}' can't be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _exchanged(output: Path, photos: Sequence[Photo], notes: Sequence[str]) -> Exchanged:
    things = [thing for photo in photos for thing in photo.things]
    masks = int(np.sum([thing.shape is not None for thing in things]))
    return Exchanged(output, len(photos), len(things), masks, tuple(notes))
