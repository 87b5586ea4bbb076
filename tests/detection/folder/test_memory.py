"""A folder run's memory does not grow with the number of photos."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from detection.folder.out.journal import Journal
from detection.folder.out.manifest import Record, row_cells
from tests.fakes import draw_car
from tests.folder_runs import ROOT, put

RUN = """
import sys
from pathlib import Path
from detection.cutout import CutoutStyle
from detection.folder import clean_folder
from tests.fakes import FakeDetector

class Forgetful(FakeDetector):
    calls = property(lambda self: [], lambda self, value: None)  # a list of all calls would grow

source, output = map(Path, sys.argv[1:])
print(clean_folder(source, output, Forgetful(), CutoutStyle(), progress=False))
"""


def peak_memory(folder: Path, photos: int) -> int:
    """MB that a run over so many photos (320x240, of 20 different pictures) has held at most."""
    source = folder / f"{photos}"
    for number in range(20):
        put(source / "0" / f"{number}.jpg", draw_car((220, 20, 10 * number), (240, 320), (60, 60, 200 + number, 180)))
    for number in range(20, photos):
        target = source / str(number // 1000) / f"{number}.jpg"
        target.parent.mkdir(exist_ok=True)
        os.link(source / "0" / f"{number % 20}.jpg", target)
    output = folder / f"{photos} out"
    subprocess.run([sys.executable, "-c", RUN, source, output], cwd=ROOT, check=True, capture_output=True)
    summary = json.loads((output / "run.json").read_text())
    assert summary["processed"] == summary["counts"]["ok"] == photos
    return summary["peak_memory_mb"]


@pytest.mark.slow
def test_peak_memory_over_5000_photos_is_that_over_500(tmp_path):
    few, many = peak_memory(tmp_path, 500), peak_memory(tmp_path, 5000)
    print(f"peak memory: {few} MB over 500 photos, {many} MB over 5000")
    assert many <= 1.1 * few


def test_a_row_takes_little_memory(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    cells = {"output": "x" * 40, "score": 0.9, "box": (1.0, 2.0, 3.0, 4.0), "mask_area": 5, "size": (96, 128)}
    names = [f"folder/photo-{number:08d}.jpg" for number in range(20_000)]
    tracemalloc.start()
    for name in names:
        journal.append(Record(row_cells(name, "ok", **cells), (1, 2), 3))
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 15 * len(names)
    assert [record.source for record in journal.records(names[-2:])] == names[-2:]
    journal.close()
