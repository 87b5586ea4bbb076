"""One contestant of detector_speed.py in a process of its own: answers each line on stdin with a line of JSON."""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # not before `detection`, which sets what OpenMP reads when torch is loaded
    import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestant", choices=["usual", "ours", "compact"])
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    contestant = (_usual if arguments.contestant == "usual" else _ours)(arguments)
    for _ in sys.stdin:
        shutil.rmtree(arguments.output, ignore_errors=True)
        arguments.output.mkdir(parents=True)
        print(json.dumps(contestant(arguments.photos, arguments.output)), flush=True)


def _usual(arguments):
    from benchmarks.usual_script import clean, make_predictor

    predictor = make_predictor(arguments.model, arguments.weights, arguments.device)

    def run(photos: Path, output: Path) -> dict:
        timer = Timer(predictor.model)
        files = sorted(path for path in photos.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
        start = time.perf_counter()
        boxes = clean(predictor, files, output)
        seconds = time.perf_counter() - start
        return _figures(len(files), seconds, timer.stop(), f"float32, {boxes / len(files):.0f} boxes per photo")

    return run


def _ours(arguments):
    from detection import CutoutStyle, load_detector, load_image
    from detection.cutout.extract import DETECT_SIDE
    from detection.folder.run import clean_folder
    from detection.images.read import shrink

    name = "compact" if arguments.contestant == "compact" else arguments.model
    weights = None if name == "compact" else arguments.weights
    detector = load_detector(name, arguments.device, weights)

    def run(photos: Path, output: Path) -> dict:
        start = time.perf_counter()
        summary = clean_folder(photos, output, detector, CutoutStyle(), progress=False)
        seconds = time.perf_counter() - start
        # The model part by itself: in the run it shares the cores with what reads and cuts.
        files = sorted(path for path in photos.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})[:24]
        images = [shrink(load_image(file), DETECT_SIDE) for file in files]
        timer = Timer(detector.model)
        boxes = sum(len(vehicles) for vehicles in detector.detect(images))
        model = timer.stop() / len(files)
        note = f"{detector.precision}, {boxes / len(files):.0f} vehicles per photo"
        return _figures(summary.processed, seconds, model * summary.processed, note)

    return run


class Timer:
    """Seconds spent in a Detectron2 model's `inference`."""

    def __init__(self, model: torch.nn.Module):
        self.model, self.seconds = model, 0.0
        self.inference = model.inference
        model.inference = self._timed

    def _timed(self, *values, **named):
        start = time.perf_counter()
        result = self.inference(*values, **named)
        if self.model.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.model.device)
        self.seconds += time.perf_counter() - start
        return result

    def stop(self) -> float:
        self.model.inference = self.inference
        return self.seconds


def _figures(photos: int, seconds: float, model_seconds: float, note: str) -> dict:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    import torch

    gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
    return {
        "photos": photos,
        "seconds": seconds,
        "model_seconds": model_seconds,
        "peak_mib": peak,
        "gpu_mib": gpu,
        "note": note,
    }


if __name__ == "__main__":
    main()
