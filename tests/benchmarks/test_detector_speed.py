"""The benchmark's command runs and prints its table; the figures themselves are not judged here."""

import subprocess
import sys

import pytest

from detection.detectors.compact.files import compact_weights
from tests.folder_runs import ROOT


@pytest.mark.slow
@pytest.mark.skipif(not compact_weights().is_file(), reason="the bundled weights are not there")
def test_table_of_the_compact_detector():
    command = [sys.executable, "-W", "ignore", ROOT / "benchmarks/detector_speed.py"]
    command += ["--only", "compact", "--count", "2", "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("| (c)"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert float(cells[1]) > 0 and float(cells[4]) > 0 and float(cells[5]) > 100
