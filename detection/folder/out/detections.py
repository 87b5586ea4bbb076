"""What a detector found in a folder's photos, kept in a file, so that they can be cut out in another style at no cost.

One JSON line per photo below a header line. Masks are in COCO's compressed run-length encoding (RLE), which
`pycocotools.mask.decode` reads as it stands here. Nothing in the file is trusted: it may come from somebody else.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from detection.common.errors import UsageError
from detection.common.files import check_format, user_path
from detection.common.files.locks import Lock, NoLocks
from detection.common.files.placed import PlacedFile
from detection.common.places.kept import copied_here
from detection.common.rows import json_line, name_number, numbers_of, parse_row, sort_by_number
from detection.masks.rle import decode_mask, encode_mask
from detection.vehicle import TURNS, Look, Vehicle

FORMAT = "carclf-detections"
VERSION = 1
_MAX_HEADER = 1 << 16
# A line of a hundred vehicles is some 200 kB; more than this is no line of ours.
_MAX_LINE = 1 << 24
# All masks of one photo together, decoded: a hundred vehicles at the 1600 px that detectors are shown.
_MAX_MASK_PIXELS = 1 << 28
_DAMAGE = (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError)


class DetectionsWriter:
    """Appends photos to a detections file; a context manager.

    A new file gets its header; an older one is continued when it is of the same detector (its torn last line is cut
    off). A photo that is appended again replaces its earlier line for readers. `append` may be called by several
    threads. Raises `UsageError` when the file can't be opened, is something else, is of another detector, or is being
    written by another run: it is then left as it was.
    """

    def __init__(
        self, path: str | Path, detector: str, fingerprint: str, threshold: float = 0.0, kinds: Sequence[str] = ()
    ):
        """threshold: the score from which on a vehicle is one; of others it is noted that they were seen. kinds: of
        vehicle that the detector knows, () where it can't say."""
        self.path = Path(path)
        self._lock = Lock.beside(self.path)
        header = {"format": FORMAT, "version": VERSION, "detector": detector, "fingerprint": fingerprint}
        header |= {"threshold": threshold} if threshold else {}
        header |= {"kinds": list(kinds)} if len(kinds) > 1 else {}
        try:
            self._file = PlacedFile(self.path, write=True)
        except OSError as error:
            raise UsageError(f"The detections can't be written to '{path}': {error.strerror}.") from error
        try:
            if not self._file.is_regular:
                raise UsageError(f"The detections can't be written to '{path}': it is not a regular file.")
            self._lock_file()
            self._continue(json_line(header), fingerprint)
        except BaseException:
            self.close()
            raise

    def append(
        self, source: str, stamp: tuple[int, int] | None, size: tuple[int, int], vehicles: Sequence[Vehicle]
    ) -> None:
        """Adds one photo, and what was found in it (nothing is an answer too).

        source: its name as the manifest has it. stamp: size in bytes and mtime in ns of the file, None if unknown.
        size: (height, width) of the array that the detector saw, and of each mask. Raises ValueError for a mask of
        another size, OSError when nothing can be written; the file is then as before.
        """
        height, width = (int(side) for side in size)
        found = []
        for vehicle in vehicles:
            if vehicle.mask.shape != (height, width):
                raise ValueError(f"The mask is {vehicle.mask.shape}, not {(height, width)} (height, width).")
            counts = encode_mask(vehicle.mask)
            found.append(
                {
                    "kind": str(vehicle.kind),
                    "score": float(vehicle.score),
                    "box": [float(value) for value in vehicle.box],
                    "segmentation": {"size": [height, width], "counts": counts},
                }
                | ({} if vehicle.look is None else {"look": _listed(vehicle.look)})
                | ({"turned": vehicle.turned} if vehicle.turned else {})
            )
        known = None if stamp is None else [int(value) for value in stamp]
        self._file.append(json_line({"source": source, "stamp": known, "size": [height, width], "vehicles": found}))

    def close(self) -> None:
        self._file.close()
        self._lock.release()

    def __enter__(self) -> DetectionsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _lock_file(self) -> None:
        with suppress(NoLocks):
            if not self._lock.take():
                raise UsageError(f"Another run writes to '{self.path}': wait for it, or choose another file.")

    def _continue(self, header: bytes, fingerprint: str) -> None:
        """Checks the header that is there, or writes one, and cuts off a torn last line."""
        start = self._file.read(_MAX_HEADER, 0)
        # A run that was killed at once has left a part of this very header, or nothing.
        if b"\n" not in start and header.startswith(start):
            self._file.cut(0)
            self._file.append(header)
            return
        before = _read_header(start, self.path)
        if before["fingerprint"] != fingerprint:
            raise UsageError(
                f"'{self.path}' holds what '{before['detector']}' found with other weights or another threshold: "
                "choose another file."
            )
        self._file.cut(self._end_of_last_line())

    def _end_of_last_line(self) -> int:
        end = self._file.size
        while end > 0:
            start = max(0, end - (1 << 20))
            found = self._file.read(end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0


class Detections:
    """A detections file, open for reading: masks are decoded when a photo is asked for, and not kept.

    Memory is 24 bytes per photo, however large the file is. `detector`, `fingerprint`, `threshold` and `kinds` are
    those of the header; `damaged` is the number of lines that were passed over so far (a mask's damage is seen when it
    is decoded).
    `get` may be called by several threads.
    """

    def __init__(self, path: Path, file: PlacedFile):
        self.path = path
        self._file = file
        header = _read_header(file.read(_MAX_HEADER, 0), path)
        self.detector: str = header["detector"]
        self.fingerprint: str = header["fingerprint"]
        self.threshold = float(header.get("threshold", 0.0))
        self.kinds: tuple[str, ...] = tuple(map(str, header.get("kinds", ())))
        self._bad_lines: set[int] = set()
        columns = array("Q"), array("Q"), array("Q")
        for offset, length, line in _lines(file):
            entry = None if line is None else _entry(line)
            if entry is None:
                self._bad_lines.add(offset)
                continue
            for column, value in zip(columns, (name_number(entry["source"]), offset, length), strict=True):
                column.append(value)
        self._keys, self._offsets, self._lengths = sort_by_number(*columns)

    @property
    def damaged(self) -> int:
        return len(self._bad_lines)

    def __len__(self) -> int:
        """The number of photos."""
        return len(np.unique(self._keys))

    def __contains__(self, source: object) -> bool:
        return isinstance(source, str) and self._find(source) is not None

    def get(self, source: str, stamp: tuple[int, int] | None = None) -> list[Vehicle] | None:
        """What was found in a photo, best first as the detector gave it: masks bool HxW of the size that it saw.

        None when the photo is not in the file, its line is damaged, or `stamp` (size in bytes and mtime in ns) is
        given and not that of the file which the detector saw.
        """
        found = self._find(source)
        if found is None:
            return None
        offset, entry = found
        try:
            if stamp is not None and (entry["stamp"] is None or tuple(entry["stamp"]) != tuple(stamp)):
                return None
            return _vehicles(entry)
        except _DAMAGE:
            self._bad_lines.add(offset)
            return None

    def find(self, source: str, stamp: tuple[int, int] | None) -> list[Vehicle]:
        """As `get`, but raises LookupError, which says why, where that gives None."""
        found = self.get(source, stamp)
        if found is not None:
            return found
        why = "is of an earlier state of the photo" if source in self else "knows nothing of it"
        raise LookupError(f"'{self.path.name}' {why}")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Detections:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _find(self, source: str) -> tuple[int, dict[str, Any]] | None:
        """Offset and content of the last line about a photo."""
        for index in numbers_of(self._keys, source):
            offset = int(self._offsets[index])
            entry = _entry(self._file.read(int(self._lengths[index]), offset))
            if entry is None:  # the file has changed since it was opened
                self._bad_lines.add(offset)
            elif entry["source"] == source:
                return offset, entry
        return None


def read_detections(path: str | Path) -> Detections:
    """Opens a file made by `DetectionsWriter`. Lists its photos; decodes nothing yet.

    One at an address is copied to this machine. Raises `UsageError` when it is missing, can't be read, or is no
    detections file of this version.
    """
    path = copied_here(user_path(path))
    if not path.is_file():
        raise UsageError(f"There is no detections file '{path}': check the path.")
    try:
        file = PlacedFile(path)
    except OSError as error:
        raise UsageError(f"The detections file '{path}' can't be read: {error.strerror}.") from error
    try:
        return Detections(path, file)
    except BaseException:
        file.close()
        raise


def _vehicles(entry: dict[str, Any]) -> list[Vehicle]:
    """The checked vehicles of one line. Raises one of `_DAMAGE` when something is wrong with any of them."""
    height, width = entry["size"]
    found = entry["vehicles"]
    if not (type(height) is type(width) is int and height > 0 and width > 0 and isinstance(found, list)):
        raise ValueError("not a size, or not a list of vehicles")
    if height * width * max(1, len(found)) > _MAX_MASK_PIXELS:
        raise ValueError("larger than any photo that a detector is shown")
    vehicles = []
    for item in found:
        score, kind = float(item["score"]), item["kind"]
        x1, y1, x2, y2 = (float(value) for value in item["box"])
        box = (x1, y1, x2, y2)
        if not (0 <= score <= 1 and all(map(math.isfinite, box)) and x1 <= x2 and y1 <= y2 and isinstance(kind, str)):
            raise ValueError("not a vehicle")
        if item["segmentation"]["size"] != [height, width]:
            raise ValueError("not a mask of this photo")
        mask = decode_mask(item["segmentation"]["counts"], (height, width))
        look, turned = _look(item.get("look")), item.get("turned", 0)
        if type(turned) is not int or turned not in (0, *TURNS):
            raise ValueError("not a turn")
        vehicles.append(Vehicle(box=box, mask=mask, score=score, kind=kind, look=look, turned=turned))
    return vehicles


def _listed(look: Look) -> list[Any]:
    return [look.car, look.other] + ([] if look.evidence is None else [look.evidence])


def _look(value: Any) -> Look | None:
    if value is None:
        return None
    car, other, *evidence = value
    if not (0 <= float(car) <= 1 and isinstance(other, str) and len(evidence) <= 1):
        raise ValueError("not a look")
    if evidence and not math.isfinite(evidence[0]):
        raise ValueError("not a look")
    return Look(float(car), other, float(evidence[0]) if evidence else None)


def _read_header(start: bytes, path: Path) -> dict[str, Any]:
    line, newline, _ = start.partition(b"\n")
    header = parse_row(line) if newline else None
    if header is None or header.get("format") != FORMAT:
        raise UsageError(f"'{path}' is not a file of detections: pass one that --save-detections made.")
    check_format(path, header.get("version"), VERSION)
    if header.get("version") != VERSION:
        raise UsageError(
            f"'{path}' is a detections file of version {str(header.get('version'))[:20]!r}, and this carclf reads "
            f"version {VERSION}: make it again with --save-detections."
        )
    threshold = header.get("threshold", 0.0)
    if not all(isinstance(header.get(key), str) for key in ("detector", "fingerprint")) or not (
        isinstance(threshold, float) and 0 <= threshold <= 1 and isinstance(header.get("kinds", []), list)
    ):
        raise UsageError(f"'{path}' does not say which detector made it: make it again with --save-detections.")
    return header


def _lines(file: PlacedFile) -> Iterator[tuple[int, int, bytes | None]]:
    """(offset, length, line) of all lines below the header; the line is None when it is torn or too long to be one."""
    with file.lines() as content:
        offset = len(content.readline(_MAX_HEADER))
        while line := content.readline(_MAX_LINE):
            length, whole = len(line), line.endswith(b"\n")
            while line and not line.endswith(b"\n"):
                line = content.readline(_MAX_LINE)
                length += len(line)
            yield offset, length, line if whole else None
            offset += length


def _entry(line: bytes) -> dict[str, Any] | None:
    entry = parse_row(line)
    return entry if entry is not None and isinstance(entry.get("source"), str) else None
