"""How many planted faults `carclf data audit` finds, and how long it takes.

    python benchmarks/audit.py DATA [--classes 50] [--makes Audi BMW ...] [--crops] [--cache DIR]

DATA is a folder with dealer20/, stanford_cars/, not_car/ and weather/. Three things are planted, three
times each with other seeds: 5 % of dealer20's labels moved at random; 5 % of those of some classes of stanford_cars
moved to the most similar class; 40 photos of lorries, dogs and rooms in classes. Rows count as the first ones by the
number of all photos. The vectors are those of stanford196, which was trained on most photos of stanford_cars with
their right labels; so labels are also moved only of photos that it was not trained on. Photos of dealer20 are then
blurred, darkened and so on, to see which are found. --cache keeps what was seen of the photos.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from carclf.classifier.garage.folds import doubt, out_of_fold
from carclf.datasets.content import content_digests
from carclf.datasets.parts import read_parts
from carclf.recognition.recognizer import CarRecognizer
from carclf.tools.audit.issues import ISSUES, outlier_score, photo_issues
from carclf.tools.audit.looks import Look, look_at, vectors_of
from detection.common.machine import threads_for_many
from detection.images.read import load_image
from detection.images.write import save_image

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (0, 1, 2)
SHARE = 0.05
DOGS = ("n02085620", "n02086646", "n02088364", "n02090622", "n02093428", "n02096294", "n02102480", "n02110627",
        "n02113624")  # fmt: skip
ROOMS = ("barbershop", "bathtub", "bookcase", "china_cabinet", "desktop_computer", "entertainment_center",
         "grocery_store", "home_theater", "refrigerator", "restaurant", "rocking_chair", "tub", "wardrobe",
         "window_shade")  # fmt: skip
LORRIES = 40 - len(DOGS) - len(ROOMS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--classes", type=int, default=50, help="of stanford_cars")
    parser.add_argument("--most", type=int, default=10**6, help="photos of stanford_cars")
    parser.add_argument("--makes", nargs="+", help="of stanford_cars, all classes of these, which are more alike")
    parser.add_argument("--crops", action="store_true", help="take the photos of stanford_cars as they are")
    parser.add_argument("--spoilt", type=int, default=20, help="photos of dealer20 that are spoilt in each way")
    parser.add_argument("--cache", type=Path, default=None)
    arguments = parser.parse_args()
    data: Path = arguments.data
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.cache or Path(made)
        recognizer = CarRecognizer(threads=threads_for_many())

        def seen(name: str, files: Sequence[str], by: CarRecognizer = recognizer) -> list[Look]:
            start, cpu = time.monotonic(), time.process_time()
            looks = list(look_at(by, files, content_digests(files), folder / ("crops" if by is not recognizer else "")))
            wall, cpu = time.monotonic() - start, time.process_time() - cpu
            print(f"looked at {len(files)} photos of {name}: {wall / len(files):.3f} s, of a processor "
                  f"{cpu / len(files):.3f} s a photo", flush=True)  # fmt: skip
            return looks

        dealer = labelled(data / "dealer20")
        stanford = labelled(data / "stanford_cars")
        if arguments.makes:
            stanford = stanford[stanford["class"].str.startswith(tuple(arguments.makes))]
        stanford = some_classes(stanford, arguments.classes).head(arguments.most)
        dealer["look"] = seen("dealer20", dealer["file"].tolist())
        as_they_are = CarRecognizer(threads=threads_for_many(), crops=True) if arguments.crops else recognizer
        stanford["look"] = seen("stanford_cars", stanford["file"].tolist(), as_they_are)
        parts = read_parts(ROOT / "data" / "splits" / "stanford196.csv")
        unknown = [parts.get(digest) != "fit" for digest in content_digests(stanford["file"])]
        print("\n| planted | photos | moved | first 5 % | first 8 % |\n| --- | ---: | ---: | ---: | ---: |")
        moved_rows("dealer20, at random", dealer, at_random)
        moved_rows("stanford_cars, most similar", stanford, most_similar)
        moved_rows("the same, not trained on", stanford, most_similar, np.array(unknown))
        planted = seen("lorries, dogs and rooms", strangers(data, Path(made)))
        outliers(pd.concat([dealer, stanford], ignore_index=True), planted)
        spoilt(dealer.sample(arguments.spoilt, random_state=0), Path(made), seen)


def labelled(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "labels.csv")
    table["file"] = [str(folder / "images" / file) for file in table["file"]]
    return table


def some_classes(table: pd.DataFrame, count: int) -> pd.DataFrame:
    classes = sorted(table["class"].unique())
    np.random.default_rng(0).shuffle(classes)
    chosen = classes[:count]
    # Class by class, so that a part of them is of whole classes.
    table = table[table["class"].isin(chosen)]
    return table.sort_values("class", key=lambda column: column.map(chosen.index), ignore_index=True, kind="stable")


Move = Callable[[np.ndarray, np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def at_random(numbers, moved, vectors, random):
    others = random.integers(1, numbers.max() + 1, len(moved))
    return (numbers[moved] + others) % (numbers.max() + 1)


def most_similar(numbers, moved, vectors, random):
    means = np.stack([vectors[numbers == number].mean(axis=0) for number in range(numbers.max() + 1)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    alike = means @ means.T
    np.fill_diagonal(alike, -1)
    return alike.argmax(axis=1)[numbers[moved]]


def moved_rows(name: str, table: pd.DataFrame, move: Move, among: np.ndarray | None = None) -> None:
    there, vectors = vectors_of(table["look"].tolist())
    numbers = table["class"].to_numpy()[there]
    numbers = np.unique(numbers, return_inverse=True)[1]
    free = np.arange(len(there)) if among is None else np.flatnonzero(among[there])
    count = min(round(SHARE * len(there)), len(free))
    found = []
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        moved = random.permutation(free)[:count]
        planted = numbers.copy()
        planted[moved] = move(numbers, moved, vectors, random)
        doubts, _ = doubt(out_of_fold(vectors, planted, np.arange(len(planted))), planted)
        order = np.argsort(-np.nan_to_num(doubts), kind="stable")
        found.append([np.isin(moved, order[: int(part * len(table))]).mean() for part in (0.05, 0.08)])
    cells = [" ".join(f"{one[column]:.3f}" for one in found) for column in (0, 1)]
    print(f"| {name} | {len(table)} | {count} | {' | '.join(cells)} |", flush=True)


def strangers(data: Path, made: Path) -> list[str]:
    """40 photos of lorries, dogs and rooms; lorries are cut out of streets with some of their surroundings."""
    photos = sorted((data / "not_car").rglob("*.jpg"))
    files = [str(photo) for photo in photos if photo.stem.startswith(DOGS)]
    files += [str(photo) for photo in photos if photo.stem.startswith("in_") and photo.stem.endswith(ROOMS)]
    files = files[: 40 - LORRIES]
    street = json.loads((data / "weather" / "boxes.json").read_text(encoding="utf-8"))
    kinds = {one["id"]: one["name"] for one in street["categories"]}
    names = {one["id"]: one["file_name"] for one in street["images"]}
    lorries = [one for one in street["annotations"] if kinds[one["category_id"]] == "truck"]
    lorries.sort(key=lambda one: -one["bbox"][2] * one["bbox"][3])
    for number, one in enumerate(lorries[:LORRIES]):
        photo = load_image(data / "weather" / "images" / names[one["image_id"]])
        left, top, wide, high = one["bbox"]
        margin = 0.08 * max(wide, high)
        y1, y2, x1, x2 = (
            max(0, round(v)) for v in (top - margin, top + high + margin, left - margin, left + wide + margin)
        )
        files.append(str(made / "streets" / "lorries" / f"{number}.jpg"))
        Path(files[-1]).parent.mkdir(parents=True, exist_ok=True)
        save_image(Path(files[-1]), photo[y1:y2, x1:x2])
    return files


def outliers(cars: pd.DataFrame, planted: Sequence[Look]) -> None:
    scores = np.array([outlier_score(look) for look in [*cars["look"], *planted]])
    order = np.argsort(-scores, kind="stable")
    first = order[: int(0.02 * len(scores))]
    share = (first >= len(cars)).sum() / len(planted)
    print(f"\n{len(planted)} lorries, dogs and rooms among {len(cars)} cars: {share:.3f} among the first {len(first)} "
          f"`outlier` rows (2 %)")  # fmt: skip
    missed = [look for place, look in enumerate(planted) if len(cars) + place not in first]
    for look in missed:
        print(f"  missed: {look.status}, car {look.car:.2f}, otherwise {look.other}")


def spoilt(table: pd.DataFrame, made: Path, seen: Callable[[str, Sequence[str]], list[Look]]) -> None:
    """Each fault made on purpose: how many are found, and which other issues are told of them."""
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "(as it was)": lambda photo: photo,
        "dark": lambda photo: (photo * 0.3).astype(np.uint8),
        "blurred": lambda photo: cv2.GaussianBlur(photo, (0, 0), 2),
        "low quality": lambda photo: cv2.imdecode(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 8])[1], 1),
        "small": lambda photo: cv2.resize(photo, (90, 90), interpolation=cv2.INTER_AREA),
        "sideways": lambda photo: np.ascontiguousarray(np.rot90(photo)),
    }
    changes["cut off"] = lambda photo: np.ascontiguousarray(photo[:, photo.shape[1] // 2 :])
    print("\n| made | photos | found | other issues |\n| --- | ---: | ---: | --- |")
    for name, change in changes.items():
        files = []
        for number, file in enumerate(table["file"]):
            files.append(str(made / "spoilt" / name / f"{number}.png"))
            Path(files[-1]).parent.mkdir(parents=True, exist_ok=True)
            save_image(Path(files[-1]), change(load_image(file)))
        issues = photo_issues(seen(name, files))
        counts = {issue: len({one.photo for one in issues if one.issue == issue}) for issue in ISSUES}
        others = ", ".join(f"{issue} {count}" for issue, count in counts.items() if count and issue != name)
        print(f"| {name} | {len(files)} | {counts.get(name, 0)} | {others} |", flush=True)


if __name__ == "__main__":
    main()
