"""Memory, cold start and time per photo of the bundled recognizer: by torch, by default, exported; each by itself.

    python benchmarks/serving_memory.py [EXPORT] [--photos FOLDER] [--cores 1 2] [--count 50]

Photos are brought to one megapixel. Without EXPORT, a folder that `carclf export` wrote, one is made first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PIXELS = 1_000_000

# Bound to its cores before anything counts them. One photo at a time, as one client asks.
WORKER = """
import os, sys, time
started, cores, model, runtime, photos = float(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5], sys.argv[5:]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
def mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
from carclf import CarRecognizer
recognizer = CarRecognizer(model, device="cpu", runtime=runtime)
loaded = mib()
recognizer(photos[0])
first, used = time.time() - started, time.process_time()
seconds, answers = [], []
for photo in photos:
    start = time.perf_counter()
    answers.append(recognizer(photo).status)
    seconds.append(time.perf_counter() - start)
import json, resource
print(json.dumps({"loaded": loaded, "first": first, "cpu_first": used, "after": mib(), "seconds": seconds,
    "cpu": (time.process_time() - used) / len(photos), "ok": answers.count("ok"), "torch": "torch" in sys.modules,
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path, nargs="?", help="a folder that `carclf export` wrote")
    parser.add_argument("--model", default="bundled", help="what the export was made from")
    parser.add_argument("--photos", type=Path, help="a folder; without it, drawn scenes")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--count", type=int, default=50, help="photos for each figure")
    arguments = parser.parse_args()
    if not hasattr(os, "sched_setaffinity"):
        raise SystemExit("This benchmark binds processes to cores and reads /proc: it runs on Linux only.")
    with tempfile.TemporaryDirectory(prefix="carclf-serving-") as name:
        folder = Path(name)
        export = arguments.export or _exported(arguments.model, folder / "export")
        photos = _megapixel_photos(arguments.photos, folder / "photos", arguments.count)
        print(f"\n{len(photos)} photos of 1 megapixel, one at a time; one process for each row")
        print(f"model: {arguments.model}\n")
        print(
            "| what | cores | cold start, s (processor s) | MiB loaded | MiB after the photos | MiB peak "
            "| p50, ms | p95, ms | processor ms per photo |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for cores in arguments.cores:
            for what, model, runtime in (
                ("by torch", arguments.model, "torch"),
                ("by default", arguments.model, "auto"),
                ("export", str(export.resolve()), "auto"),
            ):
                print(_row(what, cores, _measure(cores, model, runtime, photos)), flush=True)


def _measure(cores: int, model: str, runtime: str, photos: list[Path]) -> dict:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    asked = [repr(time.time()), str(cores), model, runtime, *map(str, photos)]
    command = [sys.executable, "-W", "ignore", "-c", WORKER, *asked]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _row(what: str, cores: int, seen: dict) -> str:
    import numpy as np

    middle, slow = (1e3 * float(np.percentile(seen["seconds"], share)) for share in (50, 95))
    torch = "" if seen["torch"] else ", no torch"
    return (
        f"| {what}{torch} | {cores} | {seen['first']:.2f} ({seen['cpu_first']:.2f}) | {seen['loaded']:.0f} "
        f"| {seen['after']:.0f} | {seen['peak']:.0f} | {middle:.0f} | {slow:.0f} | {1e3 * seen['cpu']:.0f} |"
    )


def _exported(model: str, folder: Path) -> Path:
    from carclf.tools.export.folder import export_model

    done = export_model(model, folder, say=lambda text: print(text, file=sys.stderr))
    if not done.written:
        raise SystemExit(done.reason)
    return folder


def _megapixel_photos(source: Path | None, folder: Path, count: int) -> list[Path]:
    import cv2
    import numpy as np

    from detection.images.find import find_images
    from detection.images.read import load_image
    from detection.images.write import save_image

    folder.mkdir()
    if source is None:
        from benchmarks.stand_in import draw_photos

        (folder / "drawn").mkdir()
        draw_photos(folder / "drawn", min(count, 12))
        source = folder / "drawn"
    files = find_images(source)
    if not files:
        raise SystemExit(f"There are no photos in '{source}'.")
    made = []
    for number in range(count):
        # Evenly spread over the folder; fewer photos than wanted come again.
        image = load_image(files[number * max(1, len(files) // count) % len(files)])
        height, width = image.shape[:2]
        scale = (PIXELS / (height * width)) ** 0.5
        image = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_CUBIC)
        made.append(folder / f"{number:04}.jpg")
        save_image(made[-1], np.ascontiguousarray(image), 90)
    return made


if __name__ == "__main__":
    main()
