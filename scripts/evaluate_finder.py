"""What the rule by which cars are found costs and brings, beside the two rules of version 0.4.0.

    python scripts/evaluate_finder.py DATA [--limit N]

DATA holds stanford_cars, porsche, weather, not_car and car_masks, laid out as in docs/detectors.md. The photos of each
kind are parted by a hash of their paths: the rule was chosen on the half `choose`, and `report` gives its figures. None
of them but part of not_car and car_masks was seen by the detector's training.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from detection import Vehicle, choose_main, load_detector, load_image
from detection.cutout.extract import detector_view
from detection.detectors.car_check import car_view
from detection.detectors.finder import VehicleFinder

Box = tuple[float, float, float, float]
Answer = Callable[[np.ndarray, list[Vehicle]], Vehicle | None]


def photos_of(data: Path) -> dict[str, list[tuple[Path, list[Box]]]]:
    """The photos of each kind, with the boxes (x1, y1, x2, y2 in pixels) of the cars that are to be found."""

    def below(*parts: str, step: int = 1) -> list[tuple[Path, list[Box]]]:
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


def _weather(folder: Path) -> list[tuple[Path, list[Box]]]:
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


def half_of(place: str) -> str:
    """The half that a photo belongs to, by its path below DATA with slashes."""
    return ("choose", "report")[int(hashlib.sha256(place.encode()).hexdigest(), 16) % 2]


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, help="N photos of each kind and half at most")
    arguments = parser.parse_args()
    finder = VehicleFinder(load_detector("compact", device="cpu"))
    low = finder.detector.with_threshold(0.3)  # as low as predict looked
    asked = rules(finder)
    seconds: list[float] = []
    for kind, photos in photos_of(arguments.data).items():
        halves: dict[str, list[tuple[Path, list[Box]]]] = {"choose": [], "report": []}
        for path, boxes in photos:
            halves[half_of(path.relative_to(arguments.data).as_posix())].append((path, boxes))
        for half, some in halves.items():
            some = some[: arguments.limit]
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


if __name__ == "__main__":
    main()
