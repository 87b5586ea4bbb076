"""How many faces `carclf hide --what faces` finds, by their size, what else it takes for a face, and what that costs.

    python benchmarks/faces.py DATA [--part choose] [--threshold 0.5] [--sample 100]

DATA is a folder with plates/, car_masks/, stanford_cars/, dealer20/ and not_car/. faces.csv beside this file has a box
around each face of some of their photos (COCO and Open Images), by the photos' content: `sha256` is its start.
The boxes come from two detectors with a low threshold, at several scales; a person looked at each photo enlarged, kept
the boxes that are faces, and added those that both had missed. Heads from behind are no faces.
A face is found by a box with an IoU of 0.3 or more; it is covered by how much of it lies in what is hidden.
Finds in photos of the other three sets are counted as they are: a few of these show people. Of these, too, every other
photo, by its content, chooses. --part report is to be run once per version.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from detection.common.files import file_sha256
from detection.cutout.extract import detector_view
from detection.detectors.finder import VehicleFinder
from detection.detectors.load import load_detector
from detection.images.find import find_images
from detection.images.read import load_image
from detection.publishing.hiding.cover import HideStyle, grow
from detection.publishing.hiding.faces import Face, FaceFinder
from detection.publishing.hiding.private import find_private

LABELS = Path(__file__).with_suffix(".csv")
LABELLED, OTHERS = ("plates/images", "car_masks/images"), ("stanford_cars/images", "dealer20/images", "not_car")
SIZES = {"8 to 16 px": (8, 16), "16 to 32 px": (16, 32), "32 to 64 px": (32, 64), "64 px and more": (64, 1e9)}
SIZES["16 px and more"] = (16, 1e9)  # of the box's longer side
FOUND, ROUNDS = 0.3, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", choices=("choose", "report"), default="choose")
    parser.add_argument("--threshold", type=float, default=HideStyle().face_threshold)
    parser.add_argument("--sample", type=int, default=100, help="photos of each of the other sets (100)")
    arguments = parser.parse_args()
    style = HideStyle(what=("faces",), face_threshold=arguments.threshold, face_near=min(0.1, arguments.threshold))
    vehicles, finder, times = VehicleFinder(load_detector("compact", device="cpu")), FaceFinder(threads=1), []

    def look(path: Path) -> list[Face]:
        """What `carclf hide` would cover."""
        image = load_image(path)
        view = detector_view(image)
        finding = vehicles.decide([lambda: view], vehicles.find([view]))[0]
        if isinstance(finding, Exception):
            raise finding
        start = time.process_time()
        private = find_private(image, finding.choice, finding.found, style, faces=finder)
        times.append(time.process_time() - start)
        return list(private.hidden)

    labels = read_labels(arguments.part)
    photos = {name: path for path, name in _named(arguments.data, LABELLED) if name in labels}
    if missing := labels.keys() - photos.keys():
        print(f"{len(missing)} photos of {LABELS.name} are not in {arguments.data}.")
    finds = {name: look(path) for name, path in photos.items()}
    print(f"{arguments.part}: {len(finds)} photos with {sum(len(labels[name]) for name in finds)} faces")
    for size, (least, most) in SIZES.items():
        shares = []
        for name, faces in finds.items():
            boxes = [box for box in labels[name] if least <= max(box[2] - box[0], box[3] - box[1]) < most]
            shares.append([(found(box, faces), covered(box, faces)) for box in boxes])
        print(f"{size:15} found {told(shares, 0)}, area covered {told(shares, 1)}")
    for folder in OTHERS:
        mine = [path for path, name in _named(arguments.data, (folder,)) if part_of(name) == arguments.part]
        chosen = np.random.default_rng(0).permutation(len(mine))[: arguments.sample]
        counts = [len(look(mine[number])) for number in chosen]
        hit = [[(float(count > 0),)] for count in counts]
        print(f"{folder}: a face is hidden in {told(hit, 0)} of photos; {sum(counts)} in all")
    print(f"{1000 * np.median(times):.0f} ms of one core per photo (median of {len(times)})")


def read_labels(part: str) -> dict[str, list[tuple[float, ...]]]:
    """Boxes (x1, y1, x2, y2 in pixels) by the photo's hash."""
    labels = defaultdict(list)
    with LABELS.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["part"] == part:
                labels[row["sha256"]].append(tuple(float(row[name]) for name in ("x1", "y1", "x2", "y2")))
    return dict(labels)


def part_of(name: str) -> str:
    """Of a photo by its hash: as in faces.csv."""
    return "report" if int(name[:4], 16) % 2 else "choose"


def found(box: Sequence[float], faces: Sequence[Face]) -> float:
    return float(any(_iou(box, face.box) >= FOUND for face in faces))


def covered(box: Sequence[float], faces: Sequence[Face]) -> float:
    """The share of a box that is hidden, by the faces found and the usual margin."""
    x1, y1, x2, y2 = (round(value) for value in box)
    hidden = np.zeros((y2 - y1, x2 - x1), bool)
    for face in faces:
        corners = np.maximum(np.round(grow(face.corners, HideStyle().margin) - (x1, y1)), 0).astype(int)
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        hidden[top:bottom, left:right] = True
    return float(hidden.mean())


def told(photos: Sequence[Sequence[tuple[float, ...]]], place: int) -> str:
    """The mean of a value over all that photos hold, and its 95 % interval, by a bootstrap over photos."""
    values = [[one[place] for one in photo] for photo in photos if photo]
    if not values:
        return "none"
    sums, counts = np.array([sum(photo) for photo in values]), np.array([len(photo) for photo in values])
    drawn = np.random.default_rng(0).integers(0, len(values), (ROUNDS, len(values)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), (2.5, 97.5))
    return f"{sums.sum() / counts.sum():.3f} ({low:.3f} to {high:.3f}, n={counts.sum()})"


def _named(data: Path, folders: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Photos and the first 16 digits of their hash, in the order of their names."""
    for folder in folders:
        for path in find_images(data / folder):
            yield path, file_sha256(path).hex()[:16]


def _iou(one: Sequence[float], other: Sequence[float]) -> float:
    across, down = (min(one[n + 2], other[n + 2]) - max(one[n], other[n]) for n in (0, 1))
    both = max(0.0, across) * max(0.0, down)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)


if __name__ == "__main__":
    main()
