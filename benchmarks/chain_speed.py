"""How fast folders are done: `predict` and `clean` of 0.4.0 and today, and rembg, in turns, whole processes.

    python benchmarks/chain_speed.py [PHOTOS] [--counts 60 983] [--against FOLDER] [--against-python PYTHON]
                                     [--rounds 3] [--rembg-model isnet-general-use.onnx]

rembg is measured where the package is installed and an ISNet model file is given (it would fetch one itself, which a
benchmark is not to): it cuts out the photos one after the other, each saved as a PNG, as its own `rembg p` does.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.measured import Checkout, Cost, add_checkouts, checkouts, in_turns, machine, measure  # noqa: E402
from benchmarks.stand_in import given_or_drawn  # noqa: E402

REMBG = """
import sys
from pathlib import Path
from PIL import Image
from rembg import new_session, remove
model, source, output = sys.argv[1:]
session = new_session("dis_custom", model_path=model)
for file in sorted(Path(source).iterdir()):
    remove(Image.open(file), session=session).save(Path(output) / f"{file.stem}.png")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", help="a folder; without it, drawn scenes of 640x480")
    parser.add_argument("--counts", type=int, nargs="+", default=[60], help="photos of `clean`; the first of `predict`")
    parser.add_argument("--rembg-model", type=Path, help="an ISNet model file")
    add_checkouts(parser)
    arguments = parser.parse_args()
    print(f"{machine()}; medians of {arguments.rounds} runs each, in turns; a peak is that of the whole process\n")
    why = _no_rembg(arguments.rembg_model)
    with tempfile.TemporaryDirectory(prefix="carclf-chain-") as name, checkouts(arguments) as both:
        folder = Path(name)
        files = given_or_drawn(arguments.photos, folder, 30)
        print("| | " + " | ".join(f"{one.name}" for one in both) + " | times | rembg |")
        print("| --- | --- | --- | --- | --- |")
        for what, counts in (("predict", arguments.counts[:1]), ("clean", arguments.counts)):
            for count in counts:
                photos = _linked(files, folder / f"in-{count}", count)
                runs: dict[str, Callable[[], Cost]] = {one.name: partial(_run, one, what, photos) for one in both}
                if what == "clean" and not why:
                    runs["rembg"] = partial(_rembg, arguments.rembg_model.resolve(), photos)
                seen = in_turns(runs, arguments.rounds)
                before, today = (seen[one.name] for one in both)
                times = f"{before.seconds / today.seconds:.2f}, memory {before.peak / today.peak:.1f}"
                other = _shown(seen["rembg"], count) if "rembg" in seen else ""
                cells = [f"`{what}`, {count} photos", _shown(before, count), _shown(today, count), times, other]
                print(f"| {' | '.join(cells)} |", flush=True)
    if why:
        print(f"\nrembg is left out: {why}")


def _run(checkout: Checkout, verb: str, photos: Path) -> Cost:
    with tempfile.TemporaryDirectory(prefix="carclf-chain-out-") as name:
        target = ["--output", f"{name}/rows.csv"] if verb == "predict" else [f"{name}/out"]
        return measure(checkout.command(verb, photos, *target), checkout.folder)


def _rembg(model: Path, photos: Path) -> Cost:
    with tempfile.TemporaryDirectory(prefix="carclf-chain-out-") as name:
        return measure([sys.executable, "-W", "ignore", "-c", REMBG, str(model), str(photos), name], ROOT)


def _no_rembg(model: Path | None) -> str:
    if model is None:
        return "no model file was given (--rembg-model)."
    if not model.is_file():
        return f"there is no model file '{model}'."
    return "" if importlib.util.find_spec("rembg") else "it is not installed (pip install 'rembg[cpu]==2.0.86')."


def _linked(files: list[Path], folder: Path, count: int) -> Path:
    """`count` of the photos, evenly spread and again where there are fewer, in a folder of their own."""
    if not folder.is_dir():
        folder.mkdir()
        for number in range(count):
            file = files[number * max(1, len(files) // count) % len(files)].resolve()
            os.symlink(file, folder / f"{number:05}{file.suffix}")
    return folder


def _shown(cost: Cost, count: int) -> str:
    return f"{cost.seconds:.1f} s, {count / cost.seconds:.1f} photos/s, {cost.peak:.0f} MiB"


if __name__ == "__main__":
    main()
