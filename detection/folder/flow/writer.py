"""Finishing one photo of a folder run: cut out, written, and its row for the manifest."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
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
from detection.publishing.hiding.cover import HideStyle
from detection.publishing.hiding.private import find_private
from detection.publishing.hiding.rewrite import rewritten
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
        if plan.options.hide is not None:
            return _hidden(plan, photo, finding, plan.options.hide, meter)
        if finding.choice.main is None:
            return _without_car(plan, photo, finding.why_none, meter)
        cut = _all_vehicles if plan.options.all_vehicles else _main
        return cut(plan, photo, finding.choice, meter)
    except OutputError:
        raise
    except Exception as error:
        return Record(row_cells(photo.source, "error", reason=one_line(error), size=size), photo.stamp, None)


def _main(plan: Plan, photo: Photo, choice: MainChoice, meter: Meter) -> Record:
    assert choice.main is not None
    output = plan.target(photo.source)
    vehicle, area, written = _cut(plan, photo, _bright(photo, meter), choice.main, output, meter)
    return Record(_ok_row(photo, choice, output, vehicle, area), photo.stamp, written)


def _all_vehicles(plan: Plan, photo: Photo, choice: MainChoice, meter: Meter) -> Record:
    """Every vehicle by its rank; the row is about the first."""
    assert choice.main is not None
    crops: list[Crop] = []
    row: tuple[str, ...] = ()
    first: int | None = None
    bright = _bright(photo, meter)
    for rank, found in enumerate((choice.main, *choice.runners_up), 1):
        output = plan.target(photo.source, rank)
        vehicle, area, written = _cut(plan, photo, bright, found, output, meter)
        crops.append(Crop(crop_cells(output, rank, vehicle.kind, vehicle.score, vehicle.box, area), written))
        if rank == 1:
            row, first = _ok_row(photo, choice, output, vehicle, area), written
    return Record(row, photo.stamp, first, tuple(crops))


def _hidden(plan: Plan, photo: Photo, finding: Finding, style: HideStyle, meter: Meter) -> Record:
    """The photo's file with what is private hidden; that of a photo without any, too."""
    image, path = _image(photo), plan.source / photo.source
    with meter.part("cut"):
        found = find_private(image, finding.choice, finding.found, style)
        data = path.read_bytes()
        if file_stamp(path) != photo.stamp:
            raise RuntimeError(f"'{path.name}' changed while it was worked on.")
        try:
            data = rewritten(data, path.name, found.corners("plate"), style, found.corners("face"))
        except ImageError as error:
            cells = row_cells(photo.source, "error", reason=str(error), size=image.shape[:2])
            return Record(cells + found.cells(), photo.stamp, None)
    output = plan.target(photo.source)
    with meter.part("write"), _writing(plan, plan.output / output) as target:
        replace_file(target, data)
    main = finding.choice.main
    if main is None:
        why, size = finding.why_none, image.shape[:2]
        cells = row_cells(photo.source, "no_car", output=output, reason=why, candidates=0, size=size)
    else:
        main = resize_vehicle(main, image.shape[:2])
        cells = _ok_row(photo, finding.choice, output, main, int(np.count_nonzero(main.mask)))
    return Record(cells + found.cells(), photo.stamp, len(data))


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
        crop, vehicle = extract(image, found, plan.style, bright)
        area = int(np.count_nonzero(vehicle.mask))
    return vehicle, area, _save(plan, output, crop, meter)


def _ok_row(photo: Photo, choice: MainChoice, output: str, vehicle: Vehicle, area: int) -> tuple[str, ...]:
    reasons = [vehicle.turn_note] if vehicle.turned else []
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


def _without_car(plan: Plan, photo: Photo, reason: str, meter: Meter) -> Record:
    output, written = "", None
    if plan.style.no_car == "keep":
        output = plan.target(photo.source, 0 if plan.options.all_vehicles else None)
        written = _save(plan, output, _image(photo), meter)
    elif plan.style.no_car == "quarantine":
        output = f"{QUARANTINE}/{photo.source}"
        source = plan.source / photo.source
        with meter.part("write"):
            data = source.read_bytes()
            if file_stamp(source) != photo.stamp:
                raise RuntimeError(f"'{source.name}' changed while it was copied.")
            with _writing(plan, plan.output / output) as path:
                replace_file(path, data)
        written = len(data)
    size = _image(photo).shape[:2]
    cells = row_cells(photo.source, "no_car", output=output, reason=reason, candidates=0, size=size)
    return Record(cells, photo.stamp, written)


def _image(photo: Photo) -> np.ndarray:
    assert photo.image is not None  # photos that could not be read have had their row by now
    return photo.image


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
