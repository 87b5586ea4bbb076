"""One look at each photo, by the finder and the classifier, kept by the photo's content: a killed audit resumes."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from carclf.classifier.garage.kept import LOOKS, packed, unpacked
from carclf.recognition.prediction import FAILED, Recognition
from carclf.recognition.recognizer import CarRecognizer
from carclf.service.local.render import outline
from carclf.tools.audit.measures import blockiness, cut_off, sharpness
from detection.common.console import Track, untracked
from detection.common.rows import RowJournal, RowLog, parse_row
from detection.cutout.extract import detector_view
from detection.detectors.check.car_check import car_view
from detection.detectors.contract import CarChecker
from detection.detectors.finder.finder import LateCheck
from detection.images.exposure import exposure_gain

NAME = LOOKS
_VERSION = 1  # of what is measured


@dataclass(frozen=True, eq=False)
class Look:
    """status, reason, box: as in a `Prediction`. size: width and height. brightness: mean, 0 to 1. gain: by how much
    a dark photo is to be multiplied, 1 for others. sharp, blocks, cut: see `measures`, None where it can't be told.
    car: how probably the car check takes the car, or the whole photo where none was found, for one; other: what it is
    if none. turn_note: see `Vehicle`. probabilities: float32 [C] of the classifier; vector: float32 [F]; None without
    a car. outline: of the car, polygons x1, y1, x2, y2, ... in pixels of the photo; None where it is not known.
    more: what else was measured, see `More`."""

    status: str
    reason: str
    box: tuple[float, float, float, float] | None
    size: tuple[int, int] | None
    brightness: float
    gain: float
    sharp: float | None
    blocks: float | None
    cut: float
    car: float
    other: str
    turn_note: str
    probabilities: np.ndarray | None
    vector: np.ndarray | None
    outline: list[list[float]] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class More:
    """What else is measured while a photo is in memory. measure: gives plain values by name, of a recognition with its
    pictures. version: looks of another one are no good."""

    version: str
    measure: Callable[[Recognition], dict[str, Any]]


def packed_vectors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The digest and the vector, float32 [F], of each look in a file that has one; a later one of a digest counts."""
    log = RowLog(path, read_only=True)
    try:
        for _, line in log.lines():
            row = parse_row(line) or {}
            vector = unpacked(row.get("vector"))
            if vector is not None:
                yield row["id"], vector
    finally:
        log.close()


def vectors_of(looks: Sequence[Look | None]) -> tuple[np.ndarray, np.ndarray]:
    """Which of the photos have a vector, int [M], and the vectors, float32 [M, F]."""
    found = [(photo, look.vector) for photo, look in enumerate(looks) if look is not None and look.vector is not None]
    numbers = np.array([photo for photo, _ in found], int)
    return numbers, np.stack([vector for _, vector in found]) if found else np.empty((0, 0), np.float32)


def look_at(
    recognizer: CarRecognizer,
    files: Sequence[str],
    digests: Sequence[str],
    folder: Path,
    restart: bool = False,
    track: Track = untracked,
    more: More | None = None,
) -> Iterator[Look]:
    """A look at each file, in their order. digests: of their contents; what has been looked at is not looked at again.

    folder: where the looks are kept, in the file `NAME`. Raises `UsageError` when they are of another model, unless
    `restart`; of an audit that has ended they are then forgotten.
    """
    settings = {"looks": _VERSION, "crops": recognizer.crops} | {
        name: recognizer.settings[name] for name in ("model", "detector")
    }
    if more is not None:
        settings["more"] = more.version
    journal = RowJournal(folder / NAME, settings, restart, what="looks")
    try:
        places = _fill(journal, recognizer, files, digests, track, more)
        for place in places:
            yield _read(journal.read(place))
        journal.end()
    finally:
        journal.close(done=False)


def _fill(
    journal: RowJournal,
    recognizer: CarRecognizer,
    files: Sequence[str],
    digests: Sequence[str],
    track: Track,
    more: More | None,
) -> array:
    """The place of each file's look in the journal."""
    known = {digest: journal.find(digest) for digest in dict.fromkeys(digests)}
    # A failure may have been one of memory or of the network's: it is tried again.
    known = {
        digest: place
        for digest, place in known.items()
        if place is not None and journal.read(place)["status"] not in FAILED
    }
    missing = {digest: file for digest, file in zip(digests, files, strict=True) if digest not in known}
    seen = track(recognizer.recognize_fully(list(missing.values()), pictures=True, vectors=True), len(missing))
    check = recognizer.check or LateCheck()  # not every detector asks for it, but it tells a lorry from a car
    for digest, one in zip(missing, seen, strict=True):
        row = _measured(one, check)
        if more is not None and one.photo is not None:
            row["more"] = more.measure(one)
        known[digest] = journal.add(digest, row)
    return array("Q", (known[digest] for digest in digests))


def _measured(seen: Recognition, check: CarChecker) -> dict:
    told, photo, vehicle = seen.prediction, seen.photo, seen.vehicle
    row: dict[str, Any] = {
        "status": told.status,
        "reason": told.reason,
        "box": None if told.box is None else list(told.box),
        "size": None if seen.size is None else [seen.size[1], seen.size[0]],
        "brightness": round(seen.brightness or 0.0, 4),
    }
    if photo is None:
        return row
    whole = 0.0, 0.0, float(photo.shape[1]), float(photo.shape[0])
    box = told.box or whole
    row |= {
        "gain": round(exposure_gain(photo), 3),
        "sharp": sharpness(photo, box),
        "blocks": blockiness(photo),
        "cut": 0.0 if vehicle is None else round(cut_off(vehicle.mask), 3),
        "turn": "" if vehicle is None else vehicle.turn_note,
        "outline": None if vehicle is None else [list(chain(*part)) for part in outline(vehicle.mask)],
    }
    look = None if vehicle is None else vehicle.look
    if look is None:
        bright = detector_view(photo)
        scale = bright.shape[1] / photo.shape[1]
        look = check.look([car_view(bright, [value * scale for value in box])])[0]
    row |= {"car": round(look.car, 4), "other": look.other}
    for name, values in (("probabilities", seen.probabilities), ("vector", seen.vector)):
        row[name] = None if values is None else packed(values)
    return row


def _read(row: dict) -> Look:
    return Look(
        row["status"],
        row["reason"],
        None if row["box"] is None else tuple(row["box"]),
        None if row["size"] is None else tuple(row["size"]),
        row["brightness"],
        row.get("gain", 1.0),
        row.get("sharp"),
        row.get("blocks"),
        row.get("cut", 0.0),
        row.get("car", 1.0),
        row.get("other", ""),
        row.get("turn", ""),
        unpacked(row.get("probabilities")),
        unpacked(row.get("vector")),
        row.get("outline"),
        row.get("more", {}),
    )
