"""How well photos come to their cars by their look, on adverts: photos of one advert show one car.

python benchmarks/stock.py DATA [--part choose|report] [--looks FOLDER]

DATA is the folder of the data sets: its `porsche` shows one make on white, two photos of most adverts, from two sides:
a hard case, and without times, so times are also made up (an advert's photos 10 to 40 s apart, the next advert 1 to 7
minutes later). Prints the adjusted Rand index and purity of `look_cars`, and of pairs of photos how often `strangers`
calls them two cars. `APART`, `ANOTHER` and the weights were chosen on `choose`.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import comb
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if TYPE_CHECKING:
    from carclf.classifier.garage.prior import Prior
    from carclf.tools.stock.photo import StockPhoto

SPLIT = Path(__file__).resolve().parents[1] / "data" / "splits" / "porsche.csv"


def measure(data: Path, part: str = "choose", looks: Path | None = None) -> None:
    from carclf.classifier.catalogue import find_model
    from carclf.recognition.recognizer import CarRecognizer
    from carclf.tools.audit.looks import look_at
    from carclf.tools.stock.photo import stock_measures, stock_photo
    from carclf.tools.stock.side.reader import SideReader
    from detection.masks.parts import file_digest, read_parts

    parts, porsche = read_parts(SPLIT), data / "porsche"
    with open(porsche / "labels.csv", newline="", encoding="utf-8") as file:
        known = [(row, porsche / "images" / row["file"]) for row in csv.DictReader(file)]
    wanted = [(row, path) for row, path in known if parts.get(file_digest(path)) == part]
    recognizer, reader = CarRecognizer(threads=1, colour=False), SideReader.load()
    prior = find_model("bundled").prior(recognizer.classifier)
    paths = [str(path) for _, path in wanted]
    folder = Path(mkdtemp()) if looks is None else looks
    found = list(look_at(recognizer, paths, paths, folder, more=stock_measures(reader)))
    photos = [stock_photo(path, Path(path), look, reader.least) for path, look in zip(paths, found, strict=True)]
    kept = [number for number, photo in enumerate(photos) if photo.vector is not None]
    photos, adverts = [photos[number] for number in kept], [wanted[number][0]["advert"] for number in kept]
    tell(photos, adverts, part, prior)


def tell(photos: Sequence[StockPhoto], adverts: Sequence[str], part: str, prior: Prior | None) -> None:
    from carclf.tools.stock.cars import look_cars, strangers

    print(f"{part}: {len(photos)} photos of {len(set(adverts))} adverts")
    print("by look:           " + told(adverts, look_cars(photos, prior)))
    clock = datetime(2026, 5, 1)
    rng, last = np.random.default_rng(0), ""
    for number in sorted(range(len(photos)), key=lambda number: adverts[number]):
        clock += timedelta(seconds=rng.uniform(10, 40) if adverts[number] == last else rng.uniform(60, 420))
        look, last = photos[number].look, adverts[number]
        assert look is not None
        photos[number].look = replace(look, more={**look.more, "taken": clock.isoformat()})
    print("with made-up times: " + told(adverts, look_cars(photos, prior)))
    pairs = np.array([(one, two) for one in range(len(photos)) for two in range(one)])
    same = np.array([adverts[one] == adverts[two] for one, two in pairs])
    apart = np.flatnonzero(~same)
    others = rng.choice(apart, min(2000, len(apart)), replace=False)
    for name, some in (("one car", np.flatnonzero(same)), ("two cars", others)):
        parted = np.array([bool(strangers([photos[one], photos[two]], prior)) for one, two in pairs[some]])
        draws = rng.choice(parted, (2000, len(parted))).mean(axis=1)
        low, high = np.percentile(draws, [2.5, 97.5])
        print(f"pairs of {name}: {len(parted)}, told apart {parted.mean():.3f} ({low:.3f} to {high:.3f})")


def told(truth: Sequence[str], cars: Sequence[str]) -> str:
    """Adjusted Rand index and purity, with 95 % intervals by a jackknife that leaves out a twentieth of the adverts: in
    a bootstrap, copies of an advert would agree with each other."""
    names = np.random.default_rng(0).permutation(sorted(set(truth)))
    parts = np.array_split(names, 20)
    left = []
    for part in parts:
        out = set(part)
        kept = [number for number, name in enumerate(truth) if name not in out]
        left.append(scores([truth[number] for number in kept], [cars[number] for number in kept]))
    whole, found = np.array(scores(truth, cars)), np.array(left)
    error = np.sqrt((len(parts) - 1) * ((found - found.mean(axis=0)) ** 2).mean(axis=0))
    words = [
        f"{what} {value:.3f} ({value - 1.96 * far:.3f} to {value + 1.96 * far:.3f})"
        for what, value, far in zip(("adjusted Rand index", "purity"), whole, error, strict=True)
    ]
    return f"{len(set(cars))} groups, {', '.join(words)}"


def scores(truth: Sequence[str], cars: Sequence[str]) -> tuple[float, float]:
    both, one, other = Counter(zip(truth, cars, strict=True)), Counter(truth), Counter(cars)
    joined, left, right = (sum(comb(count, 2) for count in counts.values()) for counts in (both, one, other))
    chance = left * right / comb(len(truth), 2)
    largest = Counter[str]()
    for (_, car), count in both.items():
        largest[car] = max(largest[car], count)
    return (joined - chance) / ((left + right) / 2 - chance), sum(largest.values()) / len(truth)


if __name__ == "__main__":
    typer.run(measure)
