import json
import subprocess

import pytest

from carclf.runs.folder import discard_run, git_state, open_run, resumed_config
from carclf.runs.recipe import TrainConfig
from carclf.runs.registry.entry import read_run
from carclf.runs.tables import read_epochs
from detection import UsageError
from detection.common.files import write_json, write_table


@pytest.fixture
def config(tmp_path):
    return TrainConfig(data=tmp_path, output=tmp_path / "run")


def test_a_run_is_not_overwritten(config):
    open_run(config)
    before = (config.output / "config.yaml").read_bytes()
    assert open_run(config) == config.output, "the same command resumes it"
    assert open_run(config.model_copy(update={"resume": True, "workers": 3})) == config.output
    assert (config.output / "config.yaml").read_bytes() == before


def test_resume_with_other_settings_names_them(config):
    open_run(config)
    for resume in (False, True):
        with pytest.raises(UsageError, match=r"other settings \(seed\): pass the same, name another output"):
            open_run(config.model_copy(update={"resume": resume, "seed": 5}))


def test_output_that_is_something_else_is_refused(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match="not a run folder"):
        open_run(config)


def test_names_with_the_time_never_clash(tmp_path):
    config = TrainConfig(data=tmp_path, runs=tmp_path / "runs")
    assert open_run(config) != open_run(config)


def test_git_state_inside_and_outside_a_checkout(tmp_path):
    assert git_state(tmp_path) == {"hash": None, "dirty": None}
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "add", "a"], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-qm", "a"], cwd=tmp_path, check=True)
    state = git_state(tmp_path)
    assert len(state["hash"]) == 40 and state["dirty"] is False
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path)["dirty"] is True


def test_tables_and_json_come_back(tmp_path):
    assert read_epochs(tmp_path) == []
    write_table(tmp_path / "epochs.csv", [{"stage": "head", "epoch": 1}])
    assert read_epochs(tmp_path) == [{"stage": "head", "epoch": 1}]
    write_json(tmp_path / "m.json", {"name": "Škoda"})
    assert json.loads((tmp_path / "m.json").read_text(encoding="utf-8")) == {"name": "Škoda"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epochs.csv", "m.json"]


def test_a_run_that_never_began_leaves_no_folder(config):
    discard_run(open_run(config))
    assert not config.output.exists()
    (open_run(config) / "split.csv").write_text("file")
    discard_run(config.output)
    assert (config.output / "config.yaml").is_file(), "what holds a result stays"


def test_the_run_of_a_newer_carclf_is_refused(config):
    """Also where its config has settings that are unknown here; `carclf runs` lists it with that reason."""
    run = open_run(config)
    write_json(run / "state.json", {"state": "failed", "written_by": {"carclf": "0.9.0", "format": 2}})
    saved = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(saved + "new: 1\n")
    for begin in (lambda: open_run(config), lambda: resumed_config(run)):
        with pytest.raises(UsageError, match=r"state\.json' was written by carclf 0\.9\.0, which is newer than this"):
            begin()
    entry = read_run(run)
    assert entry.state == "broken" and "newer than this" in entry.reason
    write_json(run / "state.json", {"state": "failed"})
    (run / "config.yaml").write_text(saved)
    assert open_run(config) == run, "as of version 0.4"
