"""How fast `carclf serve` answers on this machine: cold start, one client, several at once, memory.

    python benchmarks/service_speed.py [PHOTOS] [--model MODEL] [--clients 8] [--requests 100]

The server is a process of its own; the clients are threads of this one, and take some of the same cores.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.measured import Checkout, start_service  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", help="a folder; without it, drawn scenes")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--detector")
    parser.add_argument("--threads", type=int, help="of the models")
    parser.add_argument("--clients", type=int, default=8, help="how many at once")
    parser.add_argument("--requests", type=int, default=100, help="timed ones, in each of the two parts")
    parser.add_argument("--rounds", type=int, default=2, help="of one client, then several, in turns")
    parser.add_argument("--pictures", action="store_true", help="with outlines and cut-outs, as the page asks")
    arguments = parser.parse_args()
    photos = megapixel_photos(arguments.photos)
    with tempfile.NamedTemporaryFile(prefix="carclf-serve-", suffix=".log") as log:
        options = ["--model", arguments.model]
        for name in ("detector", "threads"):
            value = getattr(arguments, name)
            options += [] if value is None else [f"--{name}", str(value)]
        server, address, cold = start_service(Checkout("today", ROOT, sys.executable), options, log)
        try:
            address += "/predict" + ("?pictures=true" if arguments.pictures else "")
            loaded = _rss(server.pid)
            ask(address, photos, 1, 10)  # warms up
            rounds = [
                (
                    ask(address, photos, 1, arguments.requests),
                    ask(address, photos, arguments.clients, arguments.requests),
                )
                for _ in range(arguments.rounds)
            ]
            now = _rss(server.pid)
            peak = _rss(server.pid, "VmHWM")
        finally:
            server.terminate()
            server.wait(60)
    one, many = (_together([pair[part] for pair in rounds]) for part in (0, 1))
    print(
        f"photos             {len(photos)} of about 1 megapixel; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"cold start         {cold:.2f} s from the command to /readyz")
    for count, (seconds, rate, failed) in ((1, one), (arguments.clients, many)):
        print(
            f"{count:2d} client{'s' * (count > 1):1}         p50 {_quantile(seconds, 0.5) * 1000:.0f} ms, "
            f"p95 {_quantile(seconds, 0.95) * 1000:.0f} ms, {rate:.2f} photos/s, {failed} errors"
        )
    print(f"throughput         {many[1] / one[1]:.2f} times that of one client")
    print(
        f"resident memory    {loaded / 2**20:.0f} MiB when ready, {now / 2**20:.0f} MiB after all, "
        f"{peak / 2**20:.0f} MiB at most"
    )


def megapixel_photos(folder: Path | None, count: int = 16) -> list[bytes]:
    """Files of about 1 megapixel (1152x864)."""
    import numpy as np
    from PIL import Image

    from detection.images.find import find_images

    if folder is not None:
        images = [Image.open(file).convert("RGB") for file in find_images(folder)[:count]]
    else:
        from carclf.datasets.drawn.car_shapes import CAR_SHAPES
        from carclf.datasets.drawn.scenes import draw_scene

        images = [
            Image.fromarray(
                draw_scene(CAR_SHAPES[seed % len(CAR_SHAPES)], np.random.default_rng(seed), (864, 1152)).image
            )
            for seed in range(count)
        ]
    files = []
    for image in images:
        scale = (1_000_000 / (image.width * image.height)) ** 0.5
        file = io.BytesIO()
        image.resize((round(image.width * scale), round(image.height * scale))).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def ask(address: str, photos: list[bytes], clients: int, requests: int) -> tuple[list[float], float, int]:
    """Seconds of each request, photos per second, errors."""
    import httpx

    seconds, failed, lock = [], 0, threading.Lock()
    left = iter(range(requests))

    def client() -> None:
        nonlocal failed
        with httpx.Client(timeout=120) as session:
            while True:
                with lock:
                    number = next(left, None)
                if number is None:
                    return
                files = {"photos": ("photo.jpg", photos[number % len(photos)], "image/jpeg")}
                began = time.perf_counter()
                answer = session.post(address, files=files)
                taken = time.perf_counter() - began
                with lock:
                    seconds.append(taken)
                    failed += answer.status_code != 200 or answer.json()["answers"][0]["status"] == "error"

    threads = [threading.Thread(target=client) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, requests / (time.perf_counter() - began), failed


def _together(rounds: list[tuple[list[float], float, int]]) -> tuple[list[float], float, int]:
    return (
        [second for seconds, _, _ in rounds for second in seconds],
        statistics.median(rate for _, rate, _ in rounds),
        sum(failed for _, _, failed in rounds),
    )


def _quantile(seconds: list[float], part: float) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(part * len(seconds)))]


def _rss(pid: int, field: str = "VmRSS") -> int:
    return int(re.search(rf"{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) * 1024


if __name__ == "__main__":
    main()
