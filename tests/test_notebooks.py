"""The notebooks: they are what their sources say, name no place of a machine, and run."""

from __future__ import annotations

import importlib.util
import json
import re
import tempfile
from pathlib import Path

import pandas as pd
import pytest

from carclf.datasets.corrections.apply import read_corrections

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))
LARGEST = 150_000  # bytes of a notebook with its pictures
# A path from the root of a disk: /home/ann/x, C:\Users\ann. Not one of an address, and not the "/" of "and/or".
PLACE = re.compile(
    r"(?:file://|(?<![\w.:/*>-]))/(?:home|root|Users|tmp|var|mnt|work|data|opt|usr|private)/|\b[A-Za-z]:\\\\?\w"
)

each = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def maker():
    """scripts/make_notebooks.py, as a module."""
    for name in ("jupytext", "nbclient", "ipykernel"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f'{name} is not installed: pip install ".[notebooks]"')
    spec = importlib.util.spec_from_file_location("make_notebooks", ROOT / "scripts" / "make_notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(source: Path) -> dict:
    return json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))


def texts(cell: dict) -> list[str]:
    """All that a cell and its outputs say, pictures apart."""
    found = ["".join(cell["source"])]
    for output in cell.get("outputs", ()):
        found.append("".join(output.get("text", "")))
        found += ["".join(data) for kind, data in output.get("data", {}).items() if not kind.startswith("image/")]
    return found


def test_there_are_four_and_the_page_about_them_names_each():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert len(SOURCES) == 4
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == {path.stem for path in SOURCES}
    assert all(f"({path.stem}.ipynb)" in page for path in SOURCES)


@each
def test_it_has_run_whole_and_shows_pictures_of_its_own(source):
    cells = [cell for cell in read(source)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert [kind for output in outputs for kind in output.get("data", {}) if kind == "image/jpeg"]
    assert source.with_suffix(".ipynb").stat().st_size <= LARGEST


@each
def test_it_names_no_place_of_the_machine_that_made_it(source):
    for cell in read(source)["cells"]:
        for text in texts(cell):
            for place in (str(ROOT), str(Path.home()), tempfile.gettempdir()):
                assert f"{place}/" not in text
            assert not PLACE.search(text), text


def test_a_place_is_known_when_it_is_seen():
    for text in ("written to /home/ann/run", "'/tmp/x/y'", 'open("C:\\\\Users\\\\ann")', "file:///root/x"):
        assert PLACE.search(text), text
    for text in ("train/<Category>/<Id>", "https://example.com/home/", "and/or", "s3://b/data/x", "../data/x"):
        assert not PLACE.search(text), text


@each
def test_it_links_to_pages_that_are_there(source):
    said = "".join(text for cell in read(source)["cells"] for text in texts(cell)[:1])
    links = [link for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", said) if "://" not in link]
    assert links and not [link for link in links if not (FOLDER / link).exists()]


@each
def test_it_is_what_its_source_says(source, maker):
    assert maker.is_fresh(source), f"python scripts/make_notebooks.py {source.stem}"


def test_a_notebook_that_is_not_of_its_source_is_told(maker, tmp_path):
    source = tmp_path / "one.py"
    source.write_text("# %% [markdown]\n# # One\n\n# %%\n1 + 1\n", encoding="utf-8")
    assert not maker.is_fresh(source)  # there is none yet
    import nbformat

    nbformat.write(maker.read_source(source), source.with_suffix(".ipynb"))
    assert maker.is_fresh(source)
    source.write_text("# %% [markdown]\n# # One\n\n# %%\n1 + 2\n", encoding="utf-8")
    assert not maker.is_fresh(source)


def test_parameters_win_and_a_failing_cell_is_an_error(maker, tmp_path):
    from nbclient.exceptions import CellExecutionError

    source = tmp_path / "one.py"
    code = 'from pathlib import Path\n\nprint(Path("x").resolve())\nassert SIZE == 2\n'
    source.write_text(f'# %% tags=["parameters"]\nSIZE = 1\n\n# %%\n{code}', encoding="utf-8")
    notebook = maker.run_notebook(source, tmp_path, "SIZE = 2")
    assert [output["text"] for output in notebook.cells[-1].outputs] == ["x\n"]  # without the folder
    with pytest.raises(CellExecutionError, match="AssertionError"):
        maker.run_notebook(source, tmp_path)


def run(maker, name: str, folder: Path, parameters: str = "") -> None:
    maker.run_notebook(FOLDER / f"{name}.py", folder, parameters)


@pytest.mark.slow
def test_the_first_look_finds_what_was_planted(maker, tmp_path):
    run(maker, "1_first_look", tmp_path)
    audit = pd.read_csv(tmp_path / "carclf-first-look" / "audit" / "audit.csv")
    found = {issue: list(rows["file"]) for issue, rows in audit.groupby("issue")}
    assert {"suv/wrong-3.jpg", "hatchback/wrong-2.jpg"} <= set(found["label"][:5])
    assert found["outlier"][0] == "suv/no-car.jpg" and found["dark"][0] == "sedan/dark.jpg"
    assert "hatchback/blurred.jpg" in found["blurred"]
    assert set(found["duplicate"]) == {"coupe/copy.jpg", "sedan/05.jpg"}
    assert (found["odd file"], found["small"]) == (["van/broken.jpg"], ["pickup/small.jpg"])
    assert found["sideways"] == ["coupe/turned.jpg"]


@pytest.mark.slow
def test_the_competition_is_answered_better_than_by_chance(maker, tmp_path):
    run(maker, "2_competition", tmp_path)
    answers = pd.read_csv(tmp_path / "carclf-competition" / "submission.csv")
    drawn = [int(name[:-4]) // 100 - 1 for name in answers["Id"]]  # the number of a drawn photo begins with its class
    assert len(answers) == 30 and (answers["Category"] == drawn).mean() > 0.5


@pytest.mark.slow
def test_the_wrong_labels_are_found_and_corrected(maker, tmp_path):
    run(maker, "3_correct_a_model", tmp_path)
    folder = tmp_path / "carclf-correct"
    decided = read_corrections(folder / "audit").decisions
    assert len(decided) >= 8  # of 12
    shapes = ("hatchback", "sedan", "suv", "pickup", "van", "coupe")
    assert all(one.new == shapes[int(Path(one.file).name[0])] for one in decided)
    metrics = json.loads((folder / "run-2" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["corrections"]["changed"] == len(decided)
    assert all((folder / run / "metrics.json").is_file() for run in ("run-1-figures", "run-2-figures"))


@pytest.mark.slow
def test_the_api_in_ten_cells(maker, tmp_path):
    run(maker, "4_python_api", tmp_path)
    assert (tmp_path / "carclf-python" / "run" / "best.safetensors").is_file()
    assert len([cell for cell in read(FOLDER / "4_python_api.py")["cells"] if cell["cell_type"] == "code"]) == 10


@pytest.mark.slow
def test_the_first_look_on_real_photos(maker, tmp_path, shared_data):
    labels = pd.read_csv(shared_data / "dealer20" / "labels.csv")
    few = labels[labels["class"].isin(sorted(labels["class"].unique())[:3])].groupby("class").head(8)
    images = shared_data / "dealer20" / "images"
    for file, name in zip(few["file"], few["class"], strict=True):
        link = tmp_path / "cars" / name / Path(file).name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(images / file)
    run(maker, "1_first_look", tmp_path, "DATA = 'cars'\nOUTPUT = 'look'")
    assert json.loads((tmp_path / "look" / "check.json").read_text(encoding="utf-8"))["photos"] == 24
    assert (tmp_path / "look" / "audit" / "audit.html").is_file()
