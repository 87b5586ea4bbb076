"""How well the edge of cut-outs follows soft cut-outs, and how long it takes.

    python -m benchmarks.edges DATA [--part choose|report] [--kind dealer20|porsche] [--edge guided] [--large 2000]

DATA is a folder with dealer20/ (images and alpha) and porsche/ (cars before white). The edge starts from the masks of
the compact detector, which `--edge mask` takes as they are.
The photos are small; for the boundary F-score cut-outs and edges are enlarged to a longer side of 1,024 pixels.
--large measures time and memory on photos enlarged to that longer side.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.soft_cutouts import SoftCutout, soft_cutouts
from detection.cutout.cut import CutoutStyle
from detection.cutout.edge import finish_vehicle
from detection.cutout.extract import cut_upright
from detection.evaluation.boundary import boundary_f_score
from detection.images.exposure import expose
from detection.vehicle import Vehicle, filled_box, resize_vehicle

SIDE, TOLERANCE = 1024, 2.0
# What makes a finished vehicle of a photo (RGB uint8 HxWx3) and a vehicle as it was found.
EDGES: dict[str, Callable[[np.ndarray, Vehicle], Vehicle]] = {
    "guided": finish_vehicle,
    "trained": partial(finish_vehicle, edge="trained"),
    "mask": lambda photo, vehicle: vehicle,
}
FIGURES = ("F at 2 px", "F at 4 px", "alpha IoU", "alpha error")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", choices=("choose", "report"), default="choose")
    parser.add_argument("--kind", choices=("dealer20", "porsche"), default="dealer20")
    parser.add_argument("--edge", choices=tuple(EDGES), default="guided")
    parser.add_argument("--large", type=int, help="longer side in pixels of the enlarged photos that are timed")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)  # times are those of one core
    cutouts = list(soft_cutouts(arguments.data, arguments.part, arguments.kind))
    seen = [one for one in cutouts if one.mask.any()]
    missed = len(cutouts) - len(seen)
    print(f"{len(cutouts)} soft cut-outs of {arguments.kind}, {arguments.part}; {missed} cars not found, which count 0")
    began = time.process_time()
    alphas = [cutout_of(one.photo, one.mask, arguments.edge)[..., 3] for one in seen]
    spent = (time.process_time() - began) / len(seen)
    scores = [figures(one.alpha, alpha) for one, alpha in zip(seen, alphas, strict=True)]
    rows = np.array(scores + [(0.0, 0.0, 0.0, 1.0)] * missed)
    for name, column in zip(FIGURES, rows.T, strict=True):
        print(f"{name}: {interval(column)}")
    print(f"{1000 * spent:.1f} ms of a processor per photo", flush=True)
    if arguments.large:
        time_large(seen[:: max(1, len(seen) // 12)], arguments.large, arguments.edge)


def cutout_of(photo: np.ndarray, mask: np.ndarray, edge: str) -> np.ndarray:
    """The cut-out (RGBA uint8 HxWx4) of the whole photo (RGB uint8 HxWx3) with the edge of that name."""
    vehicle = Vehicle(tuple(map(float, filled_box(mask))), mask, 1.0)
    style = CutoutStyle(background="transparent", padding=10)
    return cut_upright(photo, EDGES[edge](expose(photo), vehicle), style)


def figures(truth: np.ndarray, alpha: np.ndarray) -> tuple[float, float, float, float]:
    """F-score at 2 and at 4 pixels; IoU of the alphas; the sum of their differences, as a part of the car's area."""
    edges = [enlarged(one) for one in (truth, alpha)]
    exact, rough = (boundary_f_score(*edges, SIDE, factor * TOLERANCE) for factor in (1, 2))
    one, other = (array.astype(np.float64) / 255 for array in (truth, alpha))
    same = np.minimum(one, other).sum() / np.maximum(one, other).sum()
    return exact, rough, float(same), float(np.abs(one - other).sum() / one.sum())


def enlarged(alpha: np.ndarray) -> np.ndarray:
    """The mask (bool, longer side `SIDE`) of a soft one (uint8 HxW): its edge lies between pixels."""
    scale = SIDE / max(alpha.shape)
    size = round(alpha.shape[1] * scale), round(alpha.shape[0] * scale)
    return cv2.resize(alpha.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) >= 127.5


def interval(values: np.ndarray, times: int = 2000) -> str:
    """Mean and 95 % interval by bootstrap over photos."""
    drawn = np.random.default_rng(0).integers(0, len(values), (times, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), (2.5, 97.5))
    return f"{values.mean():.4f} ({low:.4f} to {high:.4f})"


def time_large(cutouts: Sequence[SoftCutout], side: int, edge: str) -> None:
    """Cut-outs of enlarged photos: seconds of a processor and, of NumPy's arrays, the most memory at a time."""
    import tracemalloc

    spent, peaks = [], []
    for one in cutouts:
        scale = side / max(one.mask.shape)
        size = round(one.mask.shape[1] * scale), round(one.mask.shape[0] * scale)
        photo = cv2.resize(one.photo, size, interpolation=cv2.INTER_CUBIC)
        vehicle = resize_vehicle(Vehicle(tuple(map(float, filled_box(one.mask))), one.mask, 1.0), photo.shape[:2])
        style = CutoutStyle(background="transparent")
        began = time.process_time()
        cut_upright(photo, EDGES[edge](photo, vehicle), style)
        spent.append(time.process_time() - began)
        tracemalloc.start()
        cut_upright(photo, EDGES[edge](photo, vehicle), style)
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    print(f"{len(cutouts)} photos of {side} px: {np.median(spent):.3f} s of a processor in the median, "
          f"{max(spent):.3f} s at most; {max(peaks):.0f} MiB of arrays at most", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
