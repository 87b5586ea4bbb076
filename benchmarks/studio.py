"""How often the studio is right about glass and views, how even it makes photos, and how little it moves paints' hues.

    python benchmarks/studio.py DATA [--part choose] [glass] [views] [tone]

DATA is a folder with car_masks/, stanford_cars/ and dealer20/, whose photos data/splits lists.
glass: panes that were drawn by hand on 54 photos of car_masks (benchmarks/glass_panes.json), half of them of each part,
the car by its mask in auto.json. precision is the part of what is toned that is a pane, recall the part of the panes
that is toned, by area.
views: the scenes of Stanford Cars that say whether they show a side, by their boxes.
tone: photos of dealer20 with a soft cut-out, which says what is car.
--part choose is what everything was chosen by; --part report is to be run once per version. Intervals are 95 %, by
bootstrap over photos.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from detection.images.read import load_image
from detection.masks.parts import file_digest, part_of, read_parts
from detection.publishing.studio.framing import view_of
from detection.publishing.studio.glass import find_glass
from detection.publishing.studio.tone import even_tone, hue_moved, toned

ROOT = Path(__file__).resolve().parents[1]
SPLITS = ROOT / "data" / "splits"
PANES = Path(__file__).with_name("glass_panes.json")
ROUNDS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("what", nargs="*", help="glass, views, tone; all without")
    parser.add_argument("--part", choices=("choose", "report"), default="choose")
    arguments = parser.parse_args()
    for what in arguments.what or ("glass", "views", "tone"):
        {"glass": glass, "views": views, "tone": tone}[what](arguments.data, arguments.part)


def glass(data: Path, part: str) -> None:
    rows = np.array([[*counts] for counts in _panes(data / "car_masks", part)], float)
    acted = rows[rows[:, 1] > 0]
    print(f"glass, {part}: {len(rows)} photos, panes toned in {len(acted)}")
    _print("precision, of all that is toned", acted, lambda some: some[:, 2].sum() / some[:, 1].sum())
    _print("recall, in all photos", rows, lambda some: some[:, 2].sum() / some[:, 0].sum())
    _print("IoU, in photos where something is toned", acted, lambda some: (some[:, 2] / some[:, 3]).mean())


def _panes(folder: Path, part: str) -> Iterator[tuple[int, int, int, int]]:
    """Of each photo: pixels of panes, of what is toned, of both, of either."""
    panes = json.loads(PANES.read_text())
    parts = read_parts(SPLITS / "car_masks.csv")
    coco = json.loads((folder / "auto.json").read_text())
    outlines = {entry["image_id"]: entry["segmentation"] for entry in coco["annotations"]}
    for entry in coco["images"]:
        path = folder / "images" / entry["file_name"]
        drawn = panes.get(file_digest(path))
        if drawn is None or part_of(path, parts) != part:
            continue
        image = load_image(path)
        car = _filled(image.shape[:2], [np.reshape(ring, (-1, 2)) for ring in outlines[entry["id"]]])
        truth = _filled(image.shape[:2], [np.array(ring) for ring in drawn])
        found = find_glass(image, car)
        sure = np.zeros_like(car) if found is None else found.alpha >= 128
        yield tuple(int(np.count_nonzero(mask)) for mask in (truth, sure, truth & sure, truth | sure))


def _filled(size: tuple[int, int], rings: Sequence[np.ndarray]) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    for ring in rings:
        cv2.fillPoly(mask, [np.round(ring).astype(np.int32)], 1)
    return mask.astype(bool)


def views(data: Path, part: str) -> None:
    right = []
    for path, row in _listed(data / "stanford_cars", "scenes.csv", "stanford_cars", part, "scenes"):
        if row["view"] == "side":
            x1, y1, x2, y2 = (round(float(row[key])) for key in ("x1", "y1", "x2", "y2"))
            right.append([view_of(np.ones((y2 - y1, x2 - x1), bool)) == "side", path is not None])
    print(f"views, {part}: {len(right)} side views")
    _print("told as side", np.array(right, float), lambda some: some[:, 0].mean())


def tone(data: Path, part: str) -> None:
    rows = []
    for path, row in _listed(data / "dealer20", "labels.csv", "dealer20", part, "images"):
        alpha = (data / "dealer20" / "alpha" / row["file"]).with_suffix(".png")
        if not alpha.is_file():
            continue
        image = load_image(path)
        mask = cv2.imread(str(alpha), cv2.IMREAD_GRAYSCALE) >= 128
        if mask.shape != image.shape[:2] or not mask.any() or mask.all():
            continue
        after = toned(image, even_tone(image, mask))
        greys = [(picture[~mask].mean(), np.ptp(picture[~mask].mean(axis=0))) for picture in (image, after)]
        rows.append([hue_moved(image[mask], after[mask]), *greys[0], *greys[1]])
    table = np.array(rows)
    print(f"tone, {part}: {len(rows)} photos")
    _print("degrees by which the paint's hue moves, mean", table, lambda some: some[:, 0].mean())
    print(f"  the most: {table[:, 0].max():.2f}")
    _print("spread of the surroundings' brightness, before", table, lambda some: some[:, 1].std())
    _print("and after", table, lambda some: some[:, 3].std())
    _print("cast of the surroundings (largest less least of R, G, B), before", table, lambda some: some[:, 2].mean())
    _print("and after", table, lambda some: some[:, 4].mean())


def _listed(
    folder: Path, table: str, name: str, part: str, images: str = ""
) -> Iterator[tuple[Path, Mapping[str, str]]]:
    parts = read_parts(SPLITS / f"{name}.csv")
    with open(folder / table, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            path = folder / images / row["file"]
            if path.is_file() and part_of(path, parts) == part:
                yield path, row


def _print(what: str, rows: np.ndarray, figure: Callable[[np.ndarray], float]) -> None:
    if not len(rows):
        print(f"  {what}: no photo")
        return
    rng = np.random.default_rng(0)
    drawn = [figure(rows[rng.integers(0, len(rows), len(rows))]) for _ in range(ROUNDS)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    print(f"  {what}: {figure(rows):.3f} ({low:.3f} to {high:.3f}), n = {len(rows)}")


if __name__ == "__main__":
    main()
