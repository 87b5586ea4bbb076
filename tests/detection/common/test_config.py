import pytest

from detection import UsageError
from detection.common.config import StrictConfig, read_config, write_config


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
