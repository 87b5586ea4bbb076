"""Starting from another model's weights."""

import json

import pytest
import torch

import carclf.training.loop
from carclf.classifier.checkpoint import load_model, save_model
from carclf.classifier.info import HeadConfig, ModelInfo
from carclf.classifier.network import CarNet
from carclf.training.loop import train
from carclf.training.start import first_network, parent_of
from detection import UsageError
from tests.carclf.drawn import draw_folders
from tests.carclf.short_runs import MODEL, short_config, short_stage

CLASSES = ("blue", "green", "red")
COLOURS = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.2, 0.3)}


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A run folder with the weights of three colours, and a head with a dense layer."""
    folder = tmp_path_factory.mktemp("parent")
    torch.manual_seed(1)
    head = HeadConfig(dense=8, dropout=0.1)
    info = ModelInfo(
        classes=CLASSES, architecture="test_efficientnet", head=head, image_size=32, stage="all", **COLOURS
    )
    save_model(CarNet("test_efficientnet", head, 3), info, folder / "best.safetensors", half=False)
    return folder


def config(parent, dense=8, **changes):
    model = MODEL | {"head": {"dense": dense, "dropout": 0.0}} | changes
    return short_config(parent, init=str(parent), model=model)


def equal(net, parent, part) -> bool:
    theirs = load_model(parent / "best.safetensors")[0].state_dict()
    own = {name: value for name, value in net.state_dict().items() if name.startswith(part)}
    own = {name: value for name, value in own.items() if not name.endswith("num_batches_tracked")}
    return bool(own) and all(torch.equal(value, theirs[name]) for name, value in own.items())


def test_the_same_classes_take_all_of_it(parent):
    first = first_network(config(parent), CLASSES)
    assert equal(first.net, parent, "")
    assert "all of its network" in first.said and first.parent == str(parent.resolve())
    assert (first.mean, first.std) == (COLOURS["mean"], COLOURS["std"]), "images as its weights know them"


def test_other_classes_take_all_but_the_last_layer(parent):
    first = first_network(config(parent), ("audi", "bmw"))
    assert equal(first.net, parent, "backbone") and equal(first.net, parent, "head.1")
    assert first.net.head[-1].out_features == 2
    assert "backbone and the dense layer" in first.said and "2 classes" in first.said


@pytest.mark.parametrize("dense", [None, 16])
def test_another_head_takes_the_backbone(parent, dense):
    first = first_network(config(parent, dense), CLASSES)
    assert equal(first.net, parent, "backbone")
    assert first.said.endswith("its backbone (the head has another shape)")


def test_what_does_not_fit_is_one_sentence(parent, tmp_path):
    with pytest.raises(UsageError, match=r"set model\.architecture=test_efficientnet"):
        first_network(config(parent, architecture="mobilenetv3_small_050"), CLASSES)
    with pytest.raises(UsageError, match="There is no model"):
        first_network(short_config(parent, init=str(tmp_path / "gone")), CLASSES)


def test_a_parent_is_a_name_or_a_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parent_of("stanford196") == "stanford196"
    assert parent_of("runs/first") == str(tmp_path / "runs" / "first")


def test_a_training_begins_where_its_parent_ended(parent, tmp_path, monkeypatch, capsys):
    """Hardly trained, it still has its parent's weights, and says whose they are."""
    monkeypatch.setattr(carclf.training.loop, "_show", lambda run: None)
    draw_folders(tmp_path / "photos", each=6)
    stage = short_stage("head", learning_rate=1e-9, schedule="constant", augmentation=0.5)
    model = MODEL | {"head": {"dense": 8, "dropout": 0.0}}
    run = train(short_config(tmp_path, init=str(parent), model=model, stages=[stage]))
    assert equal(load_model(run / "stages/1-head.safetensors")[0], parent, "backbone")
    assert json.loads((run / "state.json").read_text())["parent"] == str(parent.resolve())
    assert "starts from" in capsys.readouterr().err
