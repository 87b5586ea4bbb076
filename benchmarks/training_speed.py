"""Milliseconds per photo in training: head, half and everything, a head on cached features, and a plain PyTorch loop.

    python benchmarks/training_speed.py [--photos FOLDER] [--model tf_efficientnet_lite0] [--size 192]

Each contestant has a process of its own; they train one epoch each in turns, and only one works at a time.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.stand_in import given_or_drawn  # noqa: E402

CONTESTANTS = {
    "all": "carclf, everything",
    "half": "carclf, half",
    "head": "carclf, head",
    "cached": "carclf, head on cached features",
    "plain": "plain loop, timm's loader, our network",
    "timm": "plain loop, timm's loader, timm's network",
}
CLASSES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder; without it, drawn scenes of 640x480")
    parser.add_argument("--count", type=int, default=480, help="how many photos make an epoch")
    parser.add_argument("--model", default="tf_efficientnet_lite0", help="any of timm's, with random weights")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=1, help="processes that read and augment")
    parser.add_argument("--precision", default="auto", choices=["auto", "bf16", "float32"])
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5, help="of a head stage, which computes features once")
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carclf-training-") as name:
        folder = Path(name)
        files = given_or_drawn(arguments.photos, folder, arguments.count)
        random.Random(0).shuffle(files)
        photos = link_classes(files[: arguments.count], folder / "photos")
        workers = {}
        try:
            for name in arguments.only:
                workers[name] = Worker(name, photos, folder, arguments)
                workers[name].answer()  # of the first epoch, which loads and warms up
            rounds = [{name: worker.epoch() for name, worker in workers.items()} for _ in range(arguments.rounds)]
        finally:
            for worker in workers.values():
                worker.end()
    report(rounds, arguments)


def link_classes(files: list[Path], folder: Path) -> Path:
    """A folder per class with links to the files; which is in which class does not matter for the time."""
    for number, file in enumerate(files):
        link = folder / f"class {number % CLASSES}" / f"{number:05}{file.suffix.lower()}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.resolve())
    return folder


class Worker:
    """A contestant's process, which trains an epoch when told."""

    def __init__(self, name: str, photos: Path, folder: Path, arguments: argparse.Namespace):
        self.name = name
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.training_worker", name, photos, folder / name]
        for option in ("model", "size", "batch", "workers", "precision", "device"):
            command += [f"--{option}", getattr(arguments, option)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip

    def epoch(self) -> dict:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            said = self.log.read_text(encoding="utf-8", errors="replace")
            raise SystemExit(f"'{CONTESTANTS[self.name]}' failed:\n{said[-3000:]}")
        figures = json.loads(line)
        print(f"{self.name}: {1e3 * figures['seconds'] / figures['photos']:.2f} ms per photo", file=sys.stderr)
        return figures

    def end(self) -> None:
        self.process.communicate()  # closes its input, and with that ends it


def report(rounds: list[dict[str, dict]], arguments: argparse.Namespace) -> None:
    each = {
        name: [1e3 * one[name]["seconds"] / one[name]["photos"] for one in rounds] for name in rounds[0]
    }  # milliseconds per photo
    middle = {name: statistics.median(values) for name, values in each.items()}
    last = rounds[-1]
    for line in about(arguments, last):
        print(line)
    print("\n| contestant | ms/photo, median | least to most | photos/s | peak memory, MiB |")
    print("| --- | --- | --- | --- | --- |")
    for name, values in each.items():
        peak = f"{last[name]['peak_mib']:.0f}"
        if last[name]["gpu_mib"]:
            peak += f" + {last[name]['gpu_mib']:.0f} on the GPU"
        print(f"| {CONTESTANTS[name]} | {middle[name]:.2f} | {min(values):.2f} - {max(values):.2f} |"
              f" {1e3 / middle[name]:.0f} | {peak} |")  # fmt: skip
    print("\n| ratio | median of the rounds | wanted |\n| --- | --- | --- |")
    for what, slow, fast, wanted in RATIOS:
        if slow in each and fast in each:
            ratio = statistics.median(ours / theirs for ours, theirs in zip(each[slow], each[fast], strict=True))
            print(f"| {what} | {ratio:.2f} | {wanted} |")
    if {"all", "cached"} <= set(each):
        before = 1e3 * last["cached"]["before"] / last["cached"]["photos"]
        ratio = middle["all"] / (middle["cached"] + before / arguments.epochs)
        print(f"| the same in a stage of {arguments.epochs} epochs, computing the features included | {ratio:.2f} | |")


RATIOS = [
    ("head against everything", "all", "head", "3"),
    ("half against everything", "all", "half", "1.4"),
    ("head on cached features against everything", "all", "cached", "10"),
    ("carclf against the plain loop, the same network", "plain", "all", "1"),
    ("carclf against the plain loop, timm's network", "timm", "all", "1"),
]


def about(arguments: argparse.Namespace, figures: dict[str, dict]) -> list[str]:
    """What was measured, and on what."""
    import torch

    from carclf.tools.doctor import check_device
    from detection.common.machine import usable_cores
    from detection.common.networks.device import choose_device, use_bfloat16

    device = choose_device(arguments.device)
    precision = "bf16" if use_bfloat16(arguments.precision, device) else "float32"
    photos = "drawn scenes of 640x480" if arguments.photos is None else f"photos of {arguments.photos.name}"
    lines = [
        f"\n{arguments.model} at {arguments.size} px, batch {arguments.batch}, {precision} on {device}, "
        f"{arguments.workers} worker process{'es' * (arguments.workers != 1)}; {arguments.count} {photos}; "
        f"{arguments.rounds} epochs each, in turns",
        f"machine: {processor()}, {usable_cores()} cores; {check_device().detail}; torch {torch.__version__}",
    ]
    if "cached" in figures and not figures["cached"]["cached"]:
        lines.append("Nothing was cached.")
    return lines


def processor() -> str:
    """The processor's name as Linux gives it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
