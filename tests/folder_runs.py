"""What the tests of folder runs share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from detection.cutout.cut import CutoutStyle
from detection.folder.out.manifest import read_manifest
from detection.folder.run import clean_folder
from detection.images.write import save_image
from tests.fakes import FakeDetector

STYLE = CutoutStyle()
BOX = ("32.0", "40.0", "96.0", "72.0")  # of `draw_car`
ROOT = Path(__file__).parents[1]


def run(source, output, style=STYLE, detector=None, **options):
    return clean_folder(source, output, detector or FakeDetector(), style, progress=False, **options)


def put(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(path, image)


def rows(output: Path) -> dict[str, dict[str, str]]:
    return {row["source"]: row for row in read_manifest(output / "manifest.csv")}


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder but run.json, which says how long the run took."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
