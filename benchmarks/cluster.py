"""What a Ray cluster costs and brings, on one machine.

    python benchmarks/cluster.py one PHOTOS [--rounds 3]         # engine ray against local on one node
    python benchmarks/cluster.py two PHOTOS [--rounds 3]         # two nodes of one core against one
    python benchmarks/cluster.py plan [--few 10000] [--many 1000000]    # the driver's memory for so many keys
    python benchmarks/cluster.py rows [--few 10000] [--many 1000000]    # and with a row in the journal for each

PHOTOS is a folder; its first --count photos are taken. `one` and `two` compare photos/s once workers are started, as
run.json has them, all contestants in turns. `plan` lists and plans so many synthetic keys of a place in a process that
has Ray imported, as a driver has: the keys come in any order, and none has a row yet. `rows` then appends a row of each
to the journal, looks which photos remain, and writes the journal as a run does at its end. Wanted:
one >= 0.85, two >= 1.6, plan and rows <= 1.2.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PLAN = """
import sys
from contextlib import closing
from pathlib import Path
import ray
from detection.common.machine import hand_back
from detection.common.places.place import Place
from detection.common.places.store import FOLDER, Entry, Listing, Store
from detection.cutout.cut import CutoutStyle
from detection.folder.options import CleanOptions
from detection.folder.out.folder import remaining
from detection.folder.out.journal import Journal
from detection.folder.out.manifest import Record, row_cells
from detection.folder.out.summary import peak_memory
from detection.folder.plan import plan_folder
output, size, rows = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "rows"

class Synthetic(Store):
    def kind(self, key):
        return "" if key else FOLDER

    def walk(self):
        numbers = (number * 7_919 % size for number in range(size))
        return Listing(Entry(f"{number // 1000:05d}/{number:08d}.jpg", 12_345, number) for number in numbers)

plan = plan_folder(Place(Synthetic("synthetic://photos"), ""), output, CutoutStyle(), CleanOptions())
with closing(Journal(output / "journal.jsonl", read_only=not rows)) as journal:
    todo = remaining(plan, journal)
    found = len(todo)
    if rows:
        for source in todo:
            stamp = (plan.source / source).stamp()
            journal.append(Record(row_cells(source, "no_car", reason="no vehicle found"), stamp, None))
        found -= len(remaining(plan, journal))
        journal.compact(plan.sources)
hand_back()
now = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
print(found, peak_memory(), int(now.split()[1]) / 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("one", "two", "plan", "rows"))
    parser.add_argument("photos", type=Path, nargs="?", help="a folder of photos")
    parser.add_argument("--count", type=int, default=983, help="photos per run, at most (983)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contestant (3)")
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carclf-cluster-") as name:
        work = Path(name)
        if arguments.what in ("plan", "rows"):
            _plan(work, (arguments.few, arguments.many), arguments.what)
            return
        if arguments.photos is None:
            parser.error("a folder of photos is needed")
        from detection.images.find import find_images

        source = work / "in"
        source.mkdir()
        for number, photo in enumerate(find_images(arguments.photos)[: arguments.count]):
            shutil.copyfile(photo, source / f"{number:05d}{photo.suffix}")
        from benchmarks.measured import machine

        print(f"{len(list(source.iterdir()))} photos; {machine()}")
        (_one if arguments.what == "one" else _two)(source, work / "out", arguments.rounds)


def _one(source: Path, output: Path, rounds: int) -> None:
    from detection.common.machine import usable_cores
    from tests.clusters import nodes

    with nodes(1, cores=usable_cores()) as cluster:
        far = ["--engine", "ray", "--address", cluster.address]
        _table({"local": [], "ray, one node": far}, source, output, rounds)


def _two(source: Path, output: Path, rounds: int) -> None:
    from tests.clusters import nodes

    with nodes(2) as cluster:
        far = ["--engine", "ray", "--address", cluster.address, "--worker-cores", "1"]
        contestants = {f"{many} of one core": [*far, "--cluster-workers", str(many)] for many in (1, 2)}
        _table(contestants, source, output, rounds)


def _table(contestants: dict[str, list[str]], source: Path, output: Path, rounds: int) -> None:
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, options in contestants.items():
            shutil.rmtree(output, ignore_errors=True)
            command = [sys.executable, "-m", "carclf", "clean", str(source), str(output), *options]
            ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL)
            if ended.returncode not in (0, 3):
                sys.exit(f"{' '.join(command)} ended with {ended.returncode}")
            speeds[name].append(json.loads((output / "run.json").read_text())["photos_per_second"])
    first = median(next(iter(speeds.values())))
    print("| engine | photos/s | all runs | ratio |\n| --- | ---: | --- | ---: |")
    for name, seen in speeds.items():
        runs = ", ".join(f"{speed:.1f}" for speed in seen)
        print(f"| {name} | {median(seen):.1f} | {runs} | {median(seen) / first:.2f} |")


def _plan(work: Path, sizes: tuple[int, ...], what: str) -> None:
    print("| keys | peak, MiB | at the end, MiB | ratio of peaks |\n| ---: | ---: | ---: | ---: |")
    first = 0.0
    for size in sizes:
        output = work / str(size)
        output.mkdir()
        command = [sys.executable, "-c", PLAN, str(output), str(size), what]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
        keys, peak, now = (float(value) for value in answer.split())
        first = first or peak
        print(f"| {keys:,.0f} | {peak:.0f} | {now:.0f} | {peak / first:.2f} |", flush=True)


if __name__ == "__main__":
    main()
