"""No dependency looks anything up or keeps anything in the user's cache, whatever it would do by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Python finds this before anything else is imported. Look-ups by C code get past it: the empty namespace is for these.
GUARD = """
import os, socket, sys

def refused(*arguments, **named):
    with open(os.environ["CALLS"], "a") as calls:
        print(arguments[:2], file=calls)
    raise OSError("no network in this test")

def network(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        refused(*arguments)
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1"):
        refused(arguments[1])

sys.addaudithook(network)
"""

RUNTIME = """
import carclf.cli, time
from pathlib import Path
import numpy as np
from detection.detectors.onnx.session import open_session
import onnxruntime
session = open_session(Path("tests/written_by_0_4_0/export/classifier.onnx"), 1)
one = session.get_inputs()[0]
shape = [side if isinstance(side, int) else 1 for side in one.shape]
kinds = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
try:
    session.run(None, {one.name: np.zeros(shape, kinds[one.type])})
except onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException:
    pass  # of no matter here: the runtime has begun
time.sleep(SECONDS)
"""

TRAINING = """
import sys, albumentations, timm, pytorch_lightning, matplotlib
import carclf
"""


# Real jobs, one after the other, in one process.
JOBS = """
import os
from pathlib import Path
from carclf.cli import app
from carclf.datasets.drawn.scenes import write_dataset
folder = Path(os.environ["HOME"]) / "jobs"
write_dataset(folder, 3, seed=3)
recipe = "configs/train/quick.yaml"
stages = ["stages.head.epochs=1", *(f"stages.{name}=null" for name in ("half", "three_quarters", "all", "larger"))]
small = ["model.architecture=test_efficientnet", "model.pretrained=none", "model.image_size=64", "progress=false"]
photos, run = str(folder / "images"), str(folder / "run")
for arguments in (
    ["clean", photos, str(folder / "cleaned")],
    ["predict", photos, "--output", str(folder / "names.csv")],
    ["train", recipe, f"data={photos}", f"output={run}", *stages, *small],
    ["evaluate", run, "--data", photos, "--output", str(folder / "evaluated")],
    ["models"],
    ["doctor"],
):
    app(arguments, standalone_mode=False)
"""


def run(tmp_path: Path, code: str, *before: str) -> tuple[str, list[Path]]:
    """What was looked up, and what lies in the cache folder afterwards."""
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    home, calls = tmp_path / "home", tmp_path / "calls"
    (home / ".cache").mkdir(parents=True)
    calls.touch()
    environment = os.environ | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        "CALLS": str(calls),
        "MPLCONFIGDIR": str(tmp_path / "matplotlib"),
    }
    for name in ("ORT_DISABLE_TELEMETRY", "NO_ALBUMENTATIONS_UPDATE", "HF_HUB_DISABLE_TELEMETRY"):
        environment.pop(name, None)
    done = subprocess.run(
        [*before, sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return calls.read_text(), list((home / ".cache").rglob("*"))


def empty_namespace() -> list[str]:
    """The command that gives a process a network without any other machine; none where that is not allowed."""
    command = ["unshare", "-n"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        return []
    return command


def test_onnx_runtime_looks_nothing_up_and_keeps_nothing(tmp_path):
    pytest.importorskip("onnxruntime")
    calls, kept = run(tmp_path, RUNTIME.replace("SECONDS", "3"), *empty_namespace())
    assert calls == "" and kept == []


@pytest.mark.slow
def test_what_training_imports_looks_nothing_up(tmp_path):
    calls, _ = run(tmp_path, "import carclf.cli\n" + TRAINING, *empty_namespace())
    assert calls == ""


@pytest.mark.slow
def test_real_jobs_look_nothing_up(tmp_path):
    calls, kept = run(tmp_path, JOBS, *empty_namespace())
    assert calls == ""
    assert [path for path in kept if "carclf" not in path.parts] == []


def test_the_runtime_by_itself_keeps_something(tmp_path):
    """The test above can fail: what carclf switches off is there."""
    pytest.importorskip("onnxruntime")
    code = RUNTIME.replace("import carclf.cli, time", "import time").replace("SECONDS", "2")
    code = code.replace("from detection.detectors.onnx.session import open_session", "import onnxruntime")
    code = code.replace("open_session(Path(", "onnxruntime.InferenceSession(Path(").replace('.onnx"), 1)', '.onnx"))')
    calls, kept = run(tmp_path, code)
    if calls == "" and kept == []:
        pytest.skip("this version of ONNX Runtime keeps nothing by itself")


@pytest.mark.parametrize("module", ["carclf", "detection", "carclf.cli", "detection.detectors.onnx.session"])
@pytest.mark.parametrize("before", [None, "0"])
def test_every_way_in_switches_it_off_before_anything_heavy(module, before):
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    if before is not None:
        environment["ORT_DISABLE_TELEMETRY"] = before
    code = (
        f"import os, sys, {module}\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1'\n"
        "assert not {'onnxruntime', 'albumentations'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, timeout=120)


def test_the_guard_sees_a_look_up(tmp_path):
    code = "import socket\ntry: socket.getaddrinfo('example.invalid', 80)\nexcept OSError: pass"
    assert "example.invalid" in run(tmp_path, code)[0]
