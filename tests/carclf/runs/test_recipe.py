from pathlib import Path

import pytest
import yaml

from carclf.classifier.info import pair
from carclf.runs.recipe import TrainConfig
from detection.common.config import read_config, write_config
from detection.common.errors import UsageError

CONFIGS = sorted((Path(__file__).parents[3] / "configs" / "train").glob("*.yaml"))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        yaml.safe_dump({"data": "photos", "stages": {"head": {"train": "head"}, "all": {"epochs": 3}}}, sort_keys=False)
    )
    return path


def test_stages_by_name_keep_their_order_and_take_overrides(file):
    config = read_config(TrainConfig, file, ["stages.all.epochs=5", "cutout.background=black", "model.head.dense=64"])
    assert [(stage.name, stage.train, stage.epochs) for stage in config.stages] == [
        ("head", "head", 1),
        ("all", "all", 5),
    ]
    assert config.cutout.background == "black"
    assert config.model.head.dense == 64


def test_a_stage_is_dropped_by_null(file):
    assert [stage.name for stage in read_config(TrainConfig, file, ["stages.head=null"]).stages] == ["all"]


def test_the_saved_config_reads_back_equal(file, tmp_path):
    config = read_config(TrainConfig, file, ["seed=7"])
    write_config(config, tmp_path / "saved.yaml")
    assert read_config(TrainConfig, tmp_path / "saved.yaml") == config


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("sed=1", "Unknown setting 'sed'"),
        ("stages.all.epoch=1", "epoch"),
        ("model.pretrained=internet", "model.pretrained"),
        ("validation=1.5", "validation"),
        ("resume=true", "output"),
        ("stages.head=null stages.all=null", "stages"),
    ],
)
def test_a_wrong_setting_is_one_sentence(file, override, said):
    with pytest.raises(UsageError, match=said) as raised:
        read_config(TrainConfig, file, override.split())
    assert str(raised.value).count("\n") == 0


@pytest.mark.parametrize(
    "name", ["hf-hub:timm/resnet18.a1_in1k", "hf_hub:timm/resnet18.a1_in1k", "timm/resnet18.a1_in1k"]
)
def test_a_name_of_the_hub_is_timms_own(file, name):
    assert read_config(TrainConfig, file, [f"model.architecture={name}"]).model.architecture == "resnet18.a1_in1k"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_are_valid(path):
    config = read_config(TrainConfig, path, ["data=x"])
    assert config.name == path.stem
    assert config.stages[0].train == "head" or config.init, "a new head must not shake the backbone"
    assert pair(config.stages[-1].image_size) >= pair(config.stages[0].image_size)


def test_tta_is_a_number_of_views(file):
    assert read_config(TrainConfig, file).tta == 1 and read_config(TrainConfig, file, ["tta=10"]).tta == 10
    with pytest.raises(UsageError, match="tta"):
        read_config(TrainConfig, file, ["tta=0"])
