"""The map of the rooms, docs/architecture.svg, and whether what the pages name exists."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = Path("scripts") / "draw_architecture.py"
PICTURE = Path("docs") / "architecture.svg"
# The changelog names what there was at the time.
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "[a-z]*/README.md", "[a-z]*/weights/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)


def draw(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(root / SCRIPT), *arguments], capture_output=True, text=True)


def words(root: Path) -> list[str]:
    """All that is written in the picture."""
    tree = ET.parse(root / PICTURE)
    return ["".join(one.itertext()) for one in tree.iter("{http://www.w3.org/2000/svg}text")]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The code, the script and the picture, to be changed."""
    for package in ("detection", "carclf"):
        for path in (ROOT / package).rglob("*.py"):
            target = tmp_path / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    for file in (SCRIPT, PICTURE):
        (tmp_path / file).parent.mkdir()
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def test_the_picture_is_fresh_and_all_imports_point_down():
    done = draw(ROOT, "--check")
    assert done.returncode == 0, done.stderr


def rooms() -> set[str]:
    """The names of the rooms of both packages."""
    return {
        path.stem
        for package in ("detection", "carclf")
        for path in (ROOT / package).iterdir()
        if not path.name.startswith("__") and (path.suffix == ".py" or list(path.glob("*.py")))
    }


def test_every_room_is_in_the_picture():
    assert len(rooms()) > 15
    assert rooms() <= set(words(ROOT))


def test_the_floors_are_those_of_the_contracts():
    """Of import-linter, in pyproject.toml."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 can't read pyproject.toml")
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    if "importlinter" not in tool:
        pytest.skip("pyproject.toml has no contracts")
    layers = {
        package: [set(re.split(r"\s*[|:]\s*", layer)) for layer in reversed(contract["layers"])]
        for contract in tool["importlinter"]["contracts"]
        if contract["type"] == "layers"
        for package in contract["containers"]
    }
    floors = runpy.run_path(str(ROOT / SCRIPT))["FLOORS"]
    assert layers == {package: [set(floor) for floor in floors[package]] for package in floors}


def test_drawn_twice_it_is_the_same(copied):
    (copied / PICTURE).unlink()
    assert draw(copied).returncode == 0
    assert (copied / PICTURE).read_bytes() == (ROOT / PICTURE).read_bytes()


def test_an_import_that_points_up_is_told_and_drawn(copied):
    line = "from detection import clean_folder"  # which the package's face hands on from detection.folder
    module = copied / "detection" / "common" / "files" / "names.py"
    module.write_text(module.read_text(encoding="utf-8") + f"\n\ndef up():\n    {line}\n", encoding="utf-8")
    number = len(module.read_text(encoding="utf-8").splitlines())
    where = f"detection/common/files/names.py:{number}"
    told = f"detection.common imports detection.folder, which does not lie below it: {where}."

    checked = draw(copied, "--check")
    assert checked.returncode == 1
    assert told in checked.stderr
    assert "stale" in checked.stderr

    assert draw(copied).returncode == 1
    assert "These imports do not point down" in words(copied)
    assert f"detection.common imports detection.folder: {where}" in words(copied)
    drawn = draw(copied, "--check")
    assert (drawn.returncode, drawn.stderr.strip()) == (1, told), "drawn or not, it stays wrong"


@pytest.mark.slow
def test_an_import_on_the_same_floor_is_told(copied):
    module = copied / "carclf" / "datasets" / "names.py"
    module.write_text(module.read_text(encoding="utf-8") + "\nimport carclf.classifier.info\n", encoding="utf-8")
    checked = draw(copied, "--check")
    assert checked.returncode == 1
    assert "carclf.datasets imports carclf.classifier, which does not lie below it" in checked.stderr


@pytest.mark.slow
def test_a_new_file_makes_the_picture_stale(copied):
    (copied / "detection" / "cutout" / "another.py").write_text('"""Another."""\n', encoding="utf-8")
    checked = draw(copied, "--check")
    assert checked.returncode == 1
    assert "docs/architecture.svg is stale" in checked.stderr
    assert draw(copied).returncode == 0
    assert draw(copied, "--check").returncode == 0


def test_a_room_without_a_floor_is_told(copied):
    (copied / "carclf" / "attic.py").write_text('"""An attic."""\n', encoding="utf-8")
    checked = draw(copied, "--check")
    assert checked.returncode == 1
    assert "carclf.attic is on no floor" in checked.stderr
    shutil.rmtree(copied / "carclf" / "tools")
    (copied / "carclf" / "attic.py").unlink()
    assert "carclf.tools is on a floor, but not in the code" in draw(copied, "--check").stderr


@pytest.mark.parametrize("page", PAGES)
def test_what_the_pages_name_exists(page):
    """Each path in backquotes, and each link; not what stands for many, such as tests/carclf/<room>."""
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = re.findall(r"`((?:carclf|detection|tests|configs|scripts|docs|docker|benchmarks)/[\w/.-]*)[`:]", text)
    missing = [path for path in paths if not (ROOT / path).exists()]
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    missing += [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    assert not missing


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_the_tests_that_the_pages_name_exist(page):
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", (ROOT / page).read_text(encoding="utf-8"))
    assert named
    for file, name in named:
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"


def test_the_map_tells_of_every_room():
    """Each in backquotes, in the table of floors."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## The floors")[2].partition("## The way")[0]
    assert {name for name in rooms() if f"`{name}`" not in table} == set()
