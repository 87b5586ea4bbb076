"""How often the makes of cars are told whose classes a network was trained without, and the labels for training it.

    python benchmarks/held_out.py DATA --write LABELS.csv [--count 40]
    carclf train configs/train/held_out.yaml data=LABELS.csv images=DATA/stanford_cars/images crops_dir=CROPS output=RUN
    python scripts/make_garage_prior.py DATA RUN/best_garage_prior.safetensors --model RUN
    python benchmarks/garage.py DATA --cars held-out --part both --model RUN [--crops CROPS/keep] [--cache FILE]
    python benchmarks/held_out.py DATA --model RUN [--crops CROPS/keep] [--cache FILE]

DATA is a folder with stanford_cars/, whose photos data/splits lists. The first command draws the classes that the
network is not to see, always the same ones for a count, prints them, and writes the labels of all other photos. The fourth
one learns the classes from a few photos each. The last one asks with all photos of theirs, at levels that the known
classes' photos of *choose* fit, and with the known classes' photos of *report*.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from detection.common.files import write_table  # noqa: E402

SEED = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", type=Path, help="csv for the labels of the classes that are not held out")
    parser.add_argument("--count", type=int, default=40, help="classes that are held out")
    arguments = parser.parse_args()
    labels = pd.read_csv(arguments.data / "stanford_cars" / "labels.csv")
    out = drawn_classes(labels["class"], arguments.count)
    write_table(arguments.write, labels.loc[~labels["class"].isin(out), ["file", "class"]])
    print("\n".join(out))


def drawn_classes(names: pd.Series, count: int) -> list[str]:
    """The classes that are held out: `count` of the names, drawn by chance that is the same in every run."""
    return sorted(np.random.default_rng(SEED).choice(sorted(set(names)), count, replace=False))


if __name__ == "__main__":
    main()
