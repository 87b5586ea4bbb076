"""How many number plates are hidden, what else is, and what that takes.

    python benchmarks/plates.py DATA [--part choose] [--margin 0.3] [--threshold X ...] [--elsewhere X]

DATA is the folder of data sets. The photos of `plates` have a box for every plate; `data/splits/plates.csv` says which
belong to the part. Printed are, by the widths of plates in pixels of the photo, how many are hidden (60 % of the
inner box) and how much of their area; how many photos have something else hidden, of 0.2 % of the photo and at all;
and the milliseconds that the network takes per photo and per vehicle that was found, on one core. In brackets are 95 %
intervals: by bootstrap over the photos, or Wilson's where no photo or every photo counts. Several thresholds can be
compared at once, on the part *choose*.

What is hidden is what `carclf hide` covers, in the photo's own pixels; what JPEG changes beside it does not count.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np

from detection import load_detector, load_image
from detection.cutout.extract import detector_view
from detection.detectors.finder import Finding, VehicleFinder
from detection.masks.parts import PARTS, REPORT, part_of, read_parts
from detection.publishing.hiding.cover import HideStyle, cover
from detection.publishing.hiding.plates import LEAST, Plate, PlateFinder
from detection.publishing.hiding.private import find_private

ROOT = Path(__file__).resolve().parents[1]
WIDE, NARROW = 20, 10  # pixels
HIDDEN, ELSE = 0.6, 0.002  # of a plate's inner box, and of the photo
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Photo:
    """What was found in a photo. size: (height, width). boxes: of its plates. found: what may be plates, sure or not.

    seconds: of the network. vehicles: that were found."""

    size: tuple[int, int]
    boxes: Sequence[Box]
    found: Sequence[Plate]
    seconds: float
    vehicles: int


@dataclass(frozen=True)
class Hidden:
    """What is hidden in a photo. plates: (width in pixels, whether hidden, share of the area) of each.

    others: the share of the photo that is hidden beside plates."""

    plates: Sequence[tuple[float, bool, float]]
    others: float


def main() -> None:
    parser = argparse.ArgumentParser(description="Number plates that are hidden, and what else is.")
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--part", choices=PARTS, default="choose", help="which photos (choose)")
    own = HideStyle()
    parser.add_argument("--margin", type=float, default=own.margin, help=f"as of carclf hide ({own.margin})")
    parser.add_argument("--threshold", type=float, nargs="+", default=[own.threshold], help=f"({own.threshold})")
    parser.add_argument("--elsewhere", type=float, default=own.elsewhere, help=f"beside vehicles ({own.elsewhere})")
    args = parser.parse_args()
    if args.part == REPORT and len(args.threshold) > 1:
        parser.error("thresholds are compared on choose; report is for the one that was chosen")
    photos = list(measure(args.data, args.part))
    print(f"{len(photos)} photos, {sum(len(photo.boxes) for photo in photos)} plates")
    for threshold in args.threshold:
        style = HideStyle(margin=args.margin, threshold=threshold, elsewhere=max(threshold, args.elsewhere))
        print(f"\nthreshold {threshold}, margin {args.margin}")
        report([hidden_in(photo, style) for photo in photos])
    seconds = np.array([photo.seconds for photo in photos])
    vehicles = sum(photo.vehicles for photo in photos)
    print(f"\nms per photo: median {np.median(seconds) * 1e3:.1f}; per vehicle: {seconds.sum() / vehicles * 1e3:.1f}")


def measure(data: Path, part: str) -> Iterator[Photo]:
    """Each photo of the part."""
    cv2.setNumThreads(1)
    parts = read_parts(ROOT / "data" / "splits" / "plates.csv")
    finder, plates = VehicleFinder(load_detector("compact", device="cpu")), PlateFinder(threads=1)
    plates.find(np.zeros((64, 64, 3), np.uint8))  # opens the network
    everything = HideStyle(threshold=LEAST, elsewhere=LEAST)
    for name, boxes in sorted(json.loads((data / "plates" / "boxes.json").read_text()).items()):
        path = data / "plates" / "images" / name
        if part_of(path, parts) != part:
            continue
        image = load_image(path)
        finding = found_in(finder, image)
        start = time.thread_time()
        private = find_private(image, finding.choice, finding.found, everything, plates)
        seconds = time.thread_time() - start
        yield Photo(image.shape[:2], boxes, private.hidden, seconds, max(1, len(finding.found)))


def hidden_in(photo: Photo, style: HideStyle) -> Hidden:
    hidden = np.zeros(photo.size, np.uint8)
    for plate in photo.found:
        if plate.score >= (style.threshold if plate.on_vehicle else style.elsewhere):
            hidden |= covered(photo.size, plate.corners, style)
    return Hidden(list(_plates(hidden, photo.boxes)), _others(hidden, photo.boxes))


def found_in(finder: VehicleFinder, image: np.ndarray) -> Finding:
    """The vehicles of a photo, as `carclf hide` finds them."""
    view = detector_view(image)
    (finding,) = finder.decide([lambda: view], finder.find([view]), every=True)
    if isinstance(finding, Exception):
        raise finding
    return finding


def covered(size: tuple[int, int], corners: np.ndarray, style: HideStyle) -> np.ndarray:
    """Which pixels (uint8 0 or 1, of (height, width) `size`) `cover` changes."""
    blank = np.zeros((*size, 1), np.uint8)
    cover(blank, corners, style.model_copy(update={"way": "blur"}))  # on black it shows a brighter shade
    return (blank[..., 0] > 0).astype(np.uint8)


def _plates(hidden: np.ndarray, boxes: Sequence[Box]) -> Iterator[tuple[float, bool, float]]:
    for x1, y1, x2, y2 in boxes:
        left, top = max(0, int(x1)), max(0, int(y1))
        right, bottom = min(hidden.shape[1], int(np.ceil(x2))), min(hidden.shape[0], int(np.ceil(y2)))
        wide, high = right - left, bottom - top
        # A plate on the slant leaves the corners of its box free.
        inner = hidden[top + high // 8 : bottom - high // 8, left + wide // 12 : right - wide // 12]
        yield float(wide), bool(inner.size and inner.mean() >= HIDDEN), float(inner.mean()) if inner.size else 0.0


def _others(hidden: np.ndarray, boxes: Sequence[Box]) -> float:
    left = hidden.copy()
    for x1, y1, x2, y2 in boxes:
        wide, high = int(x2 - x1), int(y2 - y1)
        top, start = max(0, int(y1) - high), max(0, int(x1) - wide // 2)
        left[top : int(y2) + high, start : int(x2) + wide // 2] = 0
    return float(left.mean())


def report(photos: Sequence[Hidden]) -> None:
    for text, least, most in ((f"{WIDE} px and more", WIDE, np.inf), (f"{NARROW} to {WIDE} px", NARROW, WIDE)):
        several = [[one for one in photo.plates if least <= one[0] < most] for photo in photos]
        count = sum(map(len, several))
        _line(f"plates of {text} hidden, n {count}", [[float(one[1]) for one in some] for some in several])
        _line("  of the hidden ones' area covered", [[one[2] for one in some if one[1]] for some in several])
        _line("  of these with 95 % covered", [[float(one[2] >= 0.95) for one in some if one[1]] for some in several])
    _line(f"photos with {ELSE:.1%} hidden beside plates", [[float(photo.others > ELSE)] for photo in photos])
    _line("photos with anything hidden beside plates", [[float(photo.others > 0)] for photo in photos])


def _line(text: str, values: Sequence[Sequence[float]]) -> None:
    """The mean over all values, and its interval by bootstrap over the photos that they come from."""
    several = [np.array(some) for some in values if some]
    if not several:
        print(f"{text}: none")
        return
    mean = _mean(several)
    rng = np.random.default_rng(0)
    draws = (_mean([several[one] for one in rng.integers(len(several), size=len(several))]) for _ in range(2000))
    low, high = np.quantile(list(draws), [0.025, 0.975]) if 0 < mean < 1 else _wilson(mean, len(several))
    print(f"{text}: {mean:.3f} ({low:.3f} to {high:.3f})")


def _mean(several: Sequence[np.ndarray]) -> float:
    return float(np.concatenate(several).mean())


def _wilson(share: float, count: int) -> tuple[float, float]:
    z = 1.96
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return middle - reach, middle + reach


if __name__ == "__main__":
    main()
