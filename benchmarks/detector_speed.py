"""Photos per second of the usual Detectron2 script and of carclf, on the same photos, in turns, on this machine.

    python benchmarks/detector_speed.py [PHOTOS] [--device cuda]

Each contestant has a process of its own, for its peak memory; only one works at a time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.stand_in import given_or_drawn  # noqa: E402

MODEL = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"
CONTESTANTS = {
    "usual": "(a) the usual script, R50-FPN",
    "ours": "(b) carclf, R50-FPN, the same weights",
    "compact": "(c) carclf, compact",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", help="a folder; without it, drawn scenes of 640x480")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=24, help="how many photos are drawn when none are given")
    parser.add_argument("--weights", type=Path, help=f".safetensors of {MODEL}; without it, the model zoo's")
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carclf-speed-") as name:
        folder = Path(name)
        files = given_or_drawn(arguments.photos, folder, arguments.count)
        photos = arguments.photos or files[0].parent
        weights, told = _weights(arguments, files, folder)
        workers = {name: _start(name, photos, folder / name, weights, arguments.device) for name in arguments.only}
        try:
            _round(workers)  # the first one loads and warms up
            rounds = [_round(workers) for _ in range(arguments.rounds)]
        finally:
            for worker in workers.values():
                worker.communicate()  # closes its input, and with that ends it
    _print(rounds, arguments, told)


def _weights(arguments: argparse.Namespace, files: list[Path], folder: Path) -> tuple[Path | None, str]:
    if not {"usual", "ours"} & set(arguments.only):
        return None, "not used"
    if arguments.weights is not None:
        return arguments.weights, str(arguments.weights)
    from detection import UsageError, load_image
    from detection.detectors.zoo.download import fetch_zoo_weights

    try:
        return fetch_zoo_weights(MODEL), "the model zoo's"
    except UsageError:
        from benchmarks.stand_in import write_random_weights

        path = folder / "random.safetensors"
        write_random_weights(MODEL, [load_image(file) for file in files[:3]], path)
        return path, "random (the model zoo can't be reached), made so that there are proposals and cars as usual"


def _start(name: str, photos: Path, output: Path, weights: Path | None, device: str) -> subprocess.Popen:
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "benchmarks.speed_worker",
        name,
        str(photos.resolve()),
        str(output),
    ]
    command += ["--model", MODEL, "--device", device]
    if weights is not None:
        command += ["--weights", str(weights.resolve())]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _round(workers: dict[str, subprocess.Popen]) -> dict[str, dict]:
    figures = {}
    for name, worker in workers.items():
        line = ""
        if worker.poll() is None:
            worker.stdin.write("go\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
        if not line:
            raise SystemExit(f"'{CONTESTANTS[name]}' failed: see above.")
        figures[name] = json.loads(line)
        print(f"{name}: {figures[name]['seconds']:.1f} s", file=sys.stderr)
    return figures


def _print(rounds: list[dict[str, dict]], arguments: argparse.Namespace, told: str) -> None:
    from detection.detectors.fast.tuning import choose_for_cpu

    def median(name: str, value) -> float:
        return statistics.median(value(one[name]) for one in rounds)

    count = next(iter(rounds[0].values()))["photos"]
    print(f"\n{count} photos, {len(rounds)} rounds in turns, medians; device {arguments.device}")
    print(f"processor: {choose_for_cpu()}")
    print(f"R50-FPN weights: {told}\n")
    base = median("usual", lambda one: one["seconds"]) if "usual" in rounds[0] else None
    print("| contestant | photos/s | s/photo | times (a) | model part, ms/photo | peak memory, MiB | |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in rounds[0]:
        seconds = median(name, lambda one: one["seconds"])
        model = 1e3 * median(name, lambda one: one["model_seconds"]) / count
        ratio = f"{base / seconds:.1f}" if base else ""
        peak = f"{median(name, lambda one: one['peak_mib']):.0f}"
        if median(name, lambda one: one["gpu_mib"]):
            peak += f" + {median(name, lambda one: one['gpu_mib']):.0f} on the GPU"
        print(
            f"| {CONTESTANTS[name]} | {count / seconds:.2f} | {seconds / count:.3f} | {ratio} | {model:.1f} | {peak} |"
            f" {rounds[-1][name]['note']} |"
        )


if __name__ == "__main__":
    main()
