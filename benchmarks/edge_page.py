"""Two edges of cut-outs side by side in blind order, for an eye to judge, and the count of what it said.

    python -m benchmarks.edge_page write DATA OUT [--edges guided mask] [--photos 40] [--seed 1] [--part choose]
    python -m benchmarks.edge_page count OUT [--verdicts FILE]

DATA is a folder with dealer20/ and car_masks/, half of the photos are of each. OUT gets index.html with its pictures,
key.csv, which says what is left and what is right, and verdicts.csv. Each picture shows both cut-outs on black, white,
red and a busy picture, and the places where they differ most, enlarged. Write `left`, `right` or `same` into
verdicts.csv, by hand or with the page's buttons, and then count. OUT holds photos: it does not belong into the
repository. What was said of pages so far is in benchmarks/edge_verdicts.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from benchmarks.edges import EDGES, cutout_of
from benchmarks.soft_cutouts import LEAST_CAR, SPLITS
from detection.common.errors import UsageError
from detection.common.files import replace_file
from detection.detectors.load import load_detector
from detection.images.read import load_image
from detection.images.write import save_image
from detection.masks.parts import part_of, read_parts
from detection.vehicle import choose_main, filled_box

SETS = ("dealer20", "car_masks")
SIDES, SAME = ("left", "right"), "same"
CAR, SPOT, SPOTS = 520, 40, 3  # pixels of a car in the page; of a place and how many there are
GROUND = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    writing = verbs.add_parser("write")
    writing.add_argument("data", type=Path)
    writing.add_argument("out", type=Path)
    writing.add_argument("--edges", nargs=2, choices=tuple(EDGES), default=("guided", "mask"))
    writing.add_argument("--photos", type=int, default=40)
    writing.add_argument("--seed", type=int, default=1)
    writing.add_argument("--part", choices=("choose", "report"), default="choose")
    counting = verbs.add_parser("count")
    counting.add_argument("out", type=Path)
    counting.add_argument("--verdicts", type=Path, help="Another file with verdicts of this page.")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    try:
        if arguments.verb == "count":
            print(count(arguments.out / "key.csv", arguments.verdicts or arguments.out / "verdicts.csv"))
        else:
            rng = np.random.default_rng(arguments.seed)
            found = _found(arguments.data, arguments.part, arguments.photos, rng)
            write(found, arguments.out, arguments.edges, rng)
    except UsageError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def write(
    found: Iterable[tuple[str, np.ndarray, np.ndarray]], out: Path, edges: Sequence[str], rng: np.random.Generator
) -> None:
    """Writes the page, its key and a form for the verdicts.

    found: photos (RGB uint8 HxWx3) with their names and the masks (bool HxW) of their cars. rng: draws what is left and
    what is right. Raises `UsageError` for an OUT with verdicts, and where nothing was found.
    """
    verdicts = out / "verdicts.csv"
    if verdicts.exists() and any(row["better"] for row in _rows(verdicts, "better")):
        raise UsageError(f"'{out}' holds verdicts: choose another OUT.")
    if edges[0] == edges[1]:
        raise UsageError(f"Both edges are '{edges[0]}': name two.")
    out.mkdir(parents=True, exist_ok=True)
    key = []
    for name, photo, mask in found:
        order = list(rng.permutation(list(edges)))
        both = [cutout_of(photo, mask, edge) for edge in order]
        number = len(key) + 1
        save_image(out / f"{number:02d}.png", _picture(photo, both))
        key.append({"number": number, "photo": name, "left": order[0], "right": order[1]})
        print(f"{number}: {name}", flush=True)
    if not key:
        raise UsageError("No photo with a car was found: check the path.")
    _write_csv(out / "key.csv", key)
    _write_csv(verdicts, [{"number": row["number"], "better": ""} for row in key])
    replace_file(out / "index.html", _page([f"{row['number']:02d}" for row in key]).encode())


def count(key_file: Path, verdicts: Path) -> str:
    """What the verdicts say of both edges. Raises `UsageError` for files that are missing or say something else."""
    key = {row["number"]: row for row in _rows(key_file, "left")}
    said = {row["number"]: row["better"].strip().lower() for row in _rows(verdicts, "better")}
    if unknown := sorted(said.keys() - key.keys()):
        raise UsageError(f"'{verdicts}' has a picture {unknown[0]}, which '{key_file}' has not: take its own page.")
    for number, better in said.items():
        if better not in (*SIDES, SAME, ""):
            raise UsageError(f"Picture {number} in '{verdicts}' says '{better}': write left, right or same.")
    edges = sorted({row[side] for row in key.values() for side in SIDES})
    better = Counter(key[number][side] for number, side in said.items() if side in SIDES)
    same = sum(side == SAME for side in said.values())
    open_ones = len(key) - same - better.total()
    text = ", ".join(f"{edge} better in {better[edge]}" for edge in edges) + f", the same in {same}"
    return f"{len(key)} pictures: {text}, no verdict in {open_ones}; {sign_test(*(better[edge] for edge in edges))}"


def sign_test(one: int, other: int) -> str:
    """How likely so uneven a count is if both edges are alike, by the two-sided sign test.

    >>> sign_test(1, 9)
    'sign test p = 0.021'
    """
    total = one + other
    tail = sum(math.comb(total, few) for few in range(min(one, other) + 1)) / 2**total
    return "sign test p < 0.001" if 2 * tail < 0.001 else f"sign test p = {min(1.0, 2 * tail):.3f}"


def _found(
    data: Path, part: str, photos: int, rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Photos (RGB uint8 HxWx3) drawn from both sets, with their names and the mask of the main car."""
    detector = load_detector("compact", device="cpu")
    left = photos
    for place, name in enumerate(SETS):
        parts = read_parts(SPLITS / f"{name}.csv")
        folder = data / name / "images"
        files = sorted(path for path in folder.rglob("*") if path.is_file() and part_of(path, parts) == part)
        wanted = left // (len(SETS) - place)
        for number in rng.permutation(len(files)):
            if wanted == 0:
                break
            photo = load_image(files[number])
            if name == "dealer20":  # squeezed to squares
                photo = cv2.resize(photo, (photo.shape[0] * 4 // 3, photo.shape[0]))
            car = choose_main(detector.detect([photo])[0], photo.shape[:2])
            if car is None or car.mask.mean() < LEAST_CAR:
                continue
            wanted, left = wanted - 1, left - 1
            yield f"{name}/{files[number].relative_to(folder).as_posix()}", photo, car.mask


def _picture(photo: np.ndarray, both: Sequence[np.ndarray]) -> np.ndarray:
    """The picture of one photo: left and right on four backgrounds, then the places where they differ most.

    both: RGBA uint8 of the photo's size.
    """
    x1, y1, x2, y2 = filled_box(np.maximum(both[0][..., 3], both[1][..., 3]) > 0)
    shown = slice(max(0, y1 - 6), y2 + 6), slice(max(0, x1 - 6), x2 + 6)
    height, width = both[0][shown].shape[:2]
    size = (CAR, round(CAR * height / width)) if width >= height else (round(CAR * width / height), CAR)
    backdrops = backdrops_of(photo.shape[:2])
    halves = []
    spots = list(_spots(*(one[..., 3] for one in both)))
    for one in both:
        sheets = [over(one, backdrop) for backdrop in backdrops]
        cars = [cv2.resize(sheet[shown], size, interpolation=cv2.INTER_CUBIC) for sheet in sheets]
        places = [
            np.hstack([_enlarged(sheet, *spot, size[0] // 2) for sheet in (photo, *sheets[:3])]) for spot in spots
        ]
        halves.append(_stacked([np.vstack([np.hstack(cars[:2]), np.hstack(cars[2:])]), *places]))
    gap = np.full((halves[0].shape[0], 16, 3), (0, 160, 255), np.uint8)
    return np.hstack([halves[0], gap, halves[1]])


def backdrops_of(size: tuple[int, int]) -> list[np.ndarray]:
    """Black, white, red and a busy picture, RGB uint8 of (height, width) `size`."""
    plain = [np.full((*size, 3), colour, np.uint8) for colour in ((0, 0, 0), (255, 255, 255), (220, 20, 20))]
    rng = np.random.default_rng(0)
    busy = np.zeros((*size, 3), np.float32)
    for cells in (4, 9, 20, 45):  # spots of all sizes
        noise = rng.uniform(0, 255, (cells, cells * 4 // 3, 3)).astype(np.float32)
        busy += cv2.resize(noise, size[::-1], interpolation=cv2.INTER_NEAREST) / 4
    middle = busy.mean()
    return [*plain, np.clip((busy - middle) * 1.8 + middle, 0, 255).astype(np.uint8)]


def over(cutout: np.ndarray, backdrop: np.ndarray) -> np.ndarray:
    """A cut-out (RGBA uint8) over a backdrop (RGB uint8) of its size."""
    part = cutout[..., 3:].astype(np.float32) / 255
    return np.rint(cutout[..., :3] * part + backdrop * (1 - part)).astype(np.uint8)


def _spots(one: np.ndarray, other: np.ndarray) -> Iterator[tuple[int, int]]:
    """Upper left corners (x, y) of the squares in which two alphas (uint8 HxW) differ most, the worst first."""
    apart = cv2.boxFilter(cv2.absdiff(one, other).astype(np.float32), -1, (SPOT, SPOT), borderType=cv2.BORDER_CONSTANT)
    half = SPOT // 2
    for _ in range(SPOTS):
        y, x = np.unravel_index(np.argmax(apart), apart.shape)
        yield int(np.clip(x - half, 0, one.shape[1] - SPOT)), int(np.clip(y - half, 0, one.shape[0] - SPOT))
        apart[max(0, y - SPOT) : y + SPOT, max(0, x - SPOT) : x + SPOT] = 0


def _enlarged(sheet: np.ndarray, x: int, y: int, side: int) -> np.ndarray:
    return cv2.resize(sheet[y : y + SPOT, x : x + SPOT], (side, side), interpolation=cv2.INTER_CUBIC)


def _stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    width = max(row.shape[1] for row in rows)
    padded = [
        cv2.copyMakeBorder(row, 0, 6, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=(GROUND,) * 3) for row in rows
    ]
    return np.vstack(padded)


def _page(names: Sequence[str]) -> str:
    rows = "".join(
        f'<section id="n{name}"><h2>{name}</h2><p>'
        + "".join(
            f'<label><input type="radio" name="{int(name)}" value="{one}">{one}</label> ' for one in (*SIDES, SAME)
        )
        + f'<br><img loading="lazy" src="{escape(name)}.png" alt="picture {name}"></section>'
        for name in names
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Two edges in blind order</title>
<style>body {{ font: 16px sans-serif; background: #808080; margin: 1em }} label {{ padding: .3em 1em }}
img {{ max-width: 100% }} button {{ font: inherit; position: fixed; right: 1em; top: 1em }}</style>
<h1>Which edge is better?</h1><p>Each picture: left and right on black, white, red and a busy picture; below, where they
differ most, enlarged, beside the photo itself. Look for halos, holes, ground that is left and things that are cut off.
<button>Save verdicts.csv</button>{rows}
<script>
document.querySelector("button").onclick = () => {{
  const names = [...new Set([...document.querySelectorAll("input")].map((one) => one.name))];
  const said = (name) => document.querySelector(`input[name="${{name}}"]:checked`)?.value ?? "";
  const rows = names.map((name) => `${{name}},${{said(name)}}`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([["number,better", ...rows, ""].join("\\n")], {{ type: "text/csv" }}));
  link.download = "verdicts.csv";
  link.click();
}};
</script></html>
"""


def _rows(path: Path, column: str) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, strict=True, restval=""))
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"'{path}' can't be read: write the page first.") from error
    if any(not {"number", column} <= row.keys() for row in rows):
        raise UsageError(f"'{path}' must have the columns number and {column}: write the page again.")
    return rows


def _write_csv(path: Path, rows: Sequence[dict[str, object]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_file(path, text.getvalue().encode())


if __name__ == "__main__":
    main()
