"""What one photo costs, from the command to its end, and a service until it answers: 0.4.0 against today.

    python benchmarks/cold_start.py [PHOTO] [--against FOLDER] [--against-python PYTHON] [--rounds 5]

Whole processes, in turns, medians; the processor's seconds and the peak of memory are those that the operating system
counts. The service then answers 8 clients, 40 photos of one megapixel in all; its memory is that after them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.measured import (  # noqa: E402
    Checkout,
    Cost,
    add_checkouts,
    checkouts,
    ended,
    in_turns,
    machine,
    measure,
    start_service,
)
from benchmarks.service_speed import ask, megapixel_photos  # noqa: E402
from benchmarks.stand_in import draw_photos  # noqa: E402

_CLIENTS, _REQUESTS = 8, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path, nargs="?", help="without it, a drawn scene")
    add_checkouts(parser)
    parser.add_argument("--only-service", action="store_true", help="leave the two commands out")
    arguments = parser.parse_args()
    print(f"{machine()}; medians of {arguments.rounds} runs each, in turns\n")
    print("| | 0.4.0 | today | times |")
    print("| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="carclf-cold-") as name, checkouts(arguments) as both:
        folder = Path(name)
        photo = arguments.photo
        if photo is None:
            draw_photos(folder, 1)
            photo = next(folder.glob("*.jpg"))
        alone = folder / "alone"  # 0.4.0 takes folders only
        alone.mkdir()
        photo = Path(shutil.copy(photo, alone))
        commands = (("`predict PHOTO`", _predict), ("`clean`, a folder of one", _clean))
        for what, run in () if arguments.only_service else commands:
            seen = in_turns({one.name: partial(run, one, photo) for one in both}, arguments.rounds)
            _row(what, *(seen[one.name] for one in both))
        photos = megapixel_photos(None)
        services: dict[str, list[tuple[float, float, Cost]]] = {one.name: [] for one in both}
        for _ in range(arguments.rounds):
            for one in both:
                services[one.name].append(_serve(one, photos))
        for what, part in (("`serve`: ready", 0), ("`serve`: the first answer after that", 1)):
            _row(what, *(Cost.median([Cost(seen[part], 0, 0) for seen in services[one.name]]) for one in both))
        whole = [Cost.median([seen[2] for seen in services[one.name]]) for one in both]
        print(f"| `serve`: peak after {_CLIENTS} clients | " + " | ".join(f"{cost.peak:.0f} MiB" for cost in whole)
              + f" | {whole[0].peak / whole[1].peak:.1f} |")  # fmt: skip


def _predict(checkout: Checkout, photo: Path) -> Cost:
    return measure(checkout.command("predict", photo), checkout.folder)


def _clean(checkout: Checkout, photo: Path) -> Cost:
    with tempfile.TemporaryDirectory(prefix="carclf-cold-out-") as output:
        return measure(checkout.command("clean", photo.parent, output), checkout.folder)


def _serve(checkout: Checkout, photos: list[bytes]) -> tuple[float, float, Cost]:
    """Seconds until it is ready, seconds of the first answer, and what the whole process cost."""
    with tempfile.NamedTemporaryFile(prefix="carclf-cold-", suffix=".log") as log:
        server, address, ready = start_service(checkout, [], log)
        try:
            (first,), _, failed = ask(f"{address}/predict", photos, 1, 1)
            _, _, more = ask(f"{address}/predict", photos, _CLIENTS, _REQUESTS)
        finally:
            server.terminate()
        cost = ended(server, 0.0)
        if failed or more:
            raise SystemExit(f"{checkout.name} failed {failed + more} requests:\n{Path(log.name).read_text()[-2000:]}")
    return ready, first, cost


def _row(what: str, before: Cost, today: Cost) -> None:
    def shown(cost: Cost) -> str:
        more = f" ({cost.processor:.2f} s of a processor), {cost.peak:.0f} MiB" if cost.peak else ""
        return f"{cost.seconds:.2f} s{more}"

    ratio = f"{before.seconds / today.seconds:.1f}"
    if before.peak:
        ratio += f" ({before.processor / today.processor:.1f}), memory {before.peak / today.peak:.1f}"
    print(f"| {what} | {shown(before)} | {shown(today)} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
