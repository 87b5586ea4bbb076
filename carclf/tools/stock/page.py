"""The pages of a stock: index.html of all cars, and one per car, each a file that fetches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from carclf.runs.report.pages import Figure, render_page, write_page
from carclf.tools.stock.car import StockCar
from carclf.tools.stock.issues import HARMLESS, ISSUES
from carclf.tools.stock.photo import StockPhoto
from carclf.tools.stock.side.sides import ADVERT, SIDES
from carclf.tools.stock.stock import CARS, PHOTOS, Stock
from detection.common.console import Track, untracked
from detection.common.files import escape_name
from detection.common.tally import counted
from detection.images.read import ImageError, load_image

INDEX, FOLDER = "index.html", "cars"
_SMALL, _HIGH = 96, 200  # pixels of a picture on the index, and on a car's page


@dataclass(frozen=True, eq=False)
class Slot:
    """A photo on a car's page, or a side that is wanted and not there. image: RGB uint8, None where none can be shown.
    told: what is wrong, as (issue, note)."""

    title: str
    file: str = ""
    image: np.ndarray | None = None
    sure: float | None = None
    told: Sequence[tuple[str, str]] = ()
    missing: bool = False


def write_pages(stock: Stock, output: Path, track: Track = untracked) -> Path:
    """By temp file and rename; pages of an earlier run that no car has any more go away. track: cars go through it."""
    pages = output / FOLDER
    names = [f"{number:04}.html" for number in range(1, len(stock.cars) + 1)]
    entries = []
    for number, car in enumerate(track(stock.cars, len(stock.cars))):
        around = names[number - 1] if number else "", names[number + 1] if number + 1 < len(names) else ""
        write_page(_car_page(car, *around), pages / names[number])
        first = next(iter(car.advert or car.photos))
        entries.append(
            {
                "name": escape_name(car.name),
                "page": f"{FOLDER}/{names[number]}",
                "photos": len(car.photos),
                "image": _image(first, 2 * _SMALL),
                "ring": _ring(car),
                "there": car.there,
                "missing": car.missing,
                "problems": car.problems,
            }
        )
    for stale in pages.glob("[0-9][0-9][0-9][0-9]*.html") if pages.is_dir() else ():
        if stale.name not in names:
            stale.unlink()
    return write_page(
        render_page(
            "stock.html.j2",
            title="Photos of a stock",
            lead=f"{counted(len(stock.photos), 'photo')} of {counted(len(stock.cars), 'car')} in "
            f"{escape_name(stock.root.name)}: what is there, what is missing, what is wrong.",
            figures=_figures(stock),
            notes=stock.notes,
            wanted=stock.wanted,
            cars=entries,
            homeless=[_slot(photo, photo.file) for photo in stock.homeless],
            tables=(PHOTOS, CARS),
            small=_SMALL,
            high=_HIGH,
        ),
        output / INDEX,
    )


def _car_page(car: StockCar, before: str, after: str) -> str:
    slots = [_slot(photo, photo.side) for photo in car.advert]
    shown = [slot.title for slot in slots]
    for side in ADVERT:
        if side in car.missing and side not in shown:
            place = sum(ADVERT.index(one) < ADVERT.index(side) for one in shown)
            slots.insert(place, Slot(side, missing=True))
            shown.insert(place, side)
    return render_page(
        "stock_car.html.j2",
        title=escape_name(car.name),
        lead=f"{counted(len(car.photos), 'photo')}, {len(car.advert)} of them for the advert.",
        problems=car.problems,
        ring_dots=_ring(car),
        there=car.there,
        missing=car.missing,
        slots=slots,
        rest=[_slot(photo, photo.side or "side not sure") for photo in car.rest],
        before=before,
        after=after,
        index=f"../{INDEX}",
        high=_HIGH,
    )


def _slot(photo: StockPhoto, title: str) -> Slot:
    told = [(issue, escape_name(note)) for issue, note in photo.issues.items()]
    return Slot(title, escape_name(photo.file), _image(photo, 2 * _HIGH), photo.confidence, told)


def _image(photo: StockPhoto, side: int) -> np.ndarray | None:
    try:
        return load_image(photo.path, max_side=side)
    except (ImageError, OSError):
        return None


def _ring(car: StockCar) -> list[tuple[float, float, str, str]]:
    """A dot per side round a car that drives upwards: x and y from -1 to 1, what it is (there, missing, unasked), and
    the side."""
    dots = []
    for number, side in enumerate(SIDES):
        turn = 2 * np.pi * number / len(SIDES)
        state = "there" if side in car.there else "missing" if side in car.wanted else "unasked"
        dots.append((round(float(-np.sin(turn)), 3), round(float(-np.cos(turn)), 3), state, side))
    return dots


def _figures(stock: Stock) -> list[Figure]:
    cars, photos = len(stock.cars), stock.photos
    incomplete = sum(bool(car.missing) for car in stock.cars)
    faulty = sum(bool(photo.issues.keys() - HARMLESS) for photo in photos)
    unsure = sum(not photo.side and not photo.failed for photo in photos)
    named = ", ".join(issue for issue in ISSUES if any(issue in photo.issues for photo in photos))
    return [
        Figure(f"{cars:,}", "cars", counted(len(photos), "photo")),
        Figure(f"{stock.complete:,}", "ready", "nothing missing, nothing wrong"),
        Figure(f"{incomplete:,}", "with a side missing", "of those that are wanted"),
        Figure(f"{faulty:,}", "photos with a fault", named or "none"),
        Figure(f"{unsure:,}", "photos of unknown side", "seen too little, or between two sides"),
    ]
