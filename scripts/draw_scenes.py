"""Draw labelled street scenes: python scripts/draw_scenes.py OUT [--per-class N] [--negatives N] [--seed S]."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from carclf.datasets.drawn.car_shapes import CAR_SHAPES
from carclf.datasets.drawn.scenes import write_dataset


def count(text: str) -> int:
    """A whole number of at least 0, or argparse's own sentence."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is below 0: give a whole number of at least 0")
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description=f"Draw street scenes with cars of {len(CAR_SHAPES)} shapes.")
    parser.add_argument("output", type=Path, help="folder for images/, labels.csv and annotations.json")
    parser.add_argument("--per-class", type=count, default=30, help="pictures of each shape (30)")
    parser.add_argument("--negatives", type=count, default=0, help="pictures without a car (0)")
    parser.add_argument("--seed", type=count, default=0, help="the same seed draws the same pictures (0)")
    args = parser.parse_args()
    try:
        labels = write_dataset(args.output, args.per_class, args.seed, args.negatives)
    except OSError as error:
        print(f"Cannot write to {args.output}: {error.strerror or error}. Choose another folder.", file=sys.stderr)
        return 2
    print(f"{args.per_class * len(CAR_SHAPES)} cars and {args.negatives} empty streets: {labels}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
