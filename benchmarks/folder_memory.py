"""Peak memory of `carclf clean` over few and over many photos: it must not grow with their number.

    python benchmarks/folder_memory.py [PHOTOS] [--counts 500 5000]

Each run has a process of its own. Photos are repeated as often as is needed, by links.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.stand_in import given_or_drawn  # noqa: E402

RUN = """
import resource, sys
from pathlib import Path
from detection import CutoutStyle, load_detector
from detection.folder import clean_folder
summary = clean_folder(Path(sys.argv[1]), Path(sys.argv[2]), load_detector("compact", sys.argv[3]), CutoutStyle(),
                       progress=False)
print(summary.processed, summary.seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", help="a folder; without it, drawn scenes of 640x480")
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    unit = 2**20 if sys.platform == "darwin" else 2**10
    with tempfile.TemporaryDirectory(prefix="carclf-memory-") as name:
        folder = Path(name)
        files = given_or_drawn(arguments.photos, folder, 25)
        print("| photos | seconds | photos/s | peak memory, MiB | times the first |")
        print("| --- | --- | --- | --- | --- |")
        first = None
        for count in arguments.counts:
            photos = folder / f"in-{count}"
            photos.mkdir()
            for number in range(count):
                file = files[number % len(files)]
                os.symlink(file.resolve(), photos / f"{number:06}{file.suffix}")
            command = [sys.executable, "-W", "ignore", "-c", RUN, photos, folder / f"out-{count}", arguments.device]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
            processed, seconds, peak = (float(value) for value in done.stdout.split()[-3:])
            first = first or peak
            print(
                f"| {processed:.0f} | {seconds:.0f} | {processed / seconds:.1f} | {peak / unit:.0f} |"
                f" {peak / first:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
