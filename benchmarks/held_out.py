"""How often the makes of cars are told whose classes a network was trained without, and the labels for training it.

    python benchmarks/held_out.py DATA --write LABELS.csv [--count 40]
    carclf train configs/train/held_out.yaml data=LABELS.csv images=DATA/stanford_cars/images crops_dir=CROPS output=RUN
    python scripts/make_garage_prior.py DATA RUN/best_garage_prior.safetensors --model RUN
    python benchmarks/garage.py DATA --cars held-out --part both --model RUN [--crops CROPS/keep] [--cache FILE]
    python benchmarks/held_out.py DATA --model RUN [--crops CROPS/keep] [--cache FILE]

DATA is a folder with stanford_cars/, whose photos data/splits lists. The first command draws the classes that the
network is not to see, always the same ones for a count, prints them, and writes the labels of all other photos. The
fourth one learns these classes from a few photos each.

The last one asks for the level that is sure, with all photos of the held-out classes, and with those of *report* of the
known ones. The thresholds are fitted to the known classes' photos of *choose*. A held-out class is a new body or
year if the network knows its model, a new model if it knows its make.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.garage import cars  # noqa: E402
from carclf.classifier.levels.names import ClassName, make_names  # noqa: E402
from carclf.classifier.levels.tree import Tree  # noqa: E402
from carclf.datasets.layouts.names_csv import read_names  # noqa: E402
from carclf.evaluation.levels.fit import answer_level, fit_table, in_order, told_at_levels  # noqa: E402
from carclf.recognition.recognizer import CarRecognizer  # noqa: E402
from detection.common.errors import UsageError  # noqa: E402
from detection.common.files import write_table  # noqa: E402
from detection.common.machine import threads_for_many  # noqa: E402

NAMES = ROOT / "carclf" / "weights" / "stanford196_names.csv"
SEED = 40
SURE = (0.8, 0.9, 0.95, 0.98)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", type=Path, help="csv for the labels of the classes that are not held out")
    parser.add_argument("--count", type=int, default=40, help="classes that are held out")
    parser.add_argument("--model", help="a run that was trained with these labels")
    parser.add_argument("--cache", type=Path, help="keeps the vectors, for benchmarks/garage.py, too")
    parser.add_argument("--crops", type=Path, help="a folder with cut-outs of stanford_cars")
    arguments = parser.parse_args()
    if bool(arguments.write) == bool(arguments.model):
        raise SystemExit("Give either --write, or --model with a run.")
    if arguments.write:
        labels = pd.read_csv(arguments.data / "stanford_cars" / "labels.csv")
        out = drawn_classes(labels["class"], arguments.count)
        write_table(arguments.write, labels.loc[~labels["class"].isin(out), ["file", "class"]])
        print("\n".join(out))
    else:
        told_makes(arguments)


def drawn_classes(names: pd.Series, count: int) -> list[str]:
    """The classes that are held out: `count` of the names, drawn by chance that is the same in every run."""
    return sorted(np.random.default_rng(SEED).choice(sorted(set(names)), count, replace=False))


def told_makes(arguments: argparse.Namespace) -> None:
    arguments.cars, arguments.part = "held-out", "both"
    recognizer = CarRecognizer(arguments.model, crops=arguments.crops is not None, threads=threads_for_many())
    new, known = cars(arguments, recognizer)
    tree = Tree(make_names(read_names(NAMES), recognizer.classes), recognizer.classes)
    of_class = dict(zip(classes := sorted(set(new["class"])), make_names(read_names(NAMES), classes), strict=True))
    new["kind"] = [kind(of_class[name], tree) for name in new["class"]]
    truth = known["class"].map(recognizer.classes.index).to_numpy()
    told = told_at_levels(tree, stacked(known), truth)
    table, asked = fit_table(told.of((known["part"] == "choose").to_numpy())), (known["part"] == "report").to_numpy()
    print("| cars | photos | sure | named at a level | right of these | best make right, if all are named |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for sure in SURE:
        try:
            thresholds = in_order(table, sure)
        except UsageError:  # a share that the photos can't promise
            continue
        of_known = told.of(asked)
        level = answer_level(of_known.confidence, thresholds)
        named = np.flatnonzero(level < 3)
        print(line("known, report", sure, len(level), named, of_known.right[named, level[named]], of_known.right[:, 2]))
        for name, photos in new.groupby("kind"):
            best = [tree.best(row) for row in stacked(photos)]
            confidence = np.array([[one.probability[level] for level in ("class", "model", "make")] for one in best])
            makes = np.array([tree.labels["make"][one.node["make"]] for one in best])
            hits = makes == np.array([of_class[name].make for name in photos["class"]])
            named = np.flatnonzero(answer_level(confidence, thresholds) < 3)
            print(line(f"{name} ({photos['class'].nunique()})", sure, len(hits), named, hits[named], hits), flush=True)


def kind(name: ClassName, tree: Tree) -> str:
    """What is new of a class for a tree that lacks it."""
    if name.model in tree.labels["model"]:
        return "new body or year"
    return "new model" if name.make in tree.labels["make"] else "new make"


def stacked(photos: pd.DataFrame) -> np.ndarray:
    """The base's probabilities, float [N, C]."""
    return np.stack(photos["known"].tolist())


def line(name: str, sure: float, photos: int, named: np.ndarray, right: np.ndarray, makes: np.ndarray) -> str:
    of_named = f"{right.mean():.3f}" if len(named) else ""
    return f"| {name} | {photos} | {sure} | {len(named) / photos:.3f} | {of_named} | {makes.mean():.3f} |"


if __name__ == "__main__":
    main()
