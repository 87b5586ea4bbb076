"""Where the time of one photo goes, part by part, and the threads in which many are done fastest.

    python benchmarks/photo_parts.py [PHOTOS] [--count 60] [--rounds 3] [--sweep]

The parts are processor time of the thread that does them, each network in one thread. The floor is what no chain can do
without: reading the file, the networks by themselves, and writing the cut-out. --sweep runs the same photos through
`CarRecognizer` with other numbers of threads per network and of photos side by side; it needs cores with nothing else
to do. For more cores than there are here it prints an estimate.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.measured import machine  # noqa: E402
from benchmarks.stand_in import given_or_drawn  # noqa: E402

_NETWORK = "run by ONNX Runtime"


class Clock:
    """Processor seconds of functions, without those of the functions within them that are timed, too."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._within: list[float] = []

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Times a method or a module's function from now on."""
        inner: Callable = getattr(owner, name)

        def timed(*values: Any, **named: Any) -> Any:
            self._within.append(0.0)
            began = time.thread_time()
            try:
                return inner(*values, **named)
            finally:
                spent = time.thread_time() - began
                self.seconds[part] += spent - self._within.pop()
                if self._within:
                    self._within[-1] += spent

        setattr(owner, name, timed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", help="a folder; without it, drawn scenes of 640x480")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sweep", action="store_true")
    arguments = parser.parse_args()
    print(f"{machine()}\n")
    with tempfile.TemporaryDirectory(prefix="carclf-parts-") as name:
        files = given_or_drawn(arguments.photos, Path(name), 30)
        files = files[:: max(1, len(files) // arguments.count)][: arguments.count]
        if arguments.sweep:
            _sweep(files, arguments.rounds)
        else:
            _parts(files, arguments.rounds, Path(name) / "cut.jpg")


def _parts(files: list[Path], rounds: int, target: Path) -> None:
    import onnxruntime

    from carclf.classifier.onnx.classifier import OnnxClassifier
    from carclf.recognition import recognizer as chain
    from detection.cutout import extract as cutout
    from detection.detectors.finder.finder import VehicleFinder
    from detection.detectors.onnx.car_check import OnnxCarCheck
    from detection.detectors.onnx.detector import OnnxDetector
    from detection.images import write

    recognizer = chain.CarRecognizer(threads=1, device="cpu", runtime="onnx")
    clock = Clock()
    rest = "around it"
    names: dict[int, str] = {}
    detector = recognizer.finder.detector
    for part in ("features", "boxes", "masks"):
        names[id(getattr(detector, f"_{part}"))] = f"detector, {part}"
    names[id(recognizer.classifier._session)] = "classifier"

    def watch_network(method: str) -> None:
        inner = getattr(onnxruntime.InferenceSession, method)

        def timed(session: Any, *values: Any, **named: Any) -> Any:
            clock._within.append(0.0)
            began = time.thread_time()
            try:
                return inner(session, *values, **named)
            finally:
                spent = time.thread_time() - began
                clock._within.pop()
                clock.seconds[f"{names.get(id(session), 'car check')}: {_NETWORK}"] += spent
                if clock._within:
                    clock._within[-1] += spent

        setattr(onnxruntime.InferenceSession, method, timed)

    watch_network("run")
    watch_network("run_with_ort_values")
    for owner, name, part in (
        (chain.Item, "_load", "reading and decoding"),
        (chain, "_view", "what the detector is shown: size and brightness"),
        (OnnxDetector, "_see", f"detector, features: {rest}"),
        (OnnxDetector, "_propose", "detector, proposals"),
        (OnnxDetector, "_judge", f"detector, boxes: {rest}"),
        (OnnxDetector, "_outline", f"detector, masks: {rest}"),
        (OnnxDetector, "_detect", "detector, resizing and pasting"),
        (OnnxCarCheck, "look", f"car check: {rest}"),
        (VehicleFinder, "decide", "which vehicle counts"),
        (cutout, "finish_vehicle", "the edge, fitted to the photo"),
        (chain, "extract", "cutting out"),
        (OnnxClassifier, "predict", f"classifier: {rest}"),
        (write, "save_image", "writing (as `clean` does)"),
    ):
        clock.watch(owner, name, part)
    recognizer(files[:2])
    every: list[Counter[str]] = []
    for _ in range(rounds):
        clock.seconds.clear()
        began = time.process_time()
        for file in files:
            for seen in recognizer.recognize_fully([file], pictures=True):
                if seen.cutout is not None:
                    write.save_image(target, seen.cutout, 95)
        whole = time.process_time() - began
        clock.seconds["all else: rows, threads, Python"] = whole - sum(clock.seconds.values())
        every.append(clock.seconds.copy())
    parts = {part: 1e3 * statistics.median(seen[part] for seen in every) / len(files) for part in every[0]}
    whole = sum(parts.values())
    floor = sum(spent for part, spent in parts.items() if _NETWORK in part or part.startswith(("reading", "writing")))
    print(f"{len(files)} photos, one after the other, medians of {rounds} rounds\n")
    print("| part | ms of a processor per photo |")
    print("| --- | ---: |")
    for part, spent in sorted(parts.items(), key=lambda pair: -pair[1]):
        print(f"| {part} | {spent:.2f} |")
    print(f"| all | {whole:.1f} |")
    print(f"| the floor: reading, networks, writing | {floor:.1f} ({floor / whole:.0%}) |")


def _sweep(files: list[Path], rounds: int) -> None:
    from carclf.recognition.recognizer import CarRecognizer
    from detection.common.machine import MOST_SIDE_BY_SIDE, chosen_threads

    cores = chosen_threads()
    choices = sorted({(threads, side) for threads in (1, 2, cores) for side in (1, 2, cores, 2 * cores)})
    loaded = {threads: CarRecognizer(threads=threads, device="cpu", runtime="onnx") for threads in {1, 2, cores}}
    seen: dict[tuple[int, int], list[float]] = {choice: [] for choice in choices}
    busy: dict[tuple[int, int], list[float]] = {choice: [] for choice in choices}
    for recognizer in loaded.values():
        recognizer(files[:4])
    for _ in range(rounds):
        for threads, side in choices:
            recognizer = loaded[threads]
            recognizer.side_by_side = side
            began, used = time.perf_counter(), time.process_time()
            recognizer(files)
            seen[threads, side].append((time.perf_counter() - began) / len(files))
            busy[threads, side].append((time.process_time() - used) / len(files))
    print(f"`predict`'s chain, {len(files)} photos, medians of {rounds} rounds in turns\n")
    print("| threads per network | photos side by side | ms per photo | ms of a processor | photos/s |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for choice in choices:
        taken, used = statistics.median(seen[choice]), statistics.median(busy[choice])
        print(f"| {choice[0]} | {choice[1]} | {1e3 * taken:.1f} | {1e3 * used:.1f} | {1 / taken:.1f} |")
    alone = statistics.median(busy[1, 1])
    held = _held(loaded[1], files)
    print(f"\nOf {1e3 * alone:.1f} ms a photo has Python's lock for {1e3 * held:.1f} ms, so of more cores,")
    print("as min(photos side by side / time of one, 1 / time with the lock):\n")
    print("| cores | photos side by side | estimate, photos/s |")
    print("| ---: | ---: | ---: |")
    for count in (2, 8, 64):
        side = min(count, MOST_SIDE_BY_SIDE)
        print(f"| {count} | {side} | {min(side / alone, 1 / held):.0f} |")


def _held(recognizer: Any, files: list[Path]) -> float:
    """Seconds per photo outside of what lets go of Python's lock: the networks, OpenCV's calls and the decoder are
    taken to be all of that, and NumPy's calls to be none."""
    import cProfile
    import pstats

    recognizer.side_by_side = 1
    profile = cProfile.Profile(time.thread_time)
    profile.enable()
    for file in files:
        recognizer(file)
    profile.disable()
    free = whole = 0.0
    for (path, _, name), (_, _, own, _, _) in pstats.Stats(profile).stats.items():
        whole += own
        named = name.startswith("<")  # as OpenCV's functions are not
        if path == "~" and (not named or any(word in name for word in ("run_with_ort", "state.run", "decode"))):
            free += own
    return (whole - free) / len(files)


if __name__ == "__main__":
    main()
