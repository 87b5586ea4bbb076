"""What the rule by which cars are found costs and brings, beside the two rules of version 0.4.0.

    python scripts/evaluate_finder.py DATA [--limit N]

DATA holds stanford_cars, porsche, weather, not_car and car_masks, laid out as in docs/detectors.md. The photos of each
kind are parted by a hash of their paths: the rule was chosen on the half `choose`, and `report` gives its figures. None
of them but part of not_car and car_masks was seen by the detector's training.

    python scripts/evaluate_finder.py DATA --turned [--limit N]

turns each photo of a car by 90, 180 or 270 degrees, and tells how it is found and named with and without the second
look at turned photos, and what that look costs, also on upright photos and on those without a car. It also reads
dealer20. --half gives the figures of one half alone.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from carclf import CarRecognizer
from detection import Vehicle, choose_main, load_detector, load_image
from detection.cutout.extract import detector_view
from detection.detectors.check.car_check import car_view
from detection.detectors.finder import Finding, VehicleFinder
from detection.vehicle import TURNS, turned_array

Box = tuple[float, float, float, float]
Photo = tuple[Path, list[Box]]  # with the boxes (x1, y1, x2, y2 in pixels) of the cars that are to be found
HALVES = ("choose", "report")
EMPTY = ("other things", "other vehicles", "look-alikes", "scenes without")  # kinds that hold no car
Answer = Callable[[np.ndarray, list[Vehicle]], Vehicle | None]


def photos_of(data: Path) -> dict[str, list[Photo]]:
    """The photos of each kind."""

    def below(*parts: str, step: int = 1) -> list[Photo]:
        found = sorted(path for path in data.joinpath(*parts).rglob("*") if path.suffix in (".jpg", ".png", ".jpeg"))
        return [(path, []) for path in found[::step]]

    kinds = {
        "cars, tight": below("stanford_cars", "images", step=9),
        "cars on white": below("porsche", "images", step=2),
        "other things": below("not_car", "plain"),
        "other vehicles": below("not_car", "other_vehicles"),
        "look-alikes": below("not_car", "hard"),
    }
    scenes = data / "stanford_cars" / "scenes.csv"
    if scenes.is_file():
        with open(scenes, newline="", encoding="utf-8") as file:
            kinds["cars in scenes"] = [
                (scenes.parent / "scenes" / row["file"], [tuple(float(row[key]) for key in ("x1", "y1", "x2", "y2"))])
                for row in csv.DictReader(file)
            ]
    negatives = data / "car_masks" / "negatives.json"
    if negatives.is_file():
        names = [one["file_name"] for one in json.loads(negatives.read_text(encoding="utf-8"))["images"]]
        kinds["scenes without"] = [(negatives.parent / "images" / name, []) for name in names]
    kinds["cars in bad weather"] = _weather(data / "weather")
    return {kind: photos for kind, photos in kinds.items() if photos}


def _weather(folder: Path) -> list[Photo]:
    """The photos with a car, truck or bus of at least a tenth of the photo."""
    if not (folder / "boxes.json").is_file():
        return []
    told = json.loads((folder / "boxes.json").read_text(encoding="utf-8"))
    names = {one["id"]: one["name"] for one in told["categories"]}
    photos = {one["id"]: one for one in told["images"]}
    large: dict[int, list[Box]] = {}
    for one in told["annotations"]:
        x, y, width, height = one["bbox"]
        photo = photos[one["image_id"]]
        if (
            names[one["category_id"]] in ("car", "truck", "bus")
            and width * height >= 0.1 * photo["width"] * photo["height"]
        ):
            large.setdefault(one["image_id"], []).append((x, y, x + width, y + height))
    return [(folder / "images" / photos[number]["file_name"], boxes) for number, boxes in large.items()]


def rules(finder: VehicleFinder) -> dict[str, Answer]:
    """The main vehicle of a view by each rule; all get what the detector found, with the check's look of each."""

    def clean_0_4_0(view: np.ndarray, found: list[Vehicle]) -> Vehicle | None:
        return choose_main([one for one in found if one.score >= finder.sure], view.shape[:2])

    def predict_0_4_0(view: np.ndarray, found: list[Vehicle]) -> Vehicle | None:
        main = clean_0_4_0(view, found)
        least = 0.1 if main is not None else 0.3
        main = main or next(iter(found), None)
        return main if main is not None and main.look is not None and main.look.car >= least else None

    def now(view: np.ndarray, found: list[Vehicle]) -> Vehicle | None:
        (finding,) = finder.decide([lambda: view], [[one for one in found if one.score >= least]])
        if isinstance(finding, Exception):
            raise finding
        return finding.choice.main

    least = finder.detector.score_threshold
    return {"clean 0.4.0": clean_0_4_0, "predict 0.4.0": predict_0_4_0, "one finder": now}


@dataclass(frozen=True)
class Sample:
    """limit: the most photos of each kind and half, None for all. halves: those that are looked at."""

    data: Path
    limit: int | None
    halves: Sequence[str]

    def of(self, photos: list[Photo]) -> dict[str, list[Photo]]:
        """The photos of each half, evenly spread over all of them."""
        parted: dict[str, list[Photo]] = {half: [] for half in HALVES}
        for path, boxes in photos:
            parted[half_of(path.relative_to(self.data).as_posix())].append((path, boxes))
        taken = {}
        for half in self.halves:
            step = max(1, len(parted[half]) // (self.limit or len(parted[half]) or 1))
            taken[half] = parted[half][::step][: self.limit]
        return taken


def half_of(place: str) -> str:
    """The half that a photo belongs to, by its path below DATA with slashes."""
    return HALVES[int(hashlib.sha256(place.encode()).hexdigest(), 16) % 2]


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


def evaluate_rules(finder: VehicleFinder, sample: Sample) -> None:
    low = finder.detector.with_threshold(0.3)  # as low as predict looked
    asked = rules(finder)
    seconds: list[float] = []
    for kind, photos in photos_of(sample.data).items():
        for half, some in sample.of(photos).items():
            counts = dict.fromkeys(asked, 0)
            for path, boxes in some:
                image = load_image(path)
                view = detector_view(image)
                started = time.perf_counter()
                finder.decide([partial(np.asarray, view)], finder.find([view]))
                seconds.append(time.perf_counter() - started)
                found = low.detect([view])[0]
                looks = finder.check.look([car_view(view, one.box) for one in found]) if finder.check else []
                found = [replace(one, look=look) for one, look in zip(found, looks, strict=True)]
                scale = image.shape[1] / view.shape[1]
                for name, answer in asked.items():
                    vehicle = answer(view, found)
                    if vehicle is None:
                        continue
                    box = tuple(scale * value for value in vehicle.box)
                    counts[name] += not boxes or any(overlap(box, wanted) >= 0.5 for wanted in boxes)
            shown = ", ".join(f"{name} {count}" for name, count in counts.items())
            print(
                f"{kind}, {half}, {len(some)} photos given a car (at the box, where one is known): {shown}", flush=True
            )
    print(f"{1e3 * float(np.median(seconds)):.1f} ms per photo, detector and check (median of {len(seconds)})")


def evaluate_turned(finder: VehicleFinder, sample: Sample) -> None:
    """How each photo is found as it is and, if of a car, turned: with the finder's second look and without."""
    finders = {"one look": finder.earlier()[0], "two looks": finder}
    for kind, photos in _kinds_to_turn(sample.data).items():
        cars = kind not in EMPTY
        for half, some in sample.of(photos).items():
            for turned in (False, True) if cars else (False,):
                counts = {name: Counter() for name in finders}
                seconds: dict[str, list[float]] = {name: [] for name in finders}
                for number, (path, _) in enumerate(some):
                    degrees = TURNS[number % 3] if turned else 0
                    view = turned_array(detector_view(load_image(path)), degrees)
                    for name, one in finders.items():
                        started = time.perf_counter()
                        (finding,) = one.decide([partial(np.asarray, view)], one.find([view]))
                        seconds[name].append(time.perf_counter() - started)
                        counts[name][_verdict(finding, (360 - degrees) % 360 if cars else None)] += 1
                for name in finders:
                    shown = ", ".join(f"{verdict} {count}" for verdict, count in sorted(counts[name].items()))
                    what = f"{kind}, {half}, {len(some)} photos{' turned' * turned}, {name}"
                    print(f"{what}: {shown}; {1e3 * np.mean(seconds[name]):.0f} ms per photo", flush=True)


def evaluate_names(finder: VehicleFinder, sample: Sample) -> None:
    """What the bundled classifier calls the cars in turned scenes, beside their true names."""
    with open(sample.data / "stanford_cars" / "scenes.csv", newline="", encoding="utf-8") as file:
        names = {row["file"]: row["class"] for row in csv.DictReader(file)}
    scenes = sample.of(photos_of(sample.data)["cars in scenes"])
    recognizers = {
        look: CarRecognizer(
            detector=finder.detector.with_threshold(finder.sure), turned=look == "two looks", levels=False
        )
        for look in ("one look", "two looks")
    }
    for half, some in scenes.items():
        for turned in (False, True):
            images = [
                turned_array(load_image(path), TURNS[number % 3] * turned) for number, (path, _) in enumerate(some)
            ]
            for look, recognizer in recognizers.items():
                found = recognizer(images)
                counts = Counter(
                    ("right name" if one.label == names[path.name] else "wrong name") if one.label else one.status
                    for one, (path, _) in zip(found, some, strict=True)
                )
                shown = ", ".join(f"{verdict} {count}" for verdict, count in sorted(counts.items()))
                print(f"scenes{' turned' * turned}, {half}, {len(some)} photos, {look}: {shown}", flush=True)


def _kinds_to_turn(data: Path) -> dict[str, list[Photo]]:
    kinds = photos_of(data)
    dealers = sorted((data / "dealer20" / "images").rglob("*.jpg"))
    kinds["cars at dealers"] = [(path, []) for path in dealers]
    for name in ("hand", "auto", "street"):
        file = data / "car_masks" / f"{name}.json"
        if file.is_file():
            images = json.loads(file.read_text(encoding="utf-8"))["images"]
            kinds[f"car_masks {name}"] = [(file.parent / "images" / one["file_name"], []) for one in images]
    return kinds


def _verdict(finding: Finding | Exception, upright: int | None) -> str:
    """upright: by how many degrees the photo is to be turned; None where it holds no car."""
    if isinstance(finding, Exception):
        raise finding
    main = finding.choice.main
    if main is None:
        return "no car"
    if upright is None:
        return "a car"
    return ("upright" if main.turned == upright else "not upright") + (", unsure" if finding.weak else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, help="N photos of each kind and half at most")
    parser.add_argument("--turned", action="store_true", help="the second look at turned photos")
    parser.add_argument("--half", choices=HALVES, help="only this half")
    arguments = parser.parse_args()
    sample = Sample(arguments.data, arguments.limit, [arguments.half] if arguments.half else HALVES)
    finder = VehicleFinder(load_detector("compact", device="cpu"))
    if arguments.turned:
        evaluate_turned(finder, sample)
        evaluate_names(finder, sample)
    else:
        evaluate_rules(finder, sample)


if __name__ == "__main__":
    main()
