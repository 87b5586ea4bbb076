"""One answer for one photo or vehicle, and how it follows from probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from carclf.classifier.levels.names import MAKE, Level

if TYPE_CHECKING:
    import pandas

    from detection.publishing.hiding.private import Private
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
# Columns more, where answers are at the deepest level that is sure.
LEVEL_COLUMNS = ("level", "make", "make_confidence", "model", "model_confidence", "year", "year_confidence")
COLOUR_COLUMNS = ("colour", "colour_confidence")  # columns more, where the paint is looked at
# Columns more, where something is hidden: those of `Private`, whose networks are not imported for their names.
HIDDEN_COLUMNS = (
    *("hidden", "hidden_at", "hidden_scores", "nearly_hidden", "nearly_at"),
    *("hidden_kinds", "nearly_kinds"),
)


@dataclass(frozen=True)
class Prediction:
    """What is known of one photo, or with `every_vehicle` of one vehicle in it.

    status: `ok`; `no_car`, nothing found; `unknown`, a car, but not one of the classes or too unsure; `unreadable`;
        `error`, a model failed.
    label: the class, or with levels the name at the level that is sure (`Audi S4`, `Audi`); None unless the status is
        `ok`.
    confidence: how probable the label is, 0 to 1, calibrated; of `unknown` the best class; else None.
    top: (class, probability), best first; of `ok` and `unknown`.
    box: x1, y1, x2, y2 in pixels of the photo as it is seen, EXIF turned.
    kind: of vehicle (car, truck, bus); None where none was found, or the photos are cut out already.
    reason: why there is no label, that the photo had to be turned, or that two vehicles were equally prominent.
    vehicle: with `every_vehicle` the rank of this one in its photo, 1 for the main one; else None.
    colour: the word for the paint, one of `carclf.classifier.colour.reader.WORDS`; None where none is sure, or without
        a mask. colour_confidence: how probable the best word is, 0 to 1, silver and grey counted as one; None without a
        mask.
    level: of the label: `class`, `model` or `make`. This and all that follows is None without levels.
    make, model, year: as far as they are sure: of a label `Audi` there is no model. A model is written with its make.
    make_confidence, model_confidence, year_confidence: how probable they are, 0 to 1; where they are not told, how
        probable the best ones are.
    likely: the most probable names one level below the label, at most two; no column of a row.
    private: what is hidden in pictures of the photo, and what nearly was, see `detection.publishing.hiding.private`;
        None where nothing was to be hidden.
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
    colour: str | None = None
    colour_confidence: float | None = None
    level: Level | None = None
    make: str | None = None
    make_confidence: float | None = None
    model: str | None = None
    model_confidence: float | None = None
    year: str | None = None
    year_confidence: float | None = None
    likely: tuple[str, ...] = ()
    private: Private | None = None

    @property
    def said(self) -> str:
        """The answer in words, such as `Audi, probably an S4 or an A4`; the status of what has no label."""
        return self.status if self.label is None else in_words(self.label, self.level, self.likely)

    def row(self) -> dict:
        """The same as plain lists and numbers; `vehicle`, the columns of levels, of the colour and of what is hidden
        only where they are known."""
        plain = asdict(replace(self, private=None))
        del plain["likely"], plain["private"]
        if self.vehicle is None:
            del plain[VEHICLE]
        for names, known in ((LEVEL_COLUMNS, self.make_confidence), (COLOUR_COLUMNS, self.colour_confidence)):
            if known is None:
                for name in names:
                    del plain[name]
        return plain | {
            "top": [list(pair) for pair in self.top],
            "box": None if self.box is None else list(self.box),
            **({} if self.private is None else self.private.values()),
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


def columns(predictions: Sequence[Prediction]) -> list[str]:
    """The names of the columns of these rows."""
    return list(
        row_columns(
            any(prediction.vehicle is not None for prediction in predictions),
            any(prediction.make_confidence is not None for prediction in predictions),
            any(prediction.colour_confidence is not None for prediction in predictions),
            any(prediction.private is not None for prediction in predictions),
        )
    )


def row_columns(
    every_vehicle: bool, levels: bool = False, colour: bool = False, hidden: bool = False
) -> tuple[str, ...]:
    """The names of a row's values; `vehicle` where every vehicle of a photo is named, and more of levels, colour and
    what is hidden."""
    place, last = COLUMNS.index("top"), COLUMNS.index("reason")
    first = (COLUMNS[0], *([VEHICLE] if every_vehicle else []), *COLUMNS[1:place])
    more, paint = LEVEL_COLUMNS if levels else (), COLOUR_COLUMNS if colour else ()
    return (*first, *more, *COLUMNS[place:last], *paint, *COLUMNS[last:], *(HIDDEN_COLUMNS if hidden else ()))


def in_words(label: str, level: Level | None, likely: Sequence[str]) -> str:
    """A label, and what it probably is below its level.

    >>> in_words("Audi", "make", ("Audi S4", "Audi A4"))
    'Audi, probably an S4 or an A4'
    >>> in_words("Audi S4", "model", ("Audi S4 Sedan 2012", "Audi S4 Sedan 2007"))
    'Audi S4, probably the Sedan 2012 or the Sedan 2007'
    """
    rest = [name.removeprefix(label).strip() for name in likely if name != label]
    if not rest:
        return label
    return f"{label}, probably {' or '.join(f'{_article(name, level)} {name}' for name in rest)}"


def _article(name: str, level: Level | None) -> str:
    """A word of letters that are spelled out, such as `S4`, begins with the sound of its first letter's name."""
    if level != MAKE:
        return "the"
    word = name.split()[0]
    spelled = any(one.isdigit() for one in word) or (len(word) < 4 and word.isupper())
    if word[0].isdigit():
        return "an" if word[0] == "8" or word in ("11", "18") else "a"
    return "an" if word[0] in ("AEFHILMNORSX" if spelled else "AEIOaeio") else "a"


@dataclass(frozen=True)
class Recognition:
    """A prediction, and what led to it.

    probabilities: float32, one per class, calibrated; None without an answer.
    brightness: the mean of the photo's values, 0 to 1; size: its (height, width); None when it could not be read.
    others: how many other vehicles were found in the photo; None where none was looked for, or nothing was found.
    vector: float32 [F] of length 1, see `Classifier.predict_and_embed`; None without an answer, or where not asked for.
    photo, cutout, vehicle: kept only where asked for: the photo (RGB uint8 HxWx3), the cut-out that the classifier saw
        (RGB uint8), and the vehicle with its mask (bool HxW of the photo); None where there is none. Where something is
        to be hidden, photo and cut-out have it hidden; the classifier saw it.
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
