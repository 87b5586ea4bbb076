"""The contracts of pyproject.toml hold, and each is broken by what it forbids."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOWN, DOWN_IN_CARCLF = "Imports of detection point down", "Imports of carclf point down"
COMMON = "detection.common imports nothing else of ours"
FACES = "No room imports the faces carclf and detection"
NO_TORCH = "What ONNX Runtime runs needs no torch"

# The contract, the file that breaks it, what is added to it, and the other contracts that then break by necessity.
BREAKS = [
    (DOWN, "detection/vehicle.py", "from detection.images import read", set()),
    (DOWN, "detection/attic/__init__.py", "'''A room without a floor.'''", set()),
    (DOWN_IN_CARCLF, "carclf/runs/tables.py", "def late():\n    from carclf.training import rates", set()),
    (DOWN_IN_CARCLF, "carclf/attic/__init__.py", "'''A room without a floor.'''", set()),
    ("detection never imports carclf", "detection/folder/plan.py", "from carclf.weights import DEFAULT", set()),
    (COMMON, "detection/common/tally.py", "from detection.vehicle import Vehicle", {DOWN}),
    (FACES, "detection/folder/plan.py", "from detection import Vehicle", set()),
    ("Only carclf.commands imports carclf.tools", "carclf/cli.py", "from carclf.tools import smoke", set()),
    ("Only carclf.cli imports carclf.commands", "carclf/__init__.py", "from carclf.commands import clean", set()),
    (NO_TORCH, "detection/detectors/onnx/session.py", "def late():\n    import torch", set()),
]  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code of both packages, with the project's settings."""
    folder = tmp_path_factory.mktemp("tree")
    for package in ("carclf", "detection"):
        for file in (ROOT / package).rglob("*.py"):
            copy = folder / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def run(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess:
    """A tool, called as its command would, on the packages in a folder and not on those that are installed."""
    settings = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True)


def contracts(folder: Path) -> dict[str, bool]:
    """Whether each contract is kept, by its name; checked against the exit code."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = run(folder, code, "--no-cache", "--no-logo")
    found = dict(re.findall(r"^(.+) (KEPT|BROKEN)\b", done.stdout, re.MULTILINE))
    assert found, done.stdout + done.stderr
    assert (done.returncode == 0) == ("BROKEN" not in found.values())
    return {name: state == "KEPT" for name, state in found.items()}


def test_every_contract_holds_and_has_a_case_that_breaks_it(tree):
    states = contracts(tree)
    assert all(states.values()), states
    assert set(states) == {name for name, *_ in BREAKS}


@pytest.mark.parametrize(("name", "file", "added", "others"), BREAKS)
def test_a_forbidden_import_breaks_its_contract_alone(tree, name, file, added, others):
    path = tree / file
    before = path.read_text() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    try:
        path.write_text(f"{before or ''}\n{added}\n")
        broken = {contract for contract, kept in contracts(tree).items() if not kept}
    finally:
        if before is None:
            shutil.rmtree(path.parent)
        else:
            path.write_text(before)
    assert broken == {name} | others


def test_imports_for_type_checkers_are_free(tree):
    path = tree / "detection" / "vehicle.py"
    before = path.read_text()
    try:
        path.write_text(f"{before}\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import carclf.cli\n")
        assert all(contracts(tree).values())
    finally:
        path.write_text(before)


WRONG = """
from __future__ import annotations

from pydantic import BaseModel


class Settings(BaseModel):
    size: int


def half(size: int | None) -> int:
    return size // 2


def untyped():
    return len(3)


Settings(size="large", sise=3)
fine: int = 1  # type: ignore[assignment]
"""


def test_mypy_finds_wrong_types_with_the_settings_of_the_project(tmp_path):
    for package in ("carclf", "detection"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "carclf" / "wrong.py").write_text(WRONG)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    done = run(tmp_path, "import sys; from mypy.main import main; main(args=sys.argv[1:])", "--no-color-output")
    found = set(re.findall(r"wrong\.py:(\d+): error: .*\[([a-z-]+)\]", done.stdout))
    lines = dict(enumerate(WRONG.splitlines(), 1))
    shown = {(lines[int(number)].strip(), code) for number, code in found}
    assert shown == {
        ("return size // 2", "operator"),
        ("return len(3)", "arg-type"),
        ('Settings(size="large", sise=3)', "arg-type"),
        ('Settings(size="large", sise=3)', "call-arg"),
        ("fine: int = 1  # type: ignore[assignment]", "unused-ignore"),
    }, done.stdout + done.stderr
