"""`carclf runs`: what is printed, exported and drawn."""

from __future__ import annotations

import csv
import io
import json

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from carclf.cli import app
from tests.carclf.run_folders import make_run


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "runs"
    make_run(root / "first", 0.81)
    make_run(root / "second", 0.867, init="runs/first", head={"learning_rate": 0.0155}, epochs=4)
    make_run(root / "broken", epochs=0)
    (root / "broken" / "config.yaml").write_text("[")
    return root


def carclf(*arguments):
    result = CliRunner().invoke(app, ["runs", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def rows(text):
    return [line.split() for line in text.splitlines() if line.strip()]


def test_the_list_shows_every_run(runs):
    result = carclf("--sort", "accuracy")
    header, *lines = rows(result.stdout)
    assert result.exit_code == 0 and header[:3] == ["run", "state", "accuracy"]
    assert [line[:3] for line in lines[:2]] == [["second", "finished", "0.8670"], ["first", "finished", "0.8100"]]
    assert lines[2][:2] == ["broken", "broken"] and "can't be read" in " ".join(lines[2])


def test_columns_and_filters(runs):
    result = carclf(
        "--filter", "accuracy>0.5", "--filter", "head.learning_rate<0.02", "--columns", "name,head.learning_rate"
    )
    assert rows(result.stdout) == [["run", "config.stages.head.learning_rate"], ["second", "0.0155"]]
    assert "1 of 3 runs" in result.stderr
    assert carclf("--filter", "accuracy>0.9").stdout == ""


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_export_has_everything(runs, tmp_path, suffix):
    path = tmp_path / "out" / f"all.{suffix}"
    if suffix == "parquet":
        pytest.importorskip("pyarrow", reason="no pyarrow: parquet files can't be written here")
    result = carclf("--output", path, "--sort", "name")
    assert result.exit_code == 0 and result.stdout == "" and "3 runs" in result.stderr
    if suffix == "csv":
        table = list(csv.DictReader(io.StringIO(path.read_text())))
        assert table[2]["config.stages.head.learning_rate"] == "0.0155" and table[0]["accuracy"] == ""
    elif suffix == "json":
        table = json.loads(path.read_text())
        assert table[2]["config.stages.head.learning_rate"] == 0.0155 and table[0]["accuracy"] is None
    else:
        table = pd.read_parquet(path).to_dict("records")
        assert table[2]["config.stages.head.learning_rate"] == 0.0155
    assert [row["run"] for row in table] == ["broken", "first", "second"]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_parquet_without_pyarrow_is_one_sentence(runs, tmp_path, monkeypatch):
    def missing(self, *arguments, **named):
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", missing)
    result = carclf("--output", tmp_path / "x.parquet")
    assert result.exit_code == 2 and "need pyarrow" in result.stderr and not (tmp_path / "x.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "x.xlsx"], "must end in one of"),
        (["--folder", "nowhere"], "no folder 'nowhere'"),
        (["--columns", "speed"], "no column 'speed'"),
        (["show", "nope"], "no run 'nope'"),
        (["show", "first", "runs/first"], "named twice"),
        (["compare", "first", "--output", "x.txt"], "must end in"),
        (["compare", "first", "broken", "--output", "x.png"], "no curves for broken"),
        (["compare", "first", "--output", "x.png", "--by", "moon"], "by epoch or by time"),
    ],
)
def test_wrong_usage_is_one_sentence(runs, arguments, message):
    result = carclf(*arguments)
    assert result.exit_code == 2 and message in result.stderr
    assert result.stderr.count("\n") == 1 and result.stdout == ""


def test_a_folder_without_runs_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    result = carclf("--folder", tmp_path / "empty")
    assert result.exit_code == 0 and "no run in" in result.stderr


def test_show_two_says_what_differs_and_who_continued_whom(runs):
    result = carclf("show", "first", "second")
    lines = {line[0]: line[1:] for line in rows(result.stdout)}
    assert lines["config.stages.head.learning_rate"] == ["0.02", "0.0155"]
    assert lines["accuracy"] == ["0.8100", "0.8670", "+0.0570"] and lines["epochs"] == ["6", "4", "-2"]
    assert lines["config.init"] == ["runs/first"]
    assert not {"config.seed", "config.output", "run", "top5"} & set(lines), (
        "what is equal or names the run is left out"
    )
    assert "second <- first" in result.stdout and "first was continued by second" in result.stdout
    everything = {line[0]: line[1:] for line in rows(carclf("show", "first", "second", "--all").stdout)}
    assert everything["config.seed"] == ["1", "1"] and set(lines) <= set(everything)


def test_show_one_shows_all_of_it(runs):
    lines = {line[0]: line[1:] for line in rows(carclf("show", "second").stdout)}
    assert lines["config.stages.head.epochs"] == ["2"] and lines["accuracy"] == ["0.8670"]
    assert lines["parent"] == ["runs/first"] and lines["seconds"] == ["1:02:05"]
    assert carclf("show", "broken").exit_code == 0


def test_show_of_equal_runs_and_of_a_path_without_a_runs_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = carclf("show", make_run(tmp_path / "a", 0.5), make_run(tmp_path / "b", 0.5), "--output", "d.json")
    assert result.exit_code == 0
    assert {row["what"] for row in json.loads((tmp_path / "d.json").read_text())} <= {"started", "ended"}


@pytest.mark.parametrize(("name", "by"), [("x.png", "epoch"), ("x.png", "time"), ("x.svg", "epoch")])
def test_compare_draws_the_curves_of_all(runs, name, by):
    result = carclf("compare", "first", "second", "--output", name, "--by", by)
    assert result.exit_code == 0 and result.stdout.strip() == name
    if name.endswith("png"):
        assert Image.open(name).size[0] > 1000
    else:
        assert "<svg" in (runs.parent / name).read_text()
