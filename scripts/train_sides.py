"""Trains what tells the side that a car is seen from, or measures it on the photos that report.

python scripts/train_sides.py DATA [--report] [--seed 1] [--views FILE] [--output carclf/weights/side.safetensors]

DATA is the folder of the data sets (`porsche`, `stanford_cars`, `dealer20`); data/splits/sides.csv says by content
which side their photos show, given by eye. Training fits to `fit`, with mirror images, other light, and details that
are cut out of the photos; temperature and least confidence are chosen on `choose`. With --report nothing is trained:
the figures are those of the photos that report, to be looked at once per version.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from colour_training.views import SPLITS, View, views_of

from carclf.tools.stock.side.features import LEAST, features_of
from carclf.tools.stock.side.reader import FAR, WEIGHTS_FILE, SideReader
from carclf.tools.stock.side.sides import KINDS, MIRRORED, OTHER
from detection.common.files import replace_file
from detection.common.networks.arrays import write_metadata
from detection.masks.parts import CHOOSE, FIT, REPORT, file_digest

LOOKS, DETAILS = 4, 1  # of each photo to fit to: in other light and cut a little otherwise, the first as it is
HIDDEN, STEPS, BATCH, RATE, DECAY, SOFT = 24, 700, 256, 1e-3, 2e-3, 0.05
DROPPED = (0.5, 0.2)  # parts of the features, and of the hidden layer, that a step does without
SURE = 0.97  # share of right answers among those that are called sure, on `choose`
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]


def main() -> int:
    parser = argparse.ArgumentParser(description="Trains or measures what tells the side that a car is seen from.")
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--report", action="store_true", help="measure on the photos that report, train nothing")
    parser.add_argument("--seed", type=int, default=1, help="of the training (1)")
    parser.add_argument("--views", type=Path, help="file that keeps the cars found, for the next training (npz)")
    parser.add_argument("--output", type=Path, default=WEIGHTS_FILE, help="the weights' file")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    if args.report:
        tell(SideReader.load(args.output), pairs(views_of(labelled(args.data, {REPORT}), args.views), rng))
        return 0
    views = views_of(labelled(args.data, {FIT, CHOOSE}), args.views)
    fitted = pairs([view for view in views if view.part == FIT], rng, LOOKS, DETAILS)
    choose = pairs([view for view in views if view.part == CHOOSE], rng, details=1)
    print(f"{len(fitted[0])} looks at {sum(view.part == FIT for view in views)} cars", flush=True)
    fit_and_write(fitted, choose, args.output, args.seed)
    return 0


def labelled(data: Path, wanted: set[str]) -> Iterator[tuple[str, Path, str, str, str]]:
    """(data set, photo, its part, side, group) of the photos of these parts."""
    import csv

    with open(SPLITS / "sides.csv", newline="", encoding="utf-8") as file:
        known = {row["sha256"]: row for row in csv.DictReader(file)}
    for source in ("porsche", "stanford_cars", "dealer20"):
        for path in sorted(one for one in (data / source / "images").rglob("*") if one.is_file()):
            row = known.get(file_digest(path), {})
            if row.get("part") in wanted:
                yield source, path, row["part"], row["side"], row["sha256"]


def pairs(views: Sequence[View], rng: np.random.Generator, looks: int = 1, details: int = 0) -> Pairs:
    """Features of cars and of their mirror images, float32 [N, 2, FEATURES], their kinds, int [N], the number of the
    view that each is of, and its data set, `detail` for a part of a car."""
    features, kinds, numbers, sources = [], [], [], []
    for number, view in enumerate(views):
        seen = [(view.rgb, view.mask, KINDS.index(view.word), view.source)]
        seen += [(*varied(view.rgb, view.mask, rng), *seen[0][2:]) for _ in range(looks - 1)]
        parts = [detail(view.rgb, view.mask, rng) for _ in range(details)]
        seen += [(*part, KINDS.index(OTHER), "detail") for part in parts if part is not None]
        for rgb, mask, kind, source in seen:
            both = [features_of(np.ascontiguousarray(rgb[:, ::way]), mask[:, ::way]) for way in (1, -1)]
            if both[0] is not None and both[1] is not None:
                features.append(both)
                kinds.append(kind)
                numbers.append(number)
                sources.append(source)
    return np.array(features, np.float32), np.array(kinds), np.array(numbers), sources


def varied(rgb: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The view moved, sheared and lit a little otherwise, as another camera and another detector would."""
    height, width = mask.shape
    (x1, x2), (y1, y2) = rng.uniform(-0.04, 0.04, 2) * width, rng.uniform(-0.04, 0.04, 2) * height
    shear = rng.normal(0, 0.03, 2)
    way = np.array([[1 + (x2 - x1) / width, shear[0], x1], [shear[1], 1 + (y2 - y1) / height, y1]], np.float32)
    rgb = cv2.warpAffine(rgb, way, (width, height), borderMode=cv2.BORDER_REPLICATE)
    light = 255 * (rgb / 255.0) ** np.exp(rng.normal(0, 0.25)) * rng.uniform(0.7, 1.2)
    rgb = np.clip(light, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.5, 1.5))
    return rgb, cv2.warpAffine(mask.astype(np.uint8), way, (width, height)) > 0


def detail(rgb: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """A part of the car, as if photographed from near by; None where it is too small for one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    high, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    for _ in range(20):
        down = int(min(high, wide) * rng.uniform(0.4, 0.65))
        across = int(down * rng.uniform(0.7, 1.5))
        if min(down, across) > LEAST + 1 and down < high and across < wide:
            top, left = rows[0] + rng.integers(0, high - down), columns[0] + rng.integers(0, wide - across)
            place = slice(top, top + down), slice(left, left + across)
            if mask[place].mean() > 0.6:
                return rgb[place], mask[place]
    return None


def fit_and_write(fitted: Pairs, choose: Pairs, output: Path, seed: int) -> None:
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(value, np.float16) for name, value in fit(*fitted[:2], seed).items()}
    plain = SideReader({name: value.astype(np.float32) for name, value in arrays.items()})
    temperature, least = calibrated(plain, choose)
    replace_file(output, save(arrays))
    write_metadata(output, {"sides": ",".join(KINDS), "temperature": str(temperature), "least": str(least)})
    print(f"temperature {temperature}, least confidence {least}, written to {output}")
    tell(SideReader.load(output), choose)


def fit(features: np.ndarray, kinds: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The weights by name, as `SideReader` takes them; each car counts as it is and in the mirror."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    flat = np.concatenate([features[:, 0], features[:, 1]]).astype(np.float64)
    mean, scale = flat.mean(axis=0), flat.std(axis=0) + 1e-3
    x = torch.from_numpy(np.clip((flat - mean) / scale, -FAR, FAR).astype(np.float32))
    y = torch.from_numpy(np.concatenate([kinds, np.array(MIRRORED)[kinds]]))
    first, second = torch.nn.Linear(x.shape[1], HIDDEN), torch.nn.Linear(HIDDEN, len(KINDS))
    drop = [torch.nn.Dropout(part) for part in DROPPED]
    net = torch.nn.Sequential(drop[0], first, torch.nn.ReLU(), drop[1], second)
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        some = torch.randint(len(x), (BATCH,))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x[some]), y[some], label_smoothing=SOFT).backward()
        optimizer.step()
    layers = {"first": first.weight, "first_bias": first.bias, "second": second.weight, "second_bias": second.bias}
    return {"mean": mean, "scale": scale, **{name: value.detach().numpy() for name, value in layers.items()}}


def calibrated(reader: SideReader, choose: Pairs) -> tuple[float, float]:
    """The temperature with the least log loss, and the least confidence from which on `SURE` of the sides are right."""
    features, kinds, _, _ = choose

    def loss(temperature: float) -> float:
        reader.temperature = temperature
        found = reader.of_features(features[:, 0], features[:, 1])
        return float(-np.log(np.maximum(found[np.arange(len(kinds)), kinds], 1e-9)).mean())

    temperature = min(np.round(np.arange(0.3, 2.01, 0.05), 2).tolist(), key=loss)
    reader.temperature = temperature
    found = reader.of_features(features[:, 0], features[:, 1])
    right, sure = found.argmax(axis=1) == kinds, found.max(axis=1)
    real = np.array([source != "detail" for source in choose[3]])
    for least in np.round(np.arange(0.3, 1.0, 0.05), 2).tolist():
        told = real & (sure >= least)
        if not told.any() or right[told].mean() >= SURE:
            break
    return temperature, least


def tell(reader: SideReader, some: Pairs) -> None:
    """Prints the figures, with 95 % intervals by a bootstrap over photos."""
    features, kinds, _, sources = some
    found = reader.of_features(features[:, 0], features[:, 1])
    right, sure = found.argmax(axis=1) == kinds, found.max(axis=1) >= reader.least
    named = np.array(sources)
    real = named != "detail"
    print(f"{'':12}     n  right if all are told     told  right of these")
    rows = [("all", real)] + [(name, named == name) for name in dict.fromkeys(sources)]
    rows += [(side, real & (kinds == number)) for number, side in enumerate(KINDS)]
    for name, which in rows:
        if which.any():
            told = which & sure
            every, some_told = interval(right[which]), interval(right[told])
            print(f"{name:13} {which.sum():4}  {every}  {sure[which].mean():.3f}  {some_told}")
    print("wrong among the told, truth > answer:")
    best = found.argmax(axis=1)
    for number in np.flatnonzero(real & sure & ~right):
        print(f"  {KINDS[kinds[number]]} > {KINDS[best[number]]}")
    both = real & (kinds < len(MIRRORED) - 1)
    mirrored = both & (np.array(MIRRORED)[kinds] != kinds) & (best == np.array(MIRRORED)[kinds])
    print(f"left for right: {mirrored.sum()} of {both.sum()}")


def interval(right: np.ndarray) -> str:
    if not len(right):
        return "-" + " " * 20
    draws = np.random.default_rng(0).choice(right, (2000, len(right))).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"{right.mean():.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    sys.exit(main())
