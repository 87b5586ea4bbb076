"""Writes which of the project's photos are fitted to, chosen by and reported on, as lists of content hashes.

python scripts/split_photos.py DATA [--output data/splits] [--seed 1]

DATA is the folder of the data sets, each in a folder of the name of its list; one that is missing keeps its list.
A list that is there is kept, and only new photos are added to it: no photo ever leaves its part.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pandas as pd

from carclf.datasets.content import OWN, with_digests
from carclf.datasets.copies import joined, picture_numbers
from carclf.datasets.parts import assign_parts
from detection.common.config import read_config
from detection.common.errors import UsageError
from detection.common.files import write_table
from detection.images.duplicates import near_duplicate_groups
from detection.images.find import find_images
from detection.masks.parts import CHOOSE, FIT, PART, REPORT, read_parts
from detection.masks.records import photo_hash, read_source, split_records
from detection.training.config import DetectorTraining

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "carclf" / "weights"
BITS = 10  # photos whose difference hashes differ by at most so many bits stay together, as in training detectors
FOLDERS = {"stanford196": "stanford_cars"}  # of lists that are not named like theirs
SMALL = {REPORT: 0.25, CHOOSE: 0.2}


def main() -> int:
    parser = argparse.ArgumentParser(description="Lists of the photos to fit to, to choose by and to report on.")
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--output", type=Path, default=ROOT / "data" / "splits", help="folder of the lists")
    parser.add_argument("--seed", type=int, default=1, help="for photos that are in no list yet (1)")
    args = parser.parse_args()
    try:
        for name, split in SETS.items():
            if not (args.data / FOLDERS.get(name, name)).is_dir():
                print(f"{name}: not in {args.data}, its list stays as it is", file=sys.stderr)
                continue
            path = args.output / f"{name}.csv"
            before = read_parts(path) if path.is_file() else {}
            after = before | split(args.data, before, args.seed)
            moved = [digest for digest, part in before.items() if after[digest] != part]
            assert not moved, f"{name}: {len(moved)} photos would change their part"
            write_table(path, pd.DataFrame(sorted(after.items()), columns=[OWN, PART]))
            counts = pd.Series(list(after.values())).value_counts()
            print(f"{name}: {counts.to_dict()}, {len(after) - len(before)} of them new")
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def stanford_cars(data: Path, before: Mapping[str, str], seed: int) -> dict[str, str]:
    """A scene and the crop of the same photo are on one side; scenes are never fitted to, there are so few.

    What chose the weights of 0.4.0 goes on choosing.
    """
    root = data / "stanford_cars"
    photos = _listed(root / "labels.csv", root / "images")
    scenes = _listed(root / "scenes.csv", root / "scenes")
    everything = pd.concat([photos, scenes], ignore_index=True)
    everything["group"] = joined(_near(everything["file"]), [Path(file).name for file in everything["file"]])
    known = _chosen_on(photos, "stanford196@0.4_held_out.csv", root / "images") | dict(before)
    crowd = everything["group"].isin(everything["group"][len(photos) :])
    # The few corner views are spread, too. A crop has the label of its scene, or there would be groups of two labels.
    views = dict(zip((Path(file).name for file in scenes["file"]), scenes["view"], strict=True))
    kinds = everything.assign(label=[views.get(Path(file).name, "other") for file in everything["file"]])
    known |= assign_parts(kinds[crowd], {REPORT: 0.5}, known, seed, rest=CHOOSE)
    return assign_parts(everything, {REPORT: 0.1, CHOOSE: 0.1}, known, seed)


def stanford196(data: Path, before: Mapping[str, str], seed: int) -> dict[str, str]:
    """For trainings that start from the `stanford196` of 0.4.0, which has seen photos of every part of `stanford_cars`,
    and nobody knows which: the photos that it held out choose and report, half of each class, and the others fit. Those
    that look like one of the held-out photos are in no part.
    """
    root = data / "stanford_cars"
    photos = _listed(root / "labels.csv", root / "images")
    photos["group"] = _near(photos["file"])
    held = photos[OWN].isin(_chosen_on(photos, "stanford196@0.4_held_out.csv", root / "images").keys())
    known = dict(before) | dict.fromkeys(photos[OWN][~photos["group"].isin(photos["group"][held])], FIT)
    return assign_parts(photos[held], {REPORT: 0.5}, known, seed, rest=CHOOSE) | known


def dealer20(data: Path, before: Mapping[str, str], seed: int) -> dict[str, str]:
    """At 10 bits, cars of several models before one dealer's backdrop would be one group."""
    root = data / "dealer20"
    photos = _listed(root / "labels.csv", root / "images")
    known = _chosen_on(photos, "dealer19@0.4_held_out.csv", root / "images") | _chosen_by_detector(data, "dealer")
    return assign_parts(photos.assign(group=_near(photos["file"], bits=8)), SMALL, known | dict(before), seed)


def car_masks(data: Path, before: Mapping[str, str], seed: int) -> dict[str, str]:
    """Shares of each source of each file of masks."""
    root = data / "car_masks"
    rows = []
    for file in sorted(root.glob("*.json")):
        images = json.loads(file.read_text(encoding="utf-8"))["images"]
        rows += [(str(root / "images" / one["file_name"]), f"{file.stem} {one['source']}") for one in images]
    photos = _photos([file for file, _ in rows], [label for _, label in rows])
    known = _chosen_by_detector(data, "hand", "negatives") | dict(before)
    return assign_parts(photos.assign(group=_near(photos["file"])), SMALL, known, seed)


def weather(data: Path, before: Mapping[str, str], seed: int) -> dict[str, str]:
    """By kind of weather, which the names begin with."""
    files = _files(data / "weather" / "images")
    photos = _photos(files, [Path(file).name.rpartition("-")[0] for file in files])
    return assign_parts(photos.assign(group=_near(photos["file"])), SMALL, before, seed)


def not_car(data: Path, before: Mapping[str, str], seed: int) -> dict[str, str]:
    files = _files(data / "not_car")
    photos = _photos(files, [Path(file).parent.name for file in files])
    known = _chosen_by_detector(data, "plain", "other_vehicles") | dict(before)
    return assign_parts(photos.assign(group=_near(photos["file"])), SMALL, known, seed)


def porsche(data: Path, before: Mapping[str, str], seed: int) -> dict[str, str]:
    """Adverts together. The hash takes all cars on white for one, so copies are told by the closer look."""
    root = data / "porsche"
    photos = _listed(root / "labels.csv", root / "images")
    copies = [str(number) for number in picture_numbers(photos["file"].tolist())]
    return assign_parts(photos.assign(group=joined(copies, photos["advert"].tolist())), SMALL, before, seed)


def plates(data: Path, before: Mapping[str, str], seed: int) -> dict[str, str]:
    files = _files(data / "plates" / "images")
    photos = _photos(files, ["street"] * len(files))
    return assign_parts(photos.assign(group=_near(photos["file"])), SMALL, before, seed)


SETS = {
    one.__name__: one for one in (stanford_cars, stanford196, dealer20, car_masks, weather, not_car, porsche, plates)
}


def _photos(files: Sequence[str], labels: Sequence[str]) -> pd.DataFrame:
    return with_digests(pd.DataFrame({"file": files, "label": labels}))


def _listed(listing: Path, images: Path) -> pd.DataFrame:
    """The rows of a csv, with label for its column class and file as absolute paths."""
    with open(listing, newline="", encoding="utf-8") as file:
        rows = pd.DataFrame(list(csv.DictReader(file)))
    return with_digests(rows.assign(file=[str(images / name) for name in rows["file"]], label=rows["class"]))


def _files(folder: Path) -> list[str]:
    return [str(file) for file in find_images(folder)]


def _near(files: Sequence[str], bits: int = BITS) -> list[int]:
    groups = near_duplicate_groups([photo_hash(file) for file in files], bits)
    numbers = {index: number for number, group in enumerate(groups) for index in group}
    return [numbers[index] for index in range(len(files))]


def _chosen_on(photos: pd.DataFrame, listing: str, images: Path) -> dict[str, str]:
    """Photos that chose the weights of 0.4.0: they go on choosing."""
    names = pd.read_csv(WEIGHTS / listing, dtype=str, keep_default_na=False)["file"]
    held = photos["file"].isin([str(images / name) for name in names])
    return dict.fromkeys(photos[OWN][held], CHOOSE)


def _chosen_by_detector(data: Path, *sources: str) -> dict[str, str]:
    """The same of the bundled detector, whose recipe tells which photos it held out."""
    config: DetectorTraining = read_config(
        DetectorTraining, ROOT / "configs" / "detector" / "compact.yaml", [f"data={data}"]
    )
    files: list[str] = []
    for source in config.sources:
        if source.name in sources:
            files += [record.path for record in split_records(read_source(source), source.validation, 0)[1]]
    return dict.fromkeys(_photos(files, [""] * len(files))[OWN], CHOOSE)


if __name__ == "__main__":
    sys.exit(main())
