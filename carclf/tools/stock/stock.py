"""The whole of `carclf stock`: photos looked at once, put to their cars, and the two tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from carclf.classifier.catalogue import find_model
from carclf.classifier.garage.prior import Prior
from carclf.datasets.content import content_digests
from carclf.recognition.recognizer import CarRecognizer
from carclf.tools.audit.audit import TABLE as AUDIT
from carclf.tools.audit.looks import NAME, look_at
from carclf.tools.stock.car import StockCar, stock_car
from carclf.tools.stock.cars import LOOSE, folder_cars, look_cars
from carclf.tools.stock.issues import compare_photos, find_issues
from carclf.tools.stock.photo import StockPhoto, stock_measures, stock_photo
from carclf.tools.stock.side.reader import SideReader
from carclf.tools.stock.side.sides import wanted_sides
from detection.common.console import Track, untracked
from detection.common.errors import UsageError
from detection.common.files import escape_name, write_table
from detection.common.machine import threads_for_many
from detection.common.output_folder import OutputFolder, check_apart
from detection.common.tally import counted
from detection.images.find import survey_images

PHOTOS, CARS = "stock.csv", "cars.csv"
PHOTO_COLUMNS = ("file", "car", "status", "side", "confidence", "place", "issues", "notes", "taken")
CAR_COLUMNS = ("car", "photos", "sides", "missing", "unsure", "complete", "problems")
GROUPS = ("auto", "folder", "look")
_JOIN = "; "


@dataclass(frozen=True, eq=False)
class Stock:
    """root: the folder of the photos. cars: in the order of their names, or first photos. homeless: photos of which no
    one knows the car. wanted: the sides that each car should be seen from. notes: sentences to be told."""

    root: Path
    cars: Sequence[StockCar]
    homeless: Sequence[StockPhoto]
    wanted: Sequence[str]
    notes: list[str] = field(default_factory=list)

    @property
    def photos(self) -> list[StockPhoto]:
        """Of all cars, in the order of their adverts, and then those of none."""
        return [*(photo for car in self.cars for photo in car.photos), *self.homeless]

    @property
    def failed(self) -> int:
        """Photos that could not be looked at."""
        return sum(photo.failed for photo in self.photos)

    @property
    def complete(self) -> int:
        """Cars that nothing has to be done for."""
        return sum(not car.problems for car in self.cars)


def look_at_stock(
    source: Path,
    output: Path,
    group: str = "auto",
    sides: str | None = None,
    restart: bool = False,
    device: str = "auto",
    runtime: str = "auto",
    track: Track = untracked,
) -> Stock:
    """Looks at every photo below `source`; writes stock.csv and cars.csv into `output`. A second run resumes, and looks
    only at photos that are new or have changed.

    group: `folder`, where the photos in one folder are one car; `look`; `auto` takes folders where there are some.
    sides: names with commas, or `all`; None is `WANTED`. track: photos go through it. Raises `UsageError` for a folder
    without photos, for an unknown side or way to group, and for an `output` that holds something else.
    """
    if group not in GROUPS:
        raise UsageError(f"--group takes {', '.join(GROUPS[:-1])} or {GROUPS[-1]}, not '{group}'.")
    wanted = wanted_sides(sides)
    if not source.is_dir():
        raise UsageError(f"'{source}' is no folder: name the one that the cars' photos lie in.")
    taken = f"'{output}' holds the photos themselves, or lies among them: name a folder beside them."
    check_apart(source, output, same=taken, inside=taken, around=taken)
    folder = OutputFolder(output, lambda path: (path / NAME).is_file() and not (path / AUDIT).exists())
    folder.check(f"'{output}' exists and holds no stock: name a new folder.")
    found = survey_images(source)
    if not found.names:
        raise UsageError(f"The folder '{source}' holds no photo (.jpg, .png, .webp, ...): check the path.")
    reader = SideReader.load()
    recognizer = CarRecognizer(device=device, runtime=runtime, threads=threads_for_many(), colour=False)
    prior = find_model("bundled").prior(recognizer.classifier)
    folder.make(lambda: None)
    photos = _looked_at(source, list(found.names), recognizer, reader, output, restart, track)
    stock = arrange(source, photos, wanted, group, prior)
    stock.notes[:0] = found.notes
    write_table(output / PHOTOS, photo_rows(stock))
    write_table(output / CARS, car_rows(stock))
    return stock


def _looked_at(
    root: Path,
    names: Sequence[str],
    recognizer: CarRecognizer,
    reader: SideReader,
    output: Path,
    restart: bool,
    track: Track,
) -> list[StockPhoto]:
    paths = [root / name for name in names]
    files = [str(path) for path in paths]
    keys = [digest or file for digest, file in zip(content_digests(files), files, strict=True)]
    looks = look_at(recognizer, files, keys, output, restart, track, stock_measures(reader))
    return [
        stock_photo(path.relative_to(root).as_posix(), path, look, reader.least)
        for path, look in zip(paths, looks, strict=True)
    ]


def arrange(root: Path, photos: Sequence[StockPhoto], wanted: Sequence[str], group: str, prior: Prior | None) -> Stock:
    """Puts photos to their cars and notes what is wrong with them."""
    by_folder = group == "folder" or (group == "auto" and any("/" in photo.file for photo in photos))
    names = folder_cars(photos) if by_folder else look_cars(photos, prior)
    find_issues(photos)
    members: dict[str, list[StockPhoto]] = {}
    for photo, name in zip(photos, names, strict=True):
        photo.car = name
        members.setdefault(name, []).append(photo)
    homeless = members.pop("", [])
    for some in members.values():
        compare_photos(some, prior, by_folder)
    notes = []
    if by_folder and len(members) > 1 and LOOSE in members:
        notes.append(
            f"{counted(len(members[LOOSE]), 'photo lies', 'photos lie')} in no folder of a car: car '{LOOSE}'."
        )
    if homeless:
        notes.append(
            f"{counted(len(homeless), 'photo shows', 'photos show')} no car, and belong to none by their look."
        )
    return Stock(root, [stock_car(name, some, wanted) for name, some in members.items()], homeless, wanted, notes)


def photo_rows(stock: Stock) -> list[dict]:
    """One per photo, the values of `PHOTO_COLUMNS`."""
    return [
        {
            "file": escape_name(photo.file),
            "car": escape_name(photo.car),
            "status": photo.status,
            "side": photo.side,
            "confidence": "" if photo.confidence is None else f"{photo.confidence:.3f}",
            "place": "" if photo.place is None else photo.place,
            "issues": _JOIN.join(photo.issues),
            "notes": _JOIN.join(escape_name(note) for note in photo.issues.values() if note),
            "taken": "" if photo.taken is None else photo.taken.isoformat(),
        }
        for photo in stock.photos
    ]


def car_rows(stock: Stock) -> list[dict]:
    """One per car, the values of `CAR_COLUMNS`."""
    return [
        {
            "car": escape_name(car.name),
            "photos": len(car.photos),
            "sides": _JOIN.join(car.there),
            "missing": _JOIN.join(car.missing),
            "unsure": car.unsure,
            "complete": "no" if car.missing else "yes",
            "problems": _JOIN.join(car.problems),
        }
        for car in stock.cars
    ]


def summary(stock: Stock) -> list[str]:
    """Lines for the terminal."""
    lines = [f"{counted(len(stock.photos), 'photo')} of {counted(len(stock.cars), 'car')}, {stock.complete} ready."]
    problems: Counter[str] = Counter()
    for car in stock.cars:
        problems.update(car.counts)
        problems.update(f"no {side}" for side in car.missing)
    width = max(map(len, problems), default=0)
    lines += [f"  {name:<{width}}  {count}" for name, count in problems.most_common()]
    return [*lines, *stock.notes]
