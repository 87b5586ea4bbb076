"""Finishing one photo of a folder run: cut out, written, and its row for the manifest."""

from __future__ import annotations

import errno
import os

import numpy as np

from detection.cutout import cut_out
from detection.files import replace_file
from detection.images import save_image
from detection.manifest import Record, row_cells
from detection.plan import QUARANTINE, Plan
from detection.reader import Photo
from detection.vehicle import MainChoice, resize_vehicle

# Nothing more can be written at all: the run stops, instead of making an error row of every photo that is left.
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def finish_photo(plan: Plan, photo: Photo, choice: MainChoice | Exception | None) -> Record:
    """Cuts out and writes one photo. Raises OSError only when nothing more can be written at all."""
    if photo.image is None:
        return Record(row_cells(photo.source, "unreadable", reason=photo.reason), photo.stamp, None)
    size = photo.image.shape[:2]
    if isinstance(choice, Exception):
        return Record(row_cells(photo.source, "error", reason=_reason(choice), size=size), photo.stamp, None)
    try:
        cells = _no_car(plan, photo) if choice.main is None else _cut(plan, photo, choice)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FATAL:
            raise
        return Record(row_cells(photo.source, "error", reason=_reason(error), size=size), photo.stamp, None)
    written = os.stat(plan.output / cells[1]).st_size if cells[1] else None
    return Record(cells, photo.stamp, written)


def _cut(plan: Plan, photo: Photo, choice: MainChoice) -> tuple[str, ...]:
    output, size = plan.outputs[photo.source], photo.image.shape[:2]
    vehicle = resize_vehicle(choice.main, size)
    _save(plan, output, cut_out(photo.image, vehicle, plan.style))
    reason = ""
    if choice.tie:
        ratio = choice.weights[1] / choice.weights[0]
        reason = f"{choice.nearly_equal} vehicles nearly equal: the runner-up weighs {ratio:.0%} of the chosen one"
    return row_cells(
        photo.source,
        "ok",
        output=output,
        reason=reason,
        score=vehicle.score,
        box=vehicle.box,
        mask_area=int(np.count_nonzero(vehicle.mask)),
        candidates=len(choice.weights),
        size=size,
    )


def _no_car(plan: Plan, photo: Photo) -> tuple[str, ...]:
    output = ""
    if plan.style.no_car == "keep":
        output = plan.outputs[photo.source]
        _save(plan, output, photo.image)
    elif plan.style.no_car == "quarantine":
        output = f"{QUARANTINE}/{photo.source}"
        (plan.output / output).parent.mkdir(parents=True, exist_ok=True)
        replace_file(plan.output / output, (plan.source / photo.source).read_bytes())
    reason = "no vehicle found"
    return row_cells(photo.source, "no_car", output=output, reason=reason, candidates=0, size=photo.image.shape[:2])


def _save(plan: Plan, output: str, array: np.ndarray) -> None:
    path = plan.output / output
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(path, array, plan.quality)


def _reason(error: Exception) -> str:
    """An unexpected error on one line, without its traceback."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
