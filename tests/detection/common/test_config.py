import subprocess
import sys

import pytest
from pydantic import ValidationError

from detection import UsageError
from detection.common.config import StrictConfig, first_complaint, read_config, read_values, write_config


class Inner(StrictConfig):
    size: int = 3


class Outer(StrictConfig):
    name: str = "x"
    inner: Inner = Inner()
    needed: float = 1.0


def test_defaults_then_file_then_overrides(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("name: file\ninner: {size: 5}\n")
    assert read_config(Outer).name == "x"
    config = read_config(Outer, file, ["inner.size=7"])
    assert (config.name, config.inner.size, config.needed) == ("file", 7, 1.0)


def test_what_is_written_reads_back_equal(tmp_path):
    config = Outer(name="Škoda", inner=Inner(size=9))
    write_config(config, tmp_path / "c.yaml")
    assert read_config(Outer, tmp_path / "c.yaml") == config


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("nam: 1", [], "Unknown setting 'nam'"),
        ("inner: {sise: 1}", [], r"Unknown setting 'inner\.sise'"),
        ("inner: {size: big}", [], r"'inner\.size'.*is wrong"),
        ("- 1", [], "must hold 'key: value' lines"),
        ("a: [", [], "not valid YAML"),
        ("x: !!python/object/apply:os.getcwd []", [], "not valid YAML"),
        (r'a: "C:\photos"', [], r"not valid YAML.*\(a path with backslashes stands in single quotes\)"),
        ("", ["size"], "write key=value"),
        ("", ["inner.size=big"], r"'inner\.size'.*is wrong"),
    ],
)
def test_wrong_settings_are_one_sentence(tmp_path, text, overrides, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_config(Outer, tmp_path / "c.yaml", overrides)
    assert "\n" not in str(caught.value)


def test_missing_file_is_one_sentence():
    with pytest.raises(UsageError, match="There is no config file"):
        read_config(Outer, "nowhere.yaml")


def test_shipped_configs_are_found_from_any_folder(tmp_path, monkeypatch):
    from carclf.runs.recipe import TrainConfig

    monkeypatch.chdir(tmp_path)
    assert read_config(TrainConfig, "configs/train/quick.yaml").name == "quick"


def test_configs_are_frozen():
    with pytest.raises(Exception, match="frozen"):
        Outer().name = "y"


def test_the_first_complaint_tells_where_and_what():
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": {"size": "secret"}})
    complaint = first_complaint(caught.value)
    assert (complaint.key, complaint.kind, complaint.given) == ("inner.size", "int_parsing", "secret")
    assert complaint.wrong.startswith("is wrong: input should be a valid integer")
    assert complaint.wrong.endswith("(given: 'secret')")
    assert "secret" not in complaint.text and "secret" not in repr(complaint)


def test_a_file_wins_over_its_base_key_by_key(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "first.yaml").write_text("name: first\nneeded: 2\nlist: [1, 2]\ninner: {size: 4, other: '${name}'}\n")
    (tmp_path / "deep" / "second.yaml").write_text("base: ../first.yaml\nlist: [3]\ninner: {size: 5}\n")
    (tmp_path / "third.yaml").write_text("name: third\nbase: deep/second.yaml\ninner: {more: null}\n")
    assert read_values(tmp_path / "third.yaml") == {
        "name": "third",
        "needed": 2,
        "list": [3],
        "inner": {"size": 5, "other": "${name}", "more": None},
    }


def test_the_base_is_below_the_overrides_and_above_the_defaults(tmp_path):
    (tmp_path / "base.yaml").write_text("name: base\ninner: {size: 5}\n")
    (tmp_path / "c.yaml").write_text("base: base.yaml\nname: own\n")
    config = read_config(Outer, tmp_path / "c.yaml", ["inner.size=7"])
    assert (config.name, config.inner.size, config.needed) == ("own", 7, 1.0)
    write_config(config, tmp_path / "resolved.yaml")
    assert "base" not in (tmp_path / "resolved.yaml").read_text()


def test_references_see_what_the_file_puts_over_its_base(tmp_path):
    (tmp_path / "base.yaml").write_text('name: "n${needed}"\nneeded: 1\n')
    (tmp_path / "c.yaml").write_text("base: base.yaml\nneeded: 3\n")
    assert read_config(Outer, tmp_path / "c.yaml").name == "n3"


def test_a_shipped_file_may_be_the_base_of_any(tmp_path, monkeypatch):
    from carclf.runs.recipe import TrainConfig

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("base: configs/train/quick.yaml\nname: mine\n")
    mine, quick = (read_config(TrainConfig, path) for path in ("mine.yaml", "configs/train/quick.yaml"))
    assert mine == quick.model_copy(update={"name": "mine"})


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("nowhere.yaml", "There is no config file 'nowhere.yaml', which '.*c.yaml' names as its base"),
        ("configs/train/nowhere.yaml", "There is no config file 'configs/train/nowhere.yaml'"),
        ("c.yaml", "has itself as base"),
        ("other.yaml", "has itself as base, by way of 'c.yaml'"),
        ("[a, b]", "The setting 'base' in '.*c.yaml' is wrong"),
        ("bad.yaml", "'.*bad.yaml' is not valid YAML"),
    ],
)
def test_a_base_that_cannot_be_is_one_sentence(tmp_path, base, message):
    (tmp_path / "c.yaml").write_text(f"base: {base}\n")
    (tmp_path / "other.yaml").write_text("base: c.yaml\n")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(UsageError, match=message) as caught:
        read_config(Outer, tmp_path / "c.yaml")
    assert "\n" not in str(caught.value)


def test_a_schema_alone_loads_no_yaml():
    code = "import sys, detection.common.config; print('omegaconf' in sys.modules, 'yaml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


class _Part(StrictConfig):
    name: str
    size: int = 1


class _Parts(StrictConfig):
    parts: tuple[_Part, ...]


def test_items_of_a_list_go_by_their_names_or_numbers(tmp_path):
    """Resolved configs hold them as lists."""
    path = tmp_path / "config.yaml"
    path.write_text("parts: [{name: head, size: 2}, {name: half}, {name: all}]\n")
    config = read_config(_Parts, path, ["parts.head.size=4", "parts.2.size=8", "parts.half=null"])
    assert config == _Parts(parts=(_Part(name="head", size=4), _Part(name="all", size=8)))
    with pytest.raises(UsageError, match=r"no 'haed' in 'parts': known there are head, half, all"):
        read_config(_Parts, path, ["parts.haed.size=4"])
    with pytest.raises(UsageError, match=r"no '3' in 'parts'"):
        read_config(_Parts, path, ["parts.3.size=4"])
