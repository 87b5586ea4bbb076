"""The package's metadata, its cheap import, and the Makefile."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


def make(*arguments: str, folder: Path = ROOT, **settings: str) -> subprocess.CompletedProcess:
    # A make that runs these tests must not hand its own flags down.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment.pop("PYTHON", None)
    return subprocess.run(
        ["make", *arguments], cwd=folder, capture_output=True, text=True, env={**environment, **settings}
    )


def copy_inputs(folder: Path) -> Path:
    """A folder with the Makefile, its script, and what its stamp depends on."""
    (folder / "scripts").mkdir(parents=True)
    for name in ("Makefile", "setup.py", "pyproject.toml", "scripts/install_detectron2.py", "scripts/make.py"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def script():
    """scripts/make.py, as a module."""
    spec = importlib.util.spec_from_file_location("make", ROOT / "scripts" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tool(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_importing_the_package_loads_no_heavy_library():
    code = (
        "import sys, carclf; heavy = {'torch', 'cv2', 'timm', 'pandas', 'detectron2'} & set(sys.modules);"
        "assert not heavy, heavy; assert 'CarRecognizer' in dir(carclf)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_exported_names_are_those_of_their_homes():
    import carclf
    from carclf.recognition import prediction
    from carclf.recognition import recognizer as pipeline

    assert carclf.CarRecognizer is pipeline.CarRecognizer
    assert carclf.Prediction is prediction.Prediction and carclf.Predictions is prediction.Predictions
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = carclf.nonsense


def test_version_is_the_same_everywhere():
    import carclf

    done = subprocess.run([sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split()[-1] == carclf.__version__
    assert f"## {carclf.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_a_wheel_holds_every_module_weight_and_config(tmp_path):
    source = tmp_path / "source"
    for name in ("carclf", "detection", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, source / name)
    for weights in ROOT.glob("*/weights/*.safetensors"):
        (source / weights.relative_to(ROOT)).write_bytes(b"x")
    wanted = {str(file.relative_to(source)) for top in ("carclf", "detection") for file in (source / top).rglob("*.*")}
    wanted |= {f"detection/{file.relative_to(source)}" for file in (source / "configs").rglob("*.yaml")}

    command = [sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(tmp_path), str(source)], check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        missing = wanted - set(wheel.namelist())
        wheel.extractall(tmp_path / "installed")
    assert not missing
    # Without these, type checkers pass over the annotations of an installed copy.
    assert {"carclf/py.typed", "detection/py.typed"} <= wanted
    _finds_its_files(tmp_path / "installed")


def _finds_its_files(installed: Path) -> None:
    """What an installed copy reads beside its modules is there; nothing of the repository is in reach."""
    code = """
import carclf, detection
from pathlib import Path
from carclf.runs.report.pages import render_page
from carclf.service.web.page import STATIC
from carclf.weights import BUNDLED, bundled_file
from detection.common.config import shipped_path
from detection.detectors.compact.files import compact_weights
from jinja2 import UndefinedError

here = Path.cwd() / "installed"
configs = [shipped_path(Path("configs") / name) for name in ("train/quick.yaml", "detector/compact.yaml")]
weights = [compact_weights(), *(bundled_file(name) for name in BUNDLED)]
for file in [*configs, *weights, STATIC / "index.html"]:
    assert file.is_file() and here in file.parents, file
try:
    render_page("report.html.j2")
except UndefinedError:  # found, and in want of values
    pass
"""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=installed.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_opencv_is_asked_for_without_windows():
    text = (ROOT / "setup.py").read_text()
    assert '"opencv-python-headless"' in text
    assert '"opencv-python"' not in text


@needs_make
def test_make_alone_lists_every_target():
    listing = make().stdout
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"\.PHONY: (.*)", makefile).group(1).split()
    assert {"venv", "test", "test-all", "lint", "format", "demo", "clean"} <= set(targets)
    for target in targets:
        assert re.search(rf"^  {target} +\S", listing, re.MULTILINE), f"'{target}' is not listed in:\n{listing}"


def test_both_makes_know_the_same_targets():
    makefile = (ROOT / "Makefile").read_text()
    assert set(re.search(r"\.PHONY: (.*)", makefile).group(1).split()) == set(script().TARGETS)


def test_the_programs_of_an_environment_on_windows(monkeypatch):
    make = script()
    for windows, wanted in ((True, ("Scripts", "carclf.exe")), (False, ("bin", "carclf"))):
        monkeypatch.setattr(make, "WINDOWS", windows)
        assert make.program(Path(".venv"), "carclf") == os.path.join(".venv", *wanted)


def test_the_script_says_what_is_wrong():
    done = subprocess.run([sys.executable, "scripts/make.py", "tset"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("make: there is no target 'tset': choose one of help, venv, test")


def test_cleaning_leaves_the_environment_alone(tmp_path):
    folder = copy_inputs(tmp_path / "clone")
    for name in ("build/lib", "carclf/__pycache__", ".venv/lib/__pycache__", "runs/first"):
        (folder / name).mkdir(parents=True)
    subprocess.run([sys.executable, "scripts/make.py", "clean"], cwd=folder, check=True)
    assert not (folder / "build").exists() and not (folder / "carclf/__pycache__").exists()
    assert (folder / ".venv/lib/__pycache__").is_dir() and (folder / "runs/first").is_dir()


@pytest.mark.parametrize("program", ["make", "script"])
def test_make_installs_once_and_again_only_after_a_change(tmp_path, program):
    if program == "make" and shutil.which("make") is None:
        pytest.skip("there is no make here")
    folder = copy_inputs(tmp_path / "clone")
    tool(folder / ".venv/bin/python", 'echo "$@" >> log')
    tool(folder / ".venv/bin/carclf", 'echo carclf "$@" >> log')

    def log() -> list[str]:
        lines = (folder / "log").read_text().splitlines()
        (folder / "log").unlink()
        return [line for line in lines if "install" in line or line.startswith(("carclf", "-m pytest"))]

    def made(*arguments: str) -> int:
        if program == "make":
            return make(*arguments, folder=folder).returncode
        return subprocess.run([sys.executable, "scripts/make.py", *arguments], cwd=folder).returncode

    assert made("test") == 0
    pip, detectron2, tests = log()
    assert pip.startswith("-m pip install -e .[dev]")
    assert detectron2 == "scripts/install_detectron2.py"
    assert tests.startswith("-m pytest -m not slow and not gpu")

    os.utime(folder / "setup.py")  # a checkout touches files without changing them
    assert made("demo", "PHOTOS=my photos") == 0
    assert log() == ["carclf predict my photos"]

    with (folder / "setup.py").open("a") as file:
        file.write("# changed\n")
    assert made("demo") == 0
    assert [line.split()[0] for line in log()] == ["-m", "scripts/install_detectron2.py", "carclf"]
    assert len(list((folder / ".venv").glob(".ready-*"))) == 1


@needs_make
def test_make_passes_over_a_python_that_does_not_run(tmp_path):
    folder = copy_inputs(tmp_path / "clone")
    shims = tmp_path / "shims"
    tool(shims / "python3.12", "exit 127")  # what a pyenv shim does where that version is not chosen
    tool(
        shims / "python3.11",
        f'case "$*" in *venv\\ --clear*) echo "made by 3.11"; exit 1;; *) {sys.executable} "$@";; esac',
    )
    answer = make("venv", folder=folder, PATH=f"{shims}:/usr/bin:/bin")
    assert "Building .venv with python3.11" in answer.stdout
    assert "made by 3.11" in answer.stdout
    assert answer.returncode != 0
    assert not list(folder.glob(".venv/.ready-*"))


@needs_make
def test_make_says_what_to_install_when_there_is_no_python(tmp_path):
    folder = copy_inputs(tmp_path / "clone")
    answer = make("venv", "PYTHON=", folder=folder)
    assert answer.returncode != 0
    assert "apt-get install python3-venv" in answer.stderr


def test_network_is_blocked_in_tests():
    import socket
    import urllib.request

    with pytest.raises(RuntimeError, match="tried to look up"):
        urllib.request.urlopen("http://example.org", timeout=5)
    with socket.socket() as one, pytest.raises(RuntimeError, match="tried to reach"):
        one.connect(("192.0.2.1", 80))
    # Loopback stays open: whether anything answers there, or the system has it at all, is not the guard's business.
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", 9), timeout=1).close()


def test_fake_detector_finds_the_coloured_blob_only(fake_detector):
    from tests.fakes import draw_car

    empty, one = draw_car((128, 128, 128)), draw_car(box=(10, 20, 50, 40))
    nothing, (vehicle,) = fake_detector.detect([empty, one])
    assert nothing == []
    assert vehicle.box == (10.0, 20.0, 50.0, 40.0)
    assert vehicle.mask.dtype == bool
    assert vehicle.mask.sum() == 40 * 20
    assert (vehicle.score, vehicle.kind) == (1.0, "car")
