"""Trains what names the colour of a car's paint, or measures it on the photos that report.

python scripts/train_colour.py DATA [--report] [--seed 1] [--output carclf/weights/colour.safetensors]

DATA is the folder of the data sets: `porsche` with the dealers' words in its labels.csv, `dealer20` and `stanford_cars`
with the words in data/splits/colours.csv, which were given by eye. Training fits to `fit`, and chooses temperature and
least confidence on `choose`; figures of `choose` are printed for every light. The same seed gives the same file. With
--report nothing is trained: the figures are those of the photos that report, to be looked at once per version.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from colour_training.figures import calibrated, seen_in_lights, sharpened, tell
from colour_training.fits import fit
from colour_training.views import View, labelled, views_of

from carclf.classifier.colour.reader import COLOURS, WORDS, ColourReader
from detection.common.files import replace_file
from detection.common.networks.arrays import write_metadata
from detection.masks.parts import CHOOSE, FIT, REPORT


def main() -> int:
    parser = argparse.ArgumentParser(description="Trains or measures what names the colour of a car's paint.")
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--report", action="store_true", help="measure on the photos that report, train nothing")
    parser.add_argument("--seed", type=int, default=1, help="of the training (1)")
    parser.add_argument("--workers", type=int, help="processes (as many as cores)")
    parser.add_argument("--views", type=Path, help="file that keeps the cars found, for the next training (npz)")
    parser.add_argument("--output", type=Path, default=COLOURS, help="the weights' file")
    args = parser.parse_args()
    if args.report:
        reader, views = ColourReader.load(args.output), views_of(labelled(args.data, {REPORT}), args.views)
        tell(reader, views, seen_in_lights(reader, views, args.workers))
        return 0
    views = views_of(labelled(args.data, {FIT, CHOOSE}), args.views)
    parts = {part: [view for view in views if view.part == part] for part in (FIT, CHOOSE)}
    fit_and_write(parts[FIT], parts[CHOOSE], args.output, args.seed, args.workers)
    return 0


def fit_and_write(fitted: list[View], choose: list[View], output: Path, seed: int, workers: int | None) -> None:
    """Trains on the ones, calibrates on the others, writes the file and prints the figures of the others."""
    from safetensors.numpy import save

    arrays = fit(fitted, seed, workers)
    plain = ColourReader({name: value.astype(np.float32) for name, value in arrays.items()})
    seen = seen_in_lights(plain, choose, workers)
    temperature, least = calibrated(seen, choose)
    about = {"words": ",".join(WORDS), "temperature": str(temperature), "least": str(least)}
    replace_file(output, save(arrays))
    write_metadata(output, about)  # in this order: that of `save` changes from run to run
    print(f"temperature {temperature}, least confidence {least}, written to {output}")
    tell(ColourReader.load(output), choose, {light: sharpened(one, temperature) for light, one in seen.items()})


if __name__ == "__main__":
    sys.exit(main())
