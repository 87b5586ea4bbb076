import json

import pytest
from typer.testing import CliRunner

from carclf.classifier.catalogue import find_model, list_models
from carclf.cli import app
from carclf.weights import BUNDLED, bundled_file
from detection import UsageError
from tests.carclf.tiny import CLASSES, save_tiny_model


def test_bundled_run_folder_and_file(tmp_path):
    (tmp_path / "best.safetensors").write_bytes(b"x")
    assert find_model(str(tmp_path)).path == tmp_path / "best.safetensors"
    assert find_model(str(tmp_path / "best.safetensors")).path == tmp_path / "best.safetensors"


@pytest.mark.parametrize(
    ("name", "message"), [("nowhere", "There is no model"), ("empty", "no best"), ("a.pt", "code")]
)
def test_wrong_models_are_one_sentence(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.pt").write_bytes(b"x")
    with pytest.raises(UsageError, match=message):
        find_model(str(tmp_path / name))


def test_every_bundled_name_is_a_file():
    for name in BUNDLED:
        assert find_model(name).path == bundled_file(name)
    assert find_model("bundled") == find_model("stanford196")


def test_the_list_says_what_each_file_says():
    rows = {row["name"]: row for row in list_models()}
    assert set(rows) == set(BUNDLED) and [row["default"] for row in rows.values()].count(True) == 1
    assert rows["stanford196"]["classes"] == 196
    assert rows["dealer19"]["classes"] == 19
    assert all(row["megabytes"] <= 25 for row in rows.values())


def test_the_command(tmp_path):
    runner = CliRunner()
    listed = runner.invoke(app, ["models"])
    assert listed.exit_code == 0 and all(name in listed.output for name in BUNDLED)
    assert json.loads(runner.invoke(app, ["models", "--format", "json"]).output)[0]["name"] == "stanford196"
    file = save_tiny_model(tmp_path / "tiny.safetensors")
    assert runner.invoke(app, ["models", "--classes", str(file)]).output.splitlines() == list(CLASSES)
    assert runner.invoke(app, ["models", "--format", "xml"]).exit_code == 2
