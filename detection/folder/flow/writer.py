"""Finishing one photo of a folder run: cut out, written, and its row for the manifest."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from detection.common.files import file_stamp, replace_file
from detection.cutout.extract import extract, shrink_crop
from detection.detectors.finder import Finding
from detection.folder.flow.meter import Meter
from detection.folder.flow.reader import Photo, one_line
from detection.folder.out.manifest import Crop, Record, crop_cells, row_cells
from detection.folder.plan import QUARANTINE, Plan
from detection.images.exposure import expose
from detection.images.read import ImageError
from detection.images.write import save_image
from detection.publishing.hiding.private import Private, find_private, hide_in
from detection.publishing.hiding.rewrite import rewritten
from detection.publishing.studio.compose import compose
from detection.publishing.studio.style import StudioStyle
from detection.vehicle import MainChoice, Vehicle, resize_vehicle

# Nothing more can be written at all: the run stops, instead of making an error row of every photo that is left.
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)


class OutputError(Exception):
    """OUT can't be written any more; the cause is the OSError."""


def finish_photo(plan: Plan, photo: Photo, finding: Finding | Exception | None, meter: Meter) -> Record:
    """Cuts out and writes one photo. Raises `OutputError` only when nothing more can be written at all."""
    if photo.image is None:
        return Record(row_cells(photo.source, photo.status, reason=photo.reason), photo.stamp, None)
    size = photo.image.shape[:2]
    try:
        if isinstance(finding, Exception):
            raise finding
        assert finding is not None  # only photos that could not be read come without one
        style, private = plan.options.hide, None
        if style is not None:
            with meter.part("cut"):
                private = find_private(photo.image, finding.choice, finding.found, style)
        record = _finished(plan, photo, finding, private, meter)
        return record if private is None else record.with_private(private.cells())
    except OutputError:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, ImageError) else one_line(error)
        return Record(row_cells(photo.source, "error", reason=reason, size=size), photo.stamp, None)


def _finished(plan: Plan, photo: Photo, finding: Finding, private: Private | None, meter: Meter) -> Record:
    """The photo's row, when what is wanted of it is written."""
    choice, style = finding.choice, plan.options.hide
    if plan.options.whole_photos:
        return _whole(plan, photo, finding, private, meter)
    bright = None if choice.main is None else _bright(photo, meter)
    if private is not None and style is not None:  # not before: edges are looked for in the photo as it is
        with meter.part("cut"):
            photo.image = hide_in(_image(photo), private, style)
    if bright is None:
        return _without_car(plan, photo, finding.why_none, private, meter)
    if plan.options.studio is not None:
        return _in_studio(plan, photo, choice, plan.options.studio, bright, meter)
    return (_all_vehicles if plan.options.all_vehicles else _main)(plan, photo, choice, bright, meter)


def _main(plan: Plan, photo: Photo, choice: MainChoice, bright: np.ndarray, meter: Meter) -> Record:
    assert choice.main is not None
    output = plan.target(photo.source)
    vehicle, area, written = _cut(plan, photo, bright, choice.main, output, meter)
    return Record(_ok_row(photo, choice, output, vehicle, area), photo.stamp, written)


def _all_vehicles(plan: Plan, photo: Photo, choice: MainChoice, bright: np.ndarray, meter: Meter) -> Record:
    """Every vehicle by its rank; the row is about the first."""
    assert choice.main is not None
    crops: list[Crop] = []
    row: tuple[str, ...] = ()
    first: int | None = None
    for rank, found in enumerate((choice.main, *choice.runners_up), 1):
        output = plan.target(photo.source, rank)
        vehicle, area, written = _cut(plan, photo, bright, found, output, meter)
        crops.append(Crop(crop_cells(output, rank, vehicle.kind, vehicle.score, vehicle.box, area), written))
        if rank == 1:
            row, first = _ok_row(photo, choice, output, vehicle, area), written
    return Record(row, photo.stamp, first, tuple(crops))


def _whole(plan: Plan, photo: Photo, finding: Finding, private: Private | None, meter: Meter) -> Record:
    """The photo's file with what is private hidden; that of a photo without any, too."""
    output, size, main = plan.target(photo.source), _image(photo).shape[:2], finding.choice.main
    written = _save_file(plan, photo, output, private, meter)
    if main is None:
        cells = row_cells(photo.source, "no_car", output=output, reason=finding.why_none, candidates=0, size=size)
    else:
        main = resize_vehicle(main, size)
        cells = _ok_row(photo, finding.choice, output, main, int(np.count_nonzero(main.mask)))
    return Record(cells, photo.stamp, written)


def _in_studio(
    plan: Plan, photo: Photo, choice: MainChoice, style: StudioStyle, bright: np.ndarray, meter: Meter
) -> Record:
    """The main vehicle before the backdrop."""
    assert choice.main is not None
    output = plan.target(photo.source)
    with meter.part("cut"):
        made = compose(_image(photo), choice.main, style, bright)
    written = _save(plan, output, made.image, meter)
    area = int(np.count_nonzero(made.vehicle.mask))
    cells = _ok_row(photo, choice, output, made.vehicle, area, made.notes)
    return Record(cells + made.cells(), photo.stamp, written)


def _bright(photo: Photo, meter: Meter) -> np.ndarray:
    """The photo as edges are looked for in it: once per photo, however many vehicles are cut out of it."""
    with meter.part("cut"):
        return expose(_image(photo))


def _cut(
    plan: Plan, photo: Photo, bright: np.ndarray, found: Vehicle, output: str, meter: Meter
) -> tuple[Vehicle, int, int]:
    """Cuts out one vehicle and writes it. Returns it as it was cut, the pixels of its mask, and the file's bytes."""
    with meter.part("cut"):
        image = _image(photo)
        crop, vehicle = extract(image, found, plan.style, bright, plan.options.edge)
        area = int(np.count_nonzero(vehicle.mask))
    return vehicle, area, _save(plan, output, crop, meter)


def _ok_row(
    photo: Photo, choice: MainChoice, output: str, vehicle: Vehicle, area: int, notes: Sequence[str] = ()
) -> tuple[str, ...]:
    reasons = [vehicle.turn_note] if vehicle.turned else []
    reasons += notes
    if choice.tie:
        ratio = choice.weights[1] / choice.weights[0]
        reasons.append(
            f"{choice.nearly_equal} vehicles nearly equal: the runner-up weighs {ratio:.0%} of the chosen one"
        )
    return row_cells(
        photo.source,
        "ok",
        output=output,
        reason="; ".join(reasons),
        score=vehicle.score,
        box=vehicle.box,
        mask_area=area,
        candidates=len(choice.weights),
        kind=vehicle.kind,
        size=_image(photo).shape[:2],
    )


def _without_car(plan: Plan, photo: Photo, reason: str, private: Private | None, meter: Meter) -> Record:
    output, written = "", None
    if plan.style.no_car == "keep":
        output = plan.target(photo.source, 0 if plan.options.all_vehicles else None)
        written = _save(plan, output, _image(photo), meter)
    elif plan.style.no_car == "quarantine":
        output = f"{QUARANTINE}/{photo.source}"
        written = _save_file(plan, photo, output, private, meter)
    size = _image(photo).shape[:2]
    cells = row_cells(photo.source, "no_car", output=output, reason=reason, candidates=0, size=size)
    return Record(cells, photo.stamp, written)


def _image(photo: Photo) -> np.ndarray:
    assert photo.image is not None  # photos that could not be read have had their row by now
    return photo.image


def _save_file(plan: Plan, photo: Photo, output: str, private: Private | None, meter: Meter) -> int:
    """Writes the photo's own file below OUT, perhaps with something hidden; returns its size in bytes.

    Raises `ImageError` for one in which nothing can be hidden.
    """
    source, style = plan.source / photo.source, plan.options.hide
    with meter.part("write"):
        data = source.read_bytes()
        if file_stamp(source) != photo.stamp:
            raise RuntimeError(f"'{source.name}' changed while it was copied.")
        if private is not None and style is not None:
            data = rewritten(data, source.name, private.corners("plate"), style, private.corners("face"))
        with _writing(plan, plan.output / output) as path:
            replace_file(path, data)
    return len(data)


def _save(plan: Plan, output: str, array: np.ndarray, meter: Meter) -> int:
    """Writes a cut-out below OUT; returns its size in bytes."""
    if plan.options.max_size is not None:
        with meter.part("cut"):
            array = shrink_crop(array, plan.options.max_size)
    with meter.part("write"), _writing(plan, plan.output / output) as path:
        save_image(path, array, plan.options.quality)
        return os.stat(path).st_size


@contextmanager
def _writing(plan: Plan, path: Path) -> Iterator[Path]:
    """Makes the file's folder, and tells a disk that takes nothing more from a file that can't be written.

    OUT itself is not made again when it has vanished: its journal is gone, too.
    """
    try:
        if not path.parent.is_dir():
            if not plan.output.is_dir():
                raise FileNotFoundError(errno.ENOENT, "it has vanished")
            path.parent.mkdir(parents=True, exist_ok=True)
        yield path
    except OSError as error:
        if error.errno in _FATAL or not os.access(plan.output, os.W_OK | os.X_OK):
            raise OutputError from error
        raise
