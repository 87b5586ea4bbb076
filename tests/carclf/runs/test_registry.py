"""The registry: every run folder is one row, however broken; which run continued which; filters, order and files."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import pandas as pd
import pytest

from carclf.runs.registry.entry import read_run
from carclf.runs.registry.listing import Registry, find_runs
from carclf.runs.registry.table import Filter, find_column, make_table, sort_table
from detection import UsageError
from tests.carclf.run_folders import make_run


@pytest.fixture
def runs(tmp_path):
    """first <- sweep/second <- third, and one that was stopped long ago."""
    root = tmp_path / "runs"
    make_run(root / "first", 0.81)
    make_run(
        root / "sweep" / "second", 0.867, init="runs/first/stages/1-head.safetensors", head={"learning_rate": 0.01}
    )
    make_run(root / "third", 0.8765, init="runs/sweep/second", seed=2)
    stopped = make_run(root / "stopped", epochs=3)
    for path in stopped.iterdir():
        os.utime(path, (time.time() - 3 * 86400,) * 2)
    return root


def _table(runs, *filters, sort="name"):
    table = make_table(Registry.read([runs]).runs)
    for text in filters:
        table = Filter.of(text).keep(table)
    return sort_table(table, sort)


def _names(runs, *filters, sort="name"):
    return _table(runs, *filters, sort=sort)["run"].tolist()


def test_all_runs_are_found_once_and_photos_are_not_gone_through(runs, monkeypatch):
    (runs / "photos" / "class").mkdir(parents=True)
    (runs / "photos" / "manifest.csv").write_text("source\n")
    make_run(runs / "photos" / "class" / "hidden")
    make_run(runs / "first" / "crops" / "hidden")
    make_run(runs / "a" / "b" / "c" / "deep", 0.5)
    make_run(runs / "a" / "b" / "c" / "d" / "deeper")
    found = [path.name for path in find_runs([runs, runs / "sweep"])]
    assert found == ["deep", "first", "stopped", "second", "third"]
    with pytest.raises(UsageError, match="no folder"):
        find_runs([runs / "nowhere"])


def test_the_table_has_all_settings_and_results_with_their_types(runs):
    table = _table(runs)
    row = table[table["run"] == "second"].iloc[0]
    assert row["config.stages.head.learning_rate"] == 0.01 and row["config.stages.all.epochs"] == 4
    assert row["config.stages"] == "head, all" and row["config.model.architecture"] == "tf_efficientnet_lite0"
    assert (row["accuracy"], row["status.ok"], row["git.hash"]) == (0.867, 98, "ab" * 20)
    assert (row["epochs"], row["stage"], row["state"]) == (6, "all", "finished")
    assert row["val_accuracy"] == pytest.approx(0.8)
    assert table["epochs"].dtype == "Int64" and table["accuracy"].dtype == "Float64"
    stopped = table[table["run"] == "stopped"].iloc[0]
    assert pd.isna(stopped["accuracy"]) and (stopped["epochs"], stopped["seconds"]) == (3, 36.0)
    assert (stopped["state"], stopped["reason"]) == ("stopped", "nothing was written for 3 days")


def _gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("values", "state", "reason"),
    [
        ({"state": "running", "host": socket.gethostname(), "pid": os.getpid()}, "running", ""),
        ({"state": "running", "host": socket.gethostname(), "pid": _gone()}, "stopped", "its process has ended"),
        ({"state": "running", "host": "another", "pid": 1}, "running", ""),  # its files are new
        ({"state": "failed", "error": "The loss is not finite."}, "failed", "The loss is not finite."),
        ({"state": "failed", "error": "stopped by hand"}, "stopped", "stopped by hand"),
        ({"state": "finished"}, "finished", ""),
        ({}, "running", ""),
    ],
)
def test_states(tmp_path, values, state, reason):
    run = read_run(make_run(tmp_path / "run", state=values | {"started": "2026-11-20T10:00:00+01:00"}, epochs=2))
    assert (run.state, run.reason, run.started) == (state, reason, "2026-11-20T09:00:00+00:00")
    assert (run.ended is None) == (state == "running")


BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("config.yaml", BOMB, "holds too much"),
        ("config.yaml", "a: [1", "config.yaml can't be read"),
        ("config.yaml", "- 1", "no keys and values"),
        ("config.yaml", "!!python/object/apply:os.system ['touch hacked']", "config.yaml can't be read"),
        ("config.yaml", None, "config.yaml is missing"),
        ("metrics.json", '{"accuracy": ', "metrics.json can't be read"),
        ("metrics.json", "[" * 100_000, "metrics.json can't be read"),
        ("metrics.json", b"\xff\xfe", "metrics.json can't be read"),
        ("state.json", "[]", "state.json can't be read"),
        ("epochs.csv", "stage,epoch\nhead,1\n", "lacks one of the columns"),
        ("epochs.csv", b"\xff\xfe\x00", "epochs.csv can't be read"),
    ],
)
def test_a_broken_run_is_a_row_with_a_reason(runs, file, text, reason):
    if text is None:
        (runs / "third" / file).unlink()
    else:
        (runs / "third" / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert not (runs / "hacked").exists()
    table = _table(runs)
    row = table[table["run"] == "third"].iloc[0]
    assert row["state"] == "broken" and reason in row["reason"] and len(table) == 4


def test_values_that_are_no_numbers_and_an_empty_list_of_epochs_break_nothing(tmp_path):
    run = make_run(tmp_path / "a")
    text = (run / "epochs.csv").read_text()
    (run / "epochs.csv").write_text(text.replace("0.55", "nan").replace("11,", "soon,"))
    assert read_run(run).results["val_accuracy"] == 0.8
    (run / "epochs.csv").write_text("")
    assert read_run(run).results["epochs"] == 0 and read_run(run).state == "running"


def test_a_training_of_a_detector_is_no_row(runs):
    (runs / "detector").mkdir()
    (runs / "detector" / "config.yaml").write_text("output: x\nsources: []\n")
    assert "detector" not in _names(runs)


def test_parents_and_children_wherever_the_command_is_run(runs, monkeypatch, tmp_path):
    registry = Registry.read([runs])
    third = registry.find("third")
    assert [run.name for run in registry.chain(third)] == ["third", "second", "first"]
    assert [run.name for run in registry.children(registry.find("first"))] == ["second"]
    monkeypatch.chdir(runs.parent)
    registry = Registry.read(["runs"])
    assert [run.name for run in registry.chain(registry.find("runs/third"))] == ["third", "second", "first"]
    make_run(runs / "alone", init="bundled")
    alone = read_run(runs / "alone")
    assert registry.parent(alone) is None and alone.parent == "bundled"


def test_the_parent_of_the_state_counts_where_the_config_names_none_and_a_circle_ends(runs):
    make_run(runs / "x", 0.5, state={"state": "finished", "parent": "runs/y"})
    make_run(runs / "y", 0.5, init="runs/x")
    registry = Registry.read([runs])
    assert [run.name for run in registry.chain(registry.find("x"))] == ["x", "y"]


def test_a_name_is_a_path_or_the_end_of_one(runs):
    make_run(runs / "old" / "first")
    registry = Registry.read([runs])
    assert registry.find("sweep/second").name == "second" and registry.find(str(runs / "third")).name == "third"
    with pytest.raises(UsageError, match="matches 2 runs"):
        registry.find("first")
    assert registry.find("old/first").results["epochs"] == 6
    with pytest.raises(UsageError, match="no run 'nope'"):
        registry.find("nope")


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        (["accuracy>0.85"], ["second", "third"]),
        (["accuracy >= 0.867", "seed=2"], ["third"]),
        (["accuracy!=0.81"], ["second", "stopped", "third"]),
        (["accuracy=none"], ["stopped"]),
        (["accuracy!=none", "name=f*"], ["first"]),
        (["config.model.architecture=tf_efficientnet_lite0", "state=finished"], ["first", "second", "third"]),
        (["config.init=none"], ["first", "stopped"]),
        (["config.init=*second"], ["third"]),
        (["head.learning_rate<0.02"], ["second"]),
        (["started<2020-01-01"], []),
    ],
)
def test_filters(runs, filters, left):
    assert _names(runs, *filters) == left


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accuracy", "is not a filter"),
        (">0.8", "is not a filter"),
        ("acuracy>0.8", "did you mean accuracy"),
        ("learning_rate>0.1", "matches 2 columns"),
        ("accuracy>good", "can't be compared with 'good'"),
    ],
)
def test_wrong_filters_are_one_sentence(runs, text, message):
    with pytest.raises(UsageError, match=message):
        _table(runs, text)


def test_order_the_best_the_newest_and_the_first_name_come_first(runs):
    assert _names(runs, sort="accuracy") == ["third", "second", "first", "stopped"]
    assert _names(runs, sort="started")[-1] == "stopped"
    assert _names(runs, sort="seconds")[0] == "stopped"
    assert _names(runs) == ["first", "second", "stopped", "third"]
    ascending = sort_table(_table(runs), "accuracy", descending=False)
    assert ascending["run"].tolist() == ["first", "second", "third", "stopped"], "what has no value stays last"


def test_columns_by_short_names(runs):
    table = _table(runs)
    assert find_column(table, "all.epochs") == "config.stages.all.epochs"
    assert find_column(table, "seed") == "config.seed" and find_column(table, "name") == "run"
    assert find_column(table, "epochs") == "epochs"


def test_mixed_types_become_text(tmp_path):
    make_run(tmp_path / "a", model={"image_size": 256})
    make_run(tmp_path / "b", model={"image_size": [192, 320]})
    table = make_table(Registry.read([tmp_path]).runs)
    assert table["config.model.image_size"].tolist() == ["256", "[192, 320]"]
    json.loads(table.to_json(orient="records"))
