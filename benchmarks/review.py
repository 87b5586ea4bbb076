"""How quickly the page of `carclf review` shows 50,000 photos, scrolls through them, and how much memory that takes.

    python benchmarks/review.py [--photos 50000] [--drawn 500] [--folder DIR]

Photos are drawn: some scenes with cars, and links to them until there are enough. A real server reads predictions,
and a real Chromium opens the page: first by a server that has no thumbnails, then by one that has them. Printed are
the time from asking for the page until its first paint, until photos are laid out and until all pictures in sight are
there; frames while the grid scrolls from its start to its end, and how many elements and bytes the page then has; a
decision from the key to the disk; and the server's memory before and after. Times are those of this machine, with
whatever runs beside; the work of page and server is what they take of it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from carclf.datasets.drawn.car_shapes import CAR_SHAPES
from carclf.datasets.drawn.scenes import draw_scene
from detection.images.write import save_image

CLASSES = 100
SCROLL_SECONDS = 8
WAIT = 180_000  # milliseconds, at most

# Frames while the grid is moved a fixed part of its height per second, and the longest pause between two.
SCROLL = """async (seconds) => {
  const grid = document.querySelector("#grid");
  const end = grid.scrollHeight - grid.clientHeight, frames = [], start = performance.now();
  for (let now = start; now < start + 1000 * seconds; ) {
    grid.scrollTop = end * (now - start) / (1000 * seconds);
    const next = await new Promise(requestAnimationFrame);
    frames.push(next - now);
    now = next;
  }
  return frames.slice(1);
}"""
SEEN = """() => {
  const grid = document.querySelector("#grid").getBoundingClientRect();
  const all = [...document.querySelectorAll(".cell")].filter((cell) => {
    const box = cell.getBoundingClientRect();
    return box.bottom > grid.top && box.top < grid.bottom;
  });
  return all.length > 0 && all.every((cell) => cell.classList.contains("seen"));
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=50_000)
    parser.add_argument("--drawn", type=int, default=500, help="of them drawn; the others are links to these")
    parser.add_argument("--folder", type=Path, default=None, help="keep the photos here, to be used again")
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        folder = arguments.folder or Path(made)
        rows = make_photos(folder, arguments.photos, arguments.drawn)
        shutil.rmtree(folder / "rows.jsonl.review", ignore_errors=True)
        chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        print(f"{arguments.photos} photos, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for thumbnails in ("made now", "on disk"):
            with server(rows) as (address, process, seconds):
                print(
                    f"thumbnails {thumbnails}; server ready after {seconds:.1f} s, {cpu(process):.1f} s of work, "
                    f"{rss(process):.0f} MB"
                )
                measure(browser, address, process)
                print(f"  server after it: {rss(process):.0f} MB")
        browser.close()


def make_photos(folder: Path, count: int, drawn: int) -> Path:
    """rows.jsonl of `carclf predict`'s form, and the photos that it names, 480x360."""
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    shapes = sorted(CAR_SHAPES)
    for number in range(count):
        path = photos / f"{number:06}.jpg"
        if path.exists():
            continue
        if number < drawn:
            shape = shapes[number % len(shapes)]
            save_image(path, draw_scene(shape, np.random.default_rng(number)).image)
        else:  # a link has a path of its own, so it gets a thumbnail of its own
            os.link(photos / f"{number % drawn:06}.jpg", path)
    random = np.random.default_rng(0)
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(count):
            best = [f"class {one:03}" for one in random.choice(CLASSES, 5, replace=False)]
            share = float(random.uniform(0.2, 0.99))
            top = [[name, share if place == 0 else (1 - share) / 4] for place, name in enumerate(best)]
            row = {"file": str(photos / f"{number:06}.jpg"), "status": "ok", "label": best[0], "confidence": share}
            file.write(json.dumps(row | {"top": top, "box": [10, 10, 200, 150]}) + "\n")
    return folder / "rows.jsonl"


@contextmanager
def server(rows: Path) -> Iterator[tuple[str, subprocess.Popen, float]]:
    began = time.perf_counter()
    command = [sys.executable, "-m", "carclf", "review", str(rows), "--port", "0", "--name", "bench"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    found = None
    while found is None:
        line = process.stderr.readline()
        if not line:
            sys.exit("the server has ended")
        found = re.search(r"http://[\d.:]+/", line)
    try:
        yield found.group(), process, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def measure(browser, address: str, process: subprocess.Popen) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(WAIT)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    used = cpu(process)
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    wait(page, SEEN)
    seen = time.perf_counter() - began
    paint, photos = page.evaluate(
        "['first-contentful-paint', 'photos'].map((name) => performance.getEntriesByName(name)[0].startTime / 1000)"
    )
    print(f"  first paint {paint:.2f} s, photos laid out {photos:.2f} s, pictures in sight {seen:.2f} s; "
          f"{work(session):.2f} s is the page's work, {cpu(process) - used:.2f} s the server's")  # fmt: skip
    before, worked, used = heap(session), work(session), cpu(process)
    frames = page.evaluate(SCROLL, SCROLL_SECONDS)
    median, worst = statistics.median(frames), max(frames)
    late = sum(one > 50 for one in frames) / len(frames)
    print(f"  scrolling all in {SCROLL_SECONDS} s: {1000 / median:.0f} frames/s (median), longest {worst:.0f} ms, "
          f"{late:.1%} over 50 ms")  # fmt: skip
    each = 1000 * (work(session) - worked) / len(frames)
    print(f"  the page's own work: {each:.1f} ms a frame; the server's: {cpu(process) - used:.2f} s")
    began = time.perf_counter()
    wait(page, SEEN)
    print(f"  pictures at the end there after {time.perf_counter() - began:.2f} s")
    elements = page.evaluate("document.querySelectorAll('.cell').length")
    print(f"  the page: {elements} photos as elements, {before:.1f} MB of scripts before, {heap(session):.1f} after")
    times = []
    page.locator("#grid .cell").last.focus()
    for _ in range(10):
        began = time.perf_counter()
        page.keyboard.press("ArrowUp")
        place = page.evaluate("document.activeElement.dataset.place")
        page.keyboard.press("x")
        page.keyboard.press("l")
        wait(page, f"() => document.querySelector('#photo-{place}[data-state=later]')")
        times.append(time.perf_counter() - began)
    print(
        f"  a decision, until it is shown as saved: {statistics.median(times) * 1000:.0f} ms (median of {len(times)})"
    )
    page.close()


def wait(page, wanted: str) -> None:
    """Polled by time: a page that is busy has no frames to poll by."""
    page.wait_for_function(wanted, polling=50, timeout=WAIT)


def work(session) -> float:
    """Seconds that the page's own thread was busy since it was opened."""
    return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}["TaskDuration"]


def cpu(process: subprocess.Popen) -> float:
    """Seconds of all cores that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def heap(session) -> float:
    """MB, after a collection."""
    session.send("HeapProfiler.collectGarbage")
    return session.send("Runtime.getHeapUsage")["usedSize"] / 1e6


def rss(process: subprocess.Popen) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found.group(1)) / 1000 if found else 0.0


if __name__ == "__main__":
    main()
