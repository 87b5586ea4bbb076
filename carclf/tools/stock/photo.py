"""What is known of one photo of a stock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

from carclf.classifier.colour.reader import COLOURS, ColourReader
from carclf.classifier.colour.view import vehicle_view
from carclf.recognition.prediction import FAILED, NO_CAR, OK, UNKNOWN, UNREADABLE, Recognition
from carclf.tools.audit.looks import Look, More
from carclf.tools.stock.side.reader import WEIGHTS_FILE, SideReader
from carclf.tools.stock.side.sides import KINDS, OTHER
from carclf.tools.stock.taken import taken_at
from detection.common.files import file_sha256
from detection.images.duplicates import difference_hash
from detection.images.exposure import expose

_VERSION = 1  # of what is measured here


@dataclass(eq=False)
class StockPhoto:
    """file: its path below the folder that was given, with slashes. path: where it lies. look: None for what can't be
    read. side: one of `KINDS`, empty where it is not sure. confidence: how probable the likeliest side is, 0 to 1, None
    without a car. car: its car's name, empty where no one knows. issues: of `ISSUES`, with what is to be said of each.
    place: in the advert, from 1; None for what is left out."""

    file: str
    path: Path
    look: Look | None
    side: str = ""
    confidence: float | None = None
    car: str = ""
    issues: dict[str, str] = field(default_factory=dict)
    place: int | None = None

    @property
    def status(self) -> str:
        """As in a `Prediction`, but that a car is `ok` whether or not its model is known."""
        status = UNREADABLE if self.look is None else self.look.status
        return OK if status == UNKNOWN else status

    @property
    def failed(self) -> bool:
        return self.status in FAILED

    @property
    def vector(self) -> np.ndarray | None:
        return None if self.look is None else self.look.vector

    @property
    def paint(self) -> np.ndarray | None:
        """float32, how probable each colour is; None where the car is too small."""
        paint = {} if self.look is None else self.look.more
        return None if paint.get("paint") is None else np.asarray(paint["paint"], np.float32)

    @property
    def hash(self) -> int | None:
        """See `difference_hash`."""
        bits = None if self.look is None else self.look.more.get("hash")
        return None if bits is None else int(bits, 16)

    @property
    def taken(self) -> datetime | None:
        text = "" if self.look is None else self.look.more.get("taken", "")
        return datetime.fromisoformat(text) if text else None

    @property
    def length(self) -> float:
        """Of the car's longer side, in pixels."""
        if self.look is None or self.look.box is None:
            return 0.0
        x1, y1, x2, y2 = self.look.box
        return max(x2 - x1, y2 - y1)


def stock_photo(file: str, path: Path, look: Look | None, least: float) -> StockPhoto:
    """least: the least confidence of a side that counts as sure."""
    photo = StockPhoto(file, path, look)
    if photo.status == NO_CAR:
        photo.side = OTHER
    elif look is not None and look.more.get("side") is not None:
        best = int(np.argmax(look.more["side"]))
        photo.confidence = float(look.more["side"][best])
        photo.side = KINDS[best] if photo.confidence >= least else ""
    return photo


def stock_measures(reader: SideReader) -> More:
    """What a stock wants to know of each photo beside what an audit does: side, paint, time, and bits for copies."""
    paint = ColourReader.load()

    def measure(seen: Recognition) -> dict:
        assert seen.photo is not None
        taken = taken_at(Path(seen.prediction.file))
        row = {
            "hash": f"{difference_hash(cv2.cvtColor(seen.photo, cv2.COLOR_RGB2GRAY)):016x}",
            "taken": "" if taken is None else taken.isoformat(),
        }
        if seen.vehicle is None:
            return row
        view = vehicle_view(expose(seen.photo), seen.vehicle)
        return row | {"side": _rounded(reader.probabilities(*view)), "paint": _rounded(paint.probabilities(*view))}

    weights = "-".join(file_sha256(path).hex()[:8] for path in (WEIGHTS_FILE, COLOURS))
    return More(f"stock-{_VERSION}-{weights}", measure)


def _rounded(values: np.ndarray | None) -> list[float] | None:
    return None if values is None else [round(float(value), 4) for value in values]
