"""How many aerials, door mirrors and wheels with open spokes a cut-out keeps.

    python -m benchmarks.edge_details DATA [--part choose|report] [--edge guided]

DATA is a folder with dealer20/ and porsche/. The things were chosen by eye; benchmarks/edge_details.json says in which
photos they are and where, as x1, y1, x2, y2 (exclusive) in pixels of the photo as the benchmark of edges sees it
(dealer20: 298x224). Each box is tight, so a thing is what is car there by the soft cut-out that is known. It is kept
when the cut-out has enough of it: half of an aerial, which is thinner than two pixels, 0.8 of a mirror and 0.97 of a
wheel, which has a hole or lacks a piece of tyre below that.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.edges import EDGES, cutout_of
from benchmarks.soft_cutouts import soft_cutouts

DETAILS = Path(__file__).with_suffix(".json")
ENOUGH = {"aerial": 0.5, "mirror": 0.8, "spokes": 0.97}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", choices=("choose", "report"), default="choose")
    parser.add_argument("--edge", choices=tuple(EDGES), default="guided")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    details = json.loads(DETAILS.read_text())
    found: dict[str, list[float]] = {kind: [] for kind in ENOUGH}
    for name in ("dealer20", "porsche"):
        own = {file.partition("/")[2]: boxes for file, boxes in details.items() if file.startswith(f"{name}/")}
        for one in soft_cutouts(arguments.data, arguments.part, name, own):
            alpha = cutout_of(one.photo, one.mask, arguments.edge)[..., 3] if one.mask.any() else one.alpha * 0
            for kind, shares in shares_of(one.alpha, alpha, own[one.name]).items():
                found[kind] += shares
    for kind, shares in found.items():
        print(line(kind, shares))


def shares_of(
    truth: np.ndarray, alpha: np.ndarray, boxes: Mapping[str, Sequence[Sequence[int]]]
) -> dict[str, list[float]]:
    """How much of each thing is in a cut-out, 0 to 1, by kind. truth, alpha: uint8 HxW."""
    shares = {}
    for kind, several in boxes.items():
        parts = [(slice(y1, y2), slice(x1, x2)) for x1, y1, x2, y2 in several]
        shares[kind] = [
            float(np.minimum(truth[part], alpha[part]).sum(dtype=float) / max(1, truth[part].sum(dtype=float)))
            for part in parts
        ]
    return shares


def line(kind: str, shares: Sequence[float]) -> str:
    """What is printed of one kind.

    >>> line("mirror", [0.9, 0.7])
    'mirror: 1 of 2 kept (at least 0.8 of each), 0.80 of them in the mean'
    """
    kept = sum(share >= ENOUGH[kind] for share in shares)
    mean = f"{np.mean(shares):.2f}" if shares else "nothing"
    return f"{kind}: {kept} of {len(shares)} kept (at least {ENOUGH[kind]} of each), {mean} of them in the mean"


if __name__ == "__main__":
    main()
