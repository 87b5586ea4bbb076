"""Labels number plates in photos that came without labels: the network proposes, a person corrects.

    python scripts/label_plates.py propose DATA OUT [--of car_masks --of weather]
    python scripts/label_plates.py take OUT MARKS [--labels data/plate_labels.csv]

`propose` writes OUT/finds.npz, what the bundled networks find in photos of the part *fit* of these data sets (those
with vehicles), the surest first, and OUT/sheet-*.png, which show them in rows. MARKS is a text file of what a person
saw there, a line per row: the number at its left, then `N` and the columns that are no plate, `U` and those that can't
be told; the others of the row are plates. Rows without a line are unsure, those after the last line are no plates.
`take` writes the labels; those of other photos stay.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

LEAST = 0.1
COLUMNS, ROWS, CELL = 17, 18, (88, 50)  # of a sheet, and a find's width and height in pixels
_ROOM = 2.2  # of a cell, in multiples of the plate
app = typer.Typer(add_completion=False)


@app.command()
def propose(
    data: Path,
    out: Path,
    of: Annotated[list[str], typer.Option(help="Which data sets.")] = ["car_masks", "weather"],  # noqa: B006
    labels: Annotated[Path | None, typer.Option(help="Only photos that are not in this list.")] = None,
) -> None:
    from detection.images.read import load_image
    from detection.masks.parts import file_digest
    from detection.publishing.hiding.check import PlateCheck
    from detection.publishing.hiding.plates import PlateFinder
    from detection.publishing.hiding.shape import Shape, one_each
    from scripts.plates.candidates import ONE_CAR, SIDES, look
    from scripts.plates.labels import read_labels
    from scripts.plates.windows import STREETS, photos_of

    finder, check, finds, digests, cells = PlateFinder(threads=1), PlateCheck(threads=1), [], [], []
    known = read_labels(labels) if labels else {}
    for name in of:
        for path in photos_of(data, ROOT / "data" / "splits", name):
            if file_digest(path) in known:
                continue
            image = load_image(path)
            digests.append(file_digest(path))
            proposed = [
                Shape(corners, 1) for corners in look(finder, path, SIDES["street"] if name in STREETS else ONE_CAR)
            ]
            for plate in one_each(check.look(image, proposed, [0] * len(proposed), LEAST), 0.3):
                if plate.score >= LEAST:
                    finds.append((plate.score, digests[-1], plate.corners))
                    cells.append(_cell(image, plate.corners))
    order = sorted(range(len(finds)), key=lambda number: -finds[number][0])
    out.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(order), COLUMNS * ROWS):
        _show([cells[number] for number in order[start : start + COLUMNS * ROWS]], start, out)
    np.savez(
        out / "finds.npz",
        photos=np.array(digests),
        digests=np.array([finds[number][1] for number in order]),
        corners=np.array([finds[number][2] for number in order]),
    )


@app.command()
def take(out: Path, marks: Path, labels: Annotated[Path, typer.Option()] = ROOT / "data" / "plate_labels.csv") -> None:
    from scripts.plates.labels import Quads, read_labels, write_labels

    with np.load(out / "finds.npz", allow_pickle=False) as finds:
        found: dict[str, Quads] = {str(digest): [] for digest in finds["photos"]}
        kinds = read_marks(marks.read_text(), len(finds["digests"]))
        for kind, digest, corners in zip(kinds, finds["digests"], finds["corners"], strict=True):
            if kind != "none":
                found[str(digest)].append((kind, corners))
    write_labels(labels, (read_labels(labels) if labels.is_file() else {}) | found)


def read_marks(text: str, count: int) -> list[str]:
    """quad, unsure or none for each of `count` finds."""
    kinds = ["unsure"] * count
    last = 0
    for line in text.splitlines():
        start, *words = line.split() or ["0"]
        last, kind = int(start) + COLUMNS, "quad"
        kinds[int(start) : last] = ["quad"] * max(0, min(COLUMNS, count - int(start)))
        for word in words:
            if word in ("N", "U"):
                kind = {"N": "none", "U": "unsure"}[word]
            else:
                kinds[int(start) + int(word)] = kind
    return kinds[:last] + ["none"] * (count - len(kinds[:last]))


def _cell(image: np.ndarray, corners: np.ndarray) -> np.ndarray:
    (x1, y1), (x2, y2) = corners.min(axis=0), corners.max(axis=0)
    scale = CELL[0] / (_ROOM * max(x2 - x1, 1.9 * (y2 - y1), 8))
    shift = np.array(CELL) / 2 - scale * np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    cell = cv2.warpAffine(image[..., ::-1], np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), CELL)
    return cv2.polylines(cell, [np.int32((corners * scale + shift) * 8)], True, (0, 255, 0), 1, cv2.LINE_AA, 3)


def _show(cells: list[np.ndarray], start: int, out: Path) -> None:
    """A sheet, with the number of each row's first find at its left and those of the columns above."""
    wide, high = CELL
    sheet = np.zeros((16 + high * ROWS, 48 + wide * COLUMNS, 3), np.uint8)

    def write(text: int, x: int, y: int) -> None:
        cv2.putText(sheet, str(text), (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 255, 255), 1)

    for column in range(COLUMNS):
        write(column, 48 + column * wide + wide // 2, 12)
    for number, cell in enumerate(cells):
        row, column = divmod(number, COLUMNS)
        if column == 0:
            write(start + number, 2, 16 + row * high + high // 2)
        sheet[16 + row * high : 16 + (row + 1) * high, 48 + column * wide : 48 + (column + 1) * wide] = cell
    cv2.imwrite(str(out / f"sheet-{start // (COLUMNS * ROWS):02d}.png"), sheet)


if __name__ == "__main__":
    app()
