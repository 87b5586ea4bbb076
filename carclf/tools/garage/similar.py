"""`carclf similar`: the cars that look most like one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from carclf.recognition.recognizer import CarRecognizer
from carclf.tools.garage.page import Car, Section, write_cars
from carclf.tools.garage.vectors import VectorTable, nearest
from detection.common.errors import UsageError
from detection.common.tally import counted


@dataclass(frozen=True, eq=False)
class Found:
    """rows: rank (from 1), similarity (the cosine), file and label of each car, best first. asked, cars: as the page
    shows them."""

    rows: list[dict]
    asked: Car
    cars: list[Car]


def find_similar(recognizer: CarRecognizer, photo: str, table: VectorTable, count: int) -> Found:
    """The `count` cars of `table` that look most like the main one of a photo, which is itself left out.

    Raises `UsageError` for a photo without a car, and for vectors of another model.
    """
    if table.model and table.model != recognizer.classifier.fingerprint:
        raise UsageError(
            f"The vectors are of another model than '{recognizer.name}': name theirs with --model, or make them again."
        )
    (seen,) = list(recognizer.recognize_fully([photo], vectors=True))
    answer = seen.prediction
    if seen.vector is None:
        raise UsageError(f"'{photo}' shows no car to compare with ({answer.status}: {answer.reason}).")
    own = Path(photo).absolute()
    others = table.only(table.there & [Path(row["file"]).absolute() != own for row in table.rows])
    rows, cars = [], []
    for rank, (place, cosine) in enumerate(nearest(others.vectors, seen.vector, count), start=1):
        row = others.rows[place]
        rows.append({"rank": rank, "similarity": round(cosine, 4), "file": row["file"], "label": row["label"]})
        cars.append(Car(row["file"], row["box"], f"{rank}. {cosine:.3f}"))
    return Found(rows, Car(photo, answer.box), cars)


def write_similar(page: Path, photo: str, found: Found) -> None:
    """The photo's car and those that look like it, as an HTML page."""
    lead = (
        f"{counted(len(found.cars), 'car')} that look most like {Path(photo).name}, with the cosine of their vectors."
    )
    sections = [Section("The photo", [found.asked]), Section("Look-alikes", found.cars)]
    write_cars(page, "Cars that look alike", lead, sections)
