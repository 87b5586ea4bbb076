"""The main jobs on a machine that lacks what Linux alone has, and where processes are spawned, as on Windows and macOS.

No Windows or Mac is needed: the calls are taken away from a process (`tests/elsewhere.py`), and each name that is
written is checked against the rules of Windows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from detection.common.files.names import name_fault
from detection.folder.out.manifest import read_manifest
from tests.carclf.service.processes import Server
from tests.carclf.service.test_server import status, wait_until
from tests.carclf.tiny import CLASSES, save_tiny_model
from tests.fakes import draw_car
from tests.folder_runs import ROOT, put

# Photos as people name them; legal on Windows, but near to what is not, or to what this program adds.
HOSTILE = ["a.b..jpg", "100% sure.jpg", "con1.jpg", "x.jpg.png", " lead.jpg", "sub.d/Ünï cödé (2).jpg", "n\u0301.jpg",
           "sub.d/console.jpg", "-dash.jpg", "#1 & co's.jpg", "%3A.jpg", "l" * 120 + ".jpg"]  # fmt: skip
TORCH = ("register_at_fork",)  # torch for Linux can't be imported without


def elsewhere(commands, cwd: Path, check: bool = True, **wanted) -> subprocess.CompletedProcess:
    told = json.dumps({"commands": [[str(word) for word in command] for command in commands]} | wanted)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.elsewhere"], input=told, capture_output=True, text=True, cwd=cwd, env=environment
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def faults(folder: Path) -> dict[str, str]:
    """Names that Windows forbids, and what is left of work that is done."""
    left = [*folder.rglob(".carclf-*.lock"), *folder.rglob(".lock"), *folder.rglob("*.tmp")]
    return dict.fromkeys(map(str, left), "left behind") | {
        str(path): why for path in folder.rglob("*") if (why := name_fault(path.name))
    }


@pytest.fixture
def photos(tmp_path):
    for number, name in enumerate(HOSTILE):
        put(tmp_path / "in" / name, draw_car(colour=(230, 20 * number, 10)))
    return tmp_path / "in"


def test_clean_runs_and_writes_names_that_windows_takes(photos, tmp_path):
    common = ["clean", photos, tmp_path / "out", "--save-detections", "--contact-sheet", "--all-vehicles"]
    again = ["clean", photos, tmp_path / "again", "--detections", tmp_path / "out/detections.jsonl", "--keep-suffix"]
    elsewhere([common, common, again], tmp_path, fake=True, spawn=True)
    rows = read_manifest(tmp_path / "out" / "manifest.csv")
    assert {row["source"]: row["status"] for row in rows} == dict.fromkeys(HOSTILE, "ok")
    assert json.loads((tmp_path / "out/run.json").read_text())["peak_memory_mb"] is None
    assert not faults(tmp_path)


@pytest.mark.slow
def test_naming_measuring_and_preparing(photos, tmp_path):
    """In one process, as starting takes longer than the work."""
    model = save_tiny_model(tmp_path / "tiny.safetensors")
    (tmp_path / "in/labels.csv").write_text(
        "file,class\n" + "".join(f'"{name}",{CLASSES[n % 3]}\n' for n, name in enumerate(HOSTILE)), encoding="utf-8"
    )
    labels = photos / "labels.csv"
    predict = ["predict", photos, "--model", model, "--device", "cpu"]
    pictures = ["--save-cutouts", tmp_path / "cut", "--overlay", tmp_path / "seen"]
    elsewhere(
        [
            [*predict, "--output", tmp_path / "rows.csv", *pictures],
            [*predict, "--output", tmp_path / "rows.jsonl", "--all-vehicles"],
            ["evaluate", model, "--data", labels, "--output", tmp_path / "figures", "--slices"],
            ["prepare", labels, tmp_path / "prepared"],
        ],
        tmp_path,
        fake=True,
        keep=TORCH,
    )
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == len(HOSTILE) and {row["status"] for row in rows} <= {"ok", "unknown"}
    assert len(list((tmp_path / "cut").rglob("*.jpg"))) == len(HOSTILE)
    assert not faults(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_training(workers, tmp_path):
    """With workers, torch itself needs a few of the calls on a Linux; they are spawned, and get all by pickling."""
    rng, lines = np.random.default_rng(1), ["file,class"]
    for label in ("AC: Ace", "Aux", "a/b."):
        for _ in range(6):
            lines.append(f"{len(lines)}.png,{label}")
            put(tmp_path / f"photos/{len(lines) - 1}.png", rng.integers(0, 255, (40, 40, 3), dtype=np.uint8))
    (tmp_path / "photos/labels.csv").write_text("\n".join(lines))
    config = tmp_path / "tiny.yaml"
    stage = "{name: head, train: head, epochs: 1, image_size: 32, batch_size: 4}"
    config.write_text(
        f"data: photos/labels.csv\ncrops: true\nworkers: {workers}\ndevice: cpu\nprogress: false\nprecision: float32\n"
        f"model: {{architecture: test_efficientnet, pretrained: none, image_size: 32}}\nstages: [{stage}]\n"
    )
    keep = (*TORCH, "SIGKILL", "SIGUSR1", *(("SIGCHLD", "statvfs") if workers else ()))
    train, dated = ["train", "tiny.yaml", "output=run"], ["train", "tiny.yaml"]  # the other into runs/NAME-DATE
    elsewhere([train, *([] if workers else [dated, ["report", "run"]])], tmp_path, spawn=True, keep=keep)
    assert (tmp_path / "run/best.safetensors").is_file() and (tmp_path / "run/report.html").is_file()
    assert workers or len(list((tmp_path / "runs").iterdir())) == 1
    assert not faults(tmp_path)


@pytest.mark.slow
def test_the_service_starts_and_stops(tmp_path):
    code = "from tests.elsewhere import take_away; take_away(); import runpy; runpy.run_module('SERVER')"
    settings = json.dumps({"port": 0})
    with Server("-c", code.replace("SERVER", "tests.carclf.service.stand_in_server"), settings, "0", "0") as server:
        assert server.address, server.log
        wait_until(lambda: status(server.address, "/readyz") == 200)
        server.process.terminate()
        assert server.end() == 0, server.log
