"""One answer for one photo or vehicle, and how it follows from probabilities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    import numpy as np
    import pandas

    from detection.vehicle import Vehicle


Status = Literal["ok", "no_car", "unknown", "unreadable", "error"]
OK: Final = "ok"
NO_CAR: Final = "no_car"
UNKNOWN: Final = "unknown"
UNREADABLE: Final = "unreadable"
ERROR: Final = "error"
STATUSES = (OK, NO_CAR, UNKNOWN, UNREADABLE, ERROR)
FAILED = (UNREADABLE, ERROR)
COLUMNS = ("file", "status", "label", "confidence", "top", "box", "kind", "reason")
VEHICLE = "vehicle"  # a column more, where every vehicle of a photo is named


@dataclass(frozen=True)
class Prediction:
    """What is known of one photo, or with `every_vehicle` of one vehicle in it.

    status: `ok`; `no_car`, nothing found; `unknown`, a car, but not one of the classes or too unsure; `unreadable`;
        `error`, a model failed.
    label: the class, None unless the status is `ok`.
    confidence: how probable the best class is, 0 to 1, calibrated; of `ok` and `unknown`, else None.
    top: (class, probability), best first; of `ok` and `unknown`.
    box: x1, y1, x2, y2 in pixels of the photo as it is seen, EXIF turned.
    kind: of vehicle (car, truck, bus); None where none was found, or the photos are cut out already.
    reason: why there is no label, that the photo had to be turned, or that two vehicles were equally prominent.
    vehicle: with `every_vehicle` the rank of this one in its photo, 1 for the main one; else None.
    """

    file: str
    status: Status
    label: str | None = None
    confidence: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    box: tuple[float, float, float, float] | None = None
    reason: str = ""
    vehicle: int | None = None
    kind: str | None = None

    def row(self) -> dict:
        """The same as plain lists and numbers; `vehicle` only where it is known."""
        plain = asdict(self)
        if self.vehicle is None:
            del plain[VEHICLE]
        return plain | {
            "top": [list(pair) for pair in self.top],
            "box": None if self.box is None else list(self.box),
        }

    def to_pandas(self) -> pandas.DataFrame:
        """One row."""
        return Predictions([self]).to_pandas()


class Predictions(list[Prediction]):
    """Predictions of several photos, in their order."""

    def to_pandas(self) -> pandas.DataFrame:
        """One row per prediction: the columns of `Prediction`, with `top` and `box` as lists."""
        import pandas

        rows = [prediction.row() for prediction in self]
        return pandas.DataFrame(rows, columns=columns(self))


def columns(predictions: Iterable[Prediction]) -> list[str]:
    """The names of the columns of these rows."""
    more = any(prediction.vehicle is not None for prediction in predictions)
    return [COLUMNS[0], *([VEHICLE] if more else []), *COLUMNS[1:]]


@dataclass(frozen=True)
class Recognition:
    """A prediction, and what led to it.

    probabilities: float32, one per class, calibrated; None without an answer.
    brightness: the mean of the photo's values, 0 to 1; size: its (height, width); None when it could not be read.
    others: how many other vehicles were found in the photo; None where none was looked for, or nothing was found.
    vector: float32 [F] of length 1, see `Classifier.predict_and_embed`; None without an answer, or where not asked for.
    photo, cutout, vehicle: kept only where asked for: the photo (RGB uint8 HxWx3), the cut-out that the classifier saw
        (RGB uint8), and the vehicle with its mask (bool HxW of the photo); None where there is none.
    """

    prediction: Prediction
    probabilities: np.ndarray | None = None
    brightness: float | None = None
    size: tuple[int, int] | None = None
    others: int | None = None
    vector: np.ndarray | None = None
    photo: np.ndarray | None = None
    cutout: np.ndarray | None = None
    vehicle: Vehicle | None = None


def decide(probabilities: np.ndarray, threshold: float) -> tuple[Status, int]:
    """Status `ok` or `unknown`, and the number of the best class. probabilities: float [C]."""
    best = int(np.argmax(probabilities))
    return (OK if float(probabilities[best]) >= threshold else UNKNOWN), best
