"""Contact sheets of a folder run: pages of photo and cut-out side by side, for people to look at."""

from __future__ import annotations

import csv
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import BinaryIO

import numpy as np

from detection.common.console import Advance
from detection.common.errors import UsageError
from detection.common.files import read_name, replace_file, user_path
from detection.common.output_folder import OutputFolder, lies_in
from detection.common.tally import StatusCounts, counted
from detection.folder.out.detections import Detections
from detection.folder.out.manifest import OLDER_COLUMNS, STATUSES
from detection.images.contact_page import SheetPair, draw_pair, join_page, page_size
from detection.images.lettering import printable
from detection.images.write import save_image
from detection.vehicle import Vehicle

_MARK = '<meta name="generator" content="carclf contact sheet">'
_QUALITY = 88


def write_contact_sheets(
    source: Path,
    output: Path,
    manifest: Path,
    target: Path,
    *,
    detections: Detections | None = None,
    grid: tuple[int, int] = (4, 6),
    worst_first: bool = False,
    limit: int | None = None,
    workers: int = 2,
    progress: Advance | None = None,
) -> list[Path]:
    """Writes page-00001.jpg, ... and index.html into the folder `target`; returns the pages' paths.

    source, output, manifest: a folder run's photos, its files, and its manifest.csv. Every row is a pair, failed ones
    with their reason. With `detections` the vehicle's outline is drawn too. `grid` is (columns, rows) of a page.
    Pairs come in the manifest's order, or `worst_first`: failed ones, those without a car, then by rising score.
    `limit` bounds the pairs: the worst, or some spread evenly over the manifest. `workers` is the number of threads,
    `progress` is called after each pair. Memory grows by some 50 bytes per photo, and by nothing else.
    Raises `UsageError` when the manifest can't be read, or `target` lies among the photos or holds other files.
    """
    source, output, manifest, target = user_path(source), user_path(output), Path(manifest), Path(target)
    columns, rows = grid
    if columns < 1 or rows < 1 or workers < 1 or (limit is not None and limit < 1):
        raise UsageError("A contact sheet needs at least one column, one row, one photo and one worker.")
    folder = _check_target(source, target)
    with _open(manifest) as file:
        offsets, ranks, counts = _survey(file, manifest)
        order = np.argsort(ranks, kind="stable") if worst_first else np.arange(len(offsets))
        if limit is not None and limit < len(order):
            order = order[:limit] if worst_first else order[np.arange(limit) * len(order) // limit]
        note = f"<!doctype html>{_MARK}<p>The pages are being made."
        folder.make(lambda: replace_file(target / "index.html", note.encode()))
        pages: list[Path] = []
        lines: list[str] = []
        with ThreadPoolExecutor(workers) as pool:
            for start in range(0, len(order), columns * rows):
                page = [
                    _pair(_row(file, int(offsets[index]), manifest), source, output)
                    for index in order[start : start + columns * rows]
                ]
                cells = []
                for cell in pool.map(lambda pair: draw_pair(_with_mask(pair, detections)), page):
                    cells.append(cell)
                    if progress is not None:
                        progress()
                pages.append(target / f"page-{len(pages) + 1:05d}.jpg")
                save_image(pages[-1], join_page(cells, columns, rows), _QUALITY)
                lines.append(_figure(pages[-1].name, page, grid))
    for path in target.glob("page-*.jpg"):  # of an earlier, longer sheet
        if path not in pages:
            path.unlink()
    _write_index(target, lines, counts, len(order), worst_first)
    return pages


def _check_target(source: Path, target: Path) -> OutputFolder:
    if lies_in(target, source):
        raise UsageError(f"The contact sheet '{target}' would lie among the photos '{source}': choose another folder.")
    folder = OutputFolder(target, _is_sheet, failed=f"The contact sheet can't be written to '{target}'")
    folder.check(
        f"The folder '{target}' holds other files: choose an empty one for the contact sheet.",
        file=f"The contact sheet '{target}' is to be a folder, and there is a file of that name.",
    )
    return folder


def _is_sheet(folder: Path) -> bool:
    try:
        return _MARK in (folder / "index.html").read_text("utf-8")
    except (OSError, ValueError):
        return False


class _CountedLines:
    """Lines of a csv file as text, and the offset up to which they were taken: a name may hold a line break."""

    def __init__(self, file: BinaryIO, offset: int):
        self.file, self.offset = file, offset
        file.seek(offset)

    def __iter__(self) -> _CountedLines:
        return self

    def __next__(self) -> str:
        line = self.file.readline()
        if not line:
            raise StopIteration
        self.offset += len(line)
        return line.decode("utf-8", "surrogateescape")


def _open(manifest: Path) -> BinaryIO:
    try:
        return open(manifest, "rb")
    except OSError as error:
        raise UsageError(f"The manifest '{manifest}' can't be read: {error.strerror}.") from error


def _survey(file: BinaryIO, manifest: Path) -> tuple[array, array, Counter[str]]:
    """Offset of each row, its place when the worst come first, and how many there are by status."""
    offsets, ranks = array("Q"), array("d")
    counts: Counter[str] = Counter()
    try:
        lines = _CountedLines(file, 0)
        reader = csv.reader(lines)
        header = next(reader, [])
        if tuple(header[: len(OLDER_COLUMNS)]) != OLDER_COLUMNS:
            raise UsageError(f"'{manifest}' is not the manifest of a folder run: pass the manifest.csv in its OUT.")
        begin = lines.offset
        for cells in reader:
            if len(cells) >= len(OLDER_COLUMNS):
                values = dict(zip(OLDER_COLUMNS, cells, strict=False))
                offsets.append(begin)
                ranks.append(_rank(values))
                counts[values["status"]] += 1
            begin = lines.offset
    except csv.Error as error:
        raise UsageError(f"The manifest '{manifest}' is damaged: {error}.") from error
    return offsets, ranks, counts


def _rank(values: dict[str, str]) -> float:
    if values["status"] == "ok":
        score = _numbers([values["score"]])
        return score[0] if score else 0.0
    return -1.0 if values["status"] == "no_car" else -2.0


def _row(file: BinaryIO, offset: int, manifest: Path) -> dict[str, str]:
    cells = next(csv.reader(_CountedLines(file, offset)), [])
    if len(cells) < len(OLDER_COLUMNS):
        raise UsageError(f"The manifest '{manifest}' has changed meanwhile: make the contact sheet after the run.")
    return dict(zip(OLDER_COLUMNS, map(read_name, cells), strict=False))


def _pair(values: dict[str, str], source: Path, output: Path) -> SheetPair:
    box = _numbers([values[key] for key in ("x1", "y1", "x2", "y2")])
    size = _numbers([values["height"], values["width"]])
    score = _numbers([values["score"]])
    return SheetPair(
        name=values["source"],
        photo=source / values["source"],
        cut=output / values["output"] if values["output"] else None,
        status=values["status"],
        score=score[0] if score else None,
        reason=values["reason"],
        box=(box[0], box[1], box[2], box[3]) if box else None,
        size=(int(size[0]), int(size[1])) if size and min(size) >= 1 else None,
    )


def _numbers(cells: Sequence[str]) -> list[float] | None:
    """The cells as finite numbers; None when any is not one."""
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _with_mask(pair: SheetPair, detections: Detections | None) -> SheetPair:
    """The pair with the mask of the detected vehicle whose box fits the row's box best."""
    if detections is None or pair.box is None or pair.size is None:
        return pair
    box, size = pair.box, pair.size
    vehicles = detections.get(pair.name) or []
    best = max(vehicles, key=lambda vehicle: _overlap(box, size, vehicle), default=None)
    return pair if best is None or _overlap(box, size, best) < 0.5 else replace(pair, mask=best.mask)


def _overlap(box: Sequence[float], size: tuple[int, int], vehicle: Vehicle) -> float:
    """IoU of a box in a photo of `size` with that of a vehicle found in the same photo at another size."""
    scale = np.array([size[1] / vehicle.mask.shape[1], size[0] / vehicle.mask.shape[0]] * 2)
    one, other = np.array(box), np.array(vehicle.box) * scale
    width, height = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = max(0.0, width) * max(0.0, height)
    union = np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared
    return float(shared / union) if union > 0 else 0.0


def _figure(name: str, pairs: Sequence[SheetPair], grid: tuple[int, int]) -> str:
    """The page's part of index.html."""
    height, width = page_size(grid[0], min(grid[1], -(-len(pairs) // grid[0])))
    found = _counted(Counter(pair.status for pair in pairs))
    first, last = (escape(printable(pair.name)) for pair in (pairs[0], pairs[-1]))
    size = f'width="{width}" height="{height}"'
    return (
        f'<figure><figcaption><a href="{name}">{name}</a>: {first} &ndash; {last} ({found})</figcaption>'
        f'<a href="{name}"><img loading="lazy" src="{name}" {size} alt="{name}"></a></figure>'
    )


def _counted(counts: Counter[str]) -> str:
    names = [*STATUSES, *sorted(set(counts) - set(STATUSES))]
    return escape(printable(str(StatusCounts(counts, names))))


def _write_index(target: Path, figures: Iterable[str], counts: Counter[str], shown: int, worst_first: bool) -> None:
    total = sum(counts.values())
    order = "Those that failed come first, then those without a car, then by rising score." if worst_first else ""
    part = "" if shown == total else f"<p>{shown} of them are shown{', the worst' if worst_first else ''}.</p>"
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">{_MARK}
<meta name="viewport" content="width=device-width"><title>Contact sheet</title>
<style>
body {{ font: 15px/1.4 sans-serif; margin: 1.5rem; background: #e9e9ec; color: #28282e }}
figure {{ margin: 0 0 2rem }}
figcaption {{ overflow-wrap: anywhere }}
img {{ max-width: 100%; height: auto }}
</style></head><body>
<h1>Contact sheet</h1>
<p>{counted(total, "photo")}: {_counted(counts) or "none"}. {order}</p>{part}
<p>Left the photo with the box that was found (yellow) and, where it is known, the outline (pink); right what was
written.</p>
"""
    content = page + "\n".join(figures) + "\n</body></html>\n"
    replace_file(target / "index.html", content.encode("utf-8"))
