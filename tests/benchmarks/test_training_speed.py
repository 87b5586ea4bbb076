"""The benchmark's command runs and prints its tables; the figures themselves are not judged here."""

import argparse
import subprocess
import sys

import pytest

from benchmarks.training_speed import CONTESTANTS, link_classes, report
from tests.carclf.drawn import draw_folders
from tests.folder_runs import ROOT


def _cells(text, start):
    line = next(line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_ratios_are_medians_of_rounds_in_turns(capsys):
    """On a busy machine a whole round is slow: its ratio counts, not its milliseconds."""

    def one(seconds, **more):
        return {"photos": 100, "seconds": seconds, "peak_mib": 900.0, "gpu_mib": 0.0} | more

    rounds = [
        {"all": one(2.0 * load), "head": one(0.5 * load), "cached": one(0.1, before=2.5, cached=True)}
        for load in (1, 4, 1.5)
    ]
    arguments = argparse.Namespace(
        model="m", size=32, batch=8, precision="float32", device="cpu", workers=1, count=100, photos=None, rounds=3,
        epochs=5,
    )  # fmt: skip
    report(rounds, arguments)
    out = capsys.readouterr().out
    assert _cells(out, CONTESTANTS["all"])[1:3] == ["30.00", "20.00 - 80.00"]
    assert _cells(out, "head against everything")[1:] == ["4.00", "3"]
    assert _cells(out, "head on cached features against everything")[1] == "30.00"
    assert _cells(out, "the same in a stage of 5 epochs, computing the features included")[1] == "5.00"
    assert "half" not in out and "Nothing was cached" not in out


@pytest.mark.slow
def test_the_command_on_a_few_photos(tmp_path):
    draw_folders(tmp_path / "photos", each=18)
    command = [sys.executable, "-W", "ignore", ROOT / "benchmarks/training_speed.py", "--photos", tmp_path / "photos"]
    command += ["--model", "test_efficientnet", "--size", "32", "--batch", "8", "--rounds", "1", "--workers", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    for contestant in CONTESTANTS.values():
        assert float(_cells(done.stdout, contestant)[1]) > 0
    assert float(_cells(done.stdout, "head on cached features against everything")[1]) > 0
    assert "Nothing was cached" not in done.stdout and "machine: " in done.stdout


def test_photos_are_shared_out_among_classes(tmp_path):
    files = sorted(draw_folders(tmp_path / "photos", each=6).rglob("*.jpg"))
    linked = link_classes(files, tmp_path / "linked")
    assert sorted(file.resolve() for file in linked.rglob("*.jpg")) == [file.resolve() for file in files]
    assert {len(list(folder.iterdir())) for folder in linked.iterdir()} == {2, 3}
