"""The shipped recipes: that they say what their sources do, and that each of them runs, with any model."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from carclf.cli import app
from carclf.datasets import read_table, split_table
from carclf.runs.recipe import TrainConfig
from carclf.tools.smoke import EACH, SMALLEST, TINTS, draw_photos, smoke_config, try_recipe
from carclf.training.rates import make_scheduler
from detection.common.config import read_config

FOLDER = Path(__file__).parents[3] / "configs" / "train"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
CLASSIC = (
    "efficientnet_b0_staged",
    "efficientnet_b3_three_phase",
    "efficientnet_b6_seven_steps",
    "resnet50_two_phase",
    "xception_staged",
)


@pytest.fixture
def unshown(monkeypatch):
    """Without the pictures that a training draws after each stage: they take longer than the small stages."""
    monkeypatch.setattr("carclf.training.loop._show", lambda run: None)


def recipe(name: str, *settings: str) -> TrainConfig:
    return read_config(TrainConfig, FOLDER / f"{name}.yaml", settings)


def stages(name: str, *fields: str) -> list[tuple]:
    return [tuple(getattr(stage, field) for field in fields) for stage in recipe(name).stages]


def test_the_recipes_are_there():
    assert {*CLASSIC, "best", "quick", "short"} <= set(RECIPES)


def test_the_seven_steps_of_b6():
    assert stages("efficientnet_b6_seven_steps", "train", "epochs", "learning_rate", "image_size", "patience") == [
        ("head", 5, 1e-4, 224, 3),
        ("half", 10, 1e-4, 224, 3),
        ("three_quarters", 10, 1e-4, 224, 3),
        ("all", 10, 1e-4, 224, 3),
        ("all", 8, 1e-5, 448, 3),
        ("all", 6, 1e-5, 448, 3),
        ("all", 10, 1e-6, 448, 2),
    ]
    common = ("batch_size", "optimizer", "schedule", "monitor", "factor", "final_factor", "stop_patience")
    assert set(stages("efficientnet_b6_seven_steps", *common)) == {
        (64, "adam", "plateau", "val_accuracy", 0.2, 0.01, 6)
    }
    config = recipe("efficientnet_b6_seven_steps")
    assert config.model.architecture.startswith("tf_efficientnet_b6")
    assert (config.model.head.dense, config.model.head.batch_norm, config.model.head.dropout) == (256, True, 0.25)
    assert all(stage.at_once < 64 for stage in config.stages if stage.image_size == 448)


@pytest.mark.parametrize(("step", "bad"), [(0, 3), (6, 2)])
def test_the_rate_falls_after_as_many_epochs_as_in_keras(step, bad):
    stage = recipe("efficientnet_b6_seven_steps").stages[step]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=stage.learning_rate)
    scheduler = make_scheduler(optimizer, stage, steps=10)["scheduler"]
    rates = []
    for _ in range(1 + bad):  # the first is the best so far
        scheduler.step(0.9)
        rates.append(optimizer.param_groups[0]["lr"] / stage.learning_rate)
    assert rates == pytest.approx([1.0] * bad + [0.2])


def test_the_two_phases_of_resnet50():
    assert stages("resnet50_two_phase", "train", "optimizer", "learning_rate") == [
        ("head", "adam", 1e-4), ("all", "adam", 1e-5),
    ]  # fmt: skip
    config = recipe("resnet50_two_phase")
    varied = config.augmentation
    assert config.model.head.dropout == 0.3 and config.model.head.dense is None
    assert (varied.mirror, varied.rotate, varied.zoom) == (True, 0.2 * 360, 0.2)
    assert not any((varied.crop, varied.brightness, varied.contrast, varied.hue, varied.gray, varied.blur))
    first, second = recipe("resnet50_two_phase", "stages.all=null"), recipe("resnet50_two_phase", "stages.head=null")
    assert [len(half.stages) for half in (first, second)] == [1, 1]


def test_the_three_phases_of_b3():
    assert stages("efficientnet_b3_three_phase", "train", "image_size") == [
        ("head", 320), ("blocks.4", 320), ("all", 320), ("all", 520),
    ]  # fmt: skip
    batches = [stage.batch_size for stage in recipe("efficientnet_b3_three_phase").stages]
    assert batches[-1] < min(batches[:-1])
    assert recipe("efficientnet_b3_three_phase").model.head.dense == 128


@pytest.mark.parametrize("name", ["xception_staged", "efficientnet_b0_staged"])
def test_the_staged_recipes_thaw_slowly_at_falling_rates_and_end_with_less_augmentation(name):
    config = recipe(name)
    rates = [stage.learning_rate for stage in config.stages]
    shares = [stage.train for stage in config.stages]
    assert rates == sorted(rates, reverse=True) and len(set(rates)) == len(rates)
    assert shares[0] == "head" and shares[-1] == "all" and {"half"} <= set(shares)
    assert config.stages[-1].augmentation < 1 == config.stages[0].augmentation
    assert all(stage.stop_patience for stage in config.stages)


@pytest.mark.parametrize("name", CLASSIC)
def test_the_classic_recipes_train_as_keras_does(name):
    config = recipe(name)
    assert (config.weight_decay, config.label_smoothing) == (0, 0)
    assert {stage.backbone_factor for stage in config.stages} == {1.0}
    assert {stage.optimizer for stage in config.stages} == {"adam"}
    assert config.tta == (1 if name == "resnet50_two_phase" else 10)


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_runs(name, tmp_path, unshown):
    said = try_recipe(recipe(name, "model.architecture=test_efficientnet", f"output={tmp_path / 'run'}"))
    config = recipe(name)
    assert said.startswith(f"{name} runs: {len(config.stages)} stages")
    epochs = pd.read_csv(tmp_path / "run" / "epochs.csv")
    assert epochs["stage"].tolist() == [stage.name for stage in config.stages]
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics.get("tta", {}).get("passes", 1) == config.tta
    assert config.tta == 1 or {"accuracy", "top5", "intervals"} <= set(metrics["tta"])


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_runs_with_its_own_architecture(name):
    assert recipe(name).model.architecture in try_recipe(recipe(name))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["test_vit", "test_vit3", "test_maxvit", "test_convnext", "resnet18"])
def test_a_recipe_runs_with_other_kinds_of_networks(architecture):
    assert architecture in try_recipe(recipe("efficientnet_b3_three_phase", f"model.architecture={architecture}"))


def test_the_command_says_what_ran_and_leaves_nothing(tmp_path, monkeypatch, unshown):
    monkeypatch.chdir(tmp_path)
    arguments = ["train", str(FOLDER / "resnet50_two_phase.yaml"), "--smoke", "model.architecture=test_efficientnet"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "resnet50_two_phase runs: 2 stages (head, all) of test_efficientnet" in result.stdout
    assert not list(tmp_path.iterdir())


def test_small_means_short_but_the_same_in_kind(tmp_path):
    config = recipe("efficientnet_b6_seven_steps", "ema=0.9", "init=runs/first", "stages.step7.mixup=0.2")
    small = smoke_config(config, tmp_path)
    assert {stage.epochs for stage in small.stages} == {1}
    assert [stage.image_size for stage in small.stages] == [(SMALLEST, SMALLEST)] * 4 + [(2 * SMALLEST,) * 2] * 3
    assert small.model.image_size == (2 * SMALLEST,) * 2
    assert (small.model.pretrained, small.init, small.ema, small.tta) == ("none", None, 0.9, 10)
    kept = ("name", "train", "optimizer", "learning_rate", "schedule", "patience", "mixup", "stop_patience")
    for before, after in zip(config.stages, small.stages, strict=True):
        assert [getattr(before, name) for name in kept] == [getattr(after, name) for name in kept]
        assert (after.at_once < after.batch_size) == (before.at_once < before.batch_size)


def test_oblong_sizes_stay_oblong_and_small_ones_as_they_are(tmp_path):
    oblong = smoke_config(recipe("best"), tmp_path).stages[0].image_size
    assert oblong[1] > oblong[0] == SMALLEST
    settings = [f"stages.{name}.image_size=64" for name in ("head", "all")]
    small = smoke_config(recipe("short", *settings, "model.image_size=64"), tmp_path)
    assert {stage.image_size for stage in small.stages} == {(64, 64)}


def test_a_transformer_of_one_size_gets_that_one(tmp_path):
    small = smoke_config(recipe("quick", "model.architecture=test_vit"), tmp_path)
    assert {stage.image_size for stage in small.stages} == {(160, 160)} and small.model.image_size == (160, 160)


@pytest.mark.parametrize(("architecture", "train"), [("test_efficientnet", "blocks.4"), ("test_resnet", "half")])
def test_a_module_that_the_architecture_lacks_is_half_of_it(architecture, train, tmp_path, capsys):
    config = recipe("efficientnet_b3_three_phase", f"model.architecture={architecture}")
    assert smoke_config(config, tmp_path).stages[1].train == train
    assert ("half of it instead" in capsys.readouterr().err) == (train == "half")


def test_the_drawn_photos_can_be_split(tmp_path):
    draw_photos(tmp_path / "photos")
    table = split_table(read_table(tmp_path / "photos"), 1 / 3)
    assert table.groupby("label").size().to_dict() == dict.fromkeys(TINTS, EACH)
    assert (table["split"] == "val").sum() == EACH
