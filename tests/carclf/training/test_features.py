"""The head's stage on cached features is the same stage; what is frozen leaves nothing behind for gradients."""

import pandas as pd
import pytest
import torch

from carclf.classifier.checkpoint import load_model
from carclf.classifier.info import HeadConfig
from carclf.classifier.network import CarNet
from carclf.runs.recipe import AugmentationConfig, ModelConfig, TrainConfig
from carclf.training.data import features
from carclf.training.data.augmentation import Augmented
from carclf.training.loop import train
from carclf.training.start import build_model
from detection import load_image
from tests.carclf.drawn import draw_folders

ARCHITECTURE = "test_efficientnet"
HEAD = {"name": "head", "train": "head", "augmentation": 0.0, "image_size": 48, "batch_size": 8, "learning_rate": 0.01}


def _config(root, **changes):
    settings = {
        "data": root, "crops": True, "workers": 0, "progress": False, "precision": "float32", "device": "cpu",
        "validation": 0.25, "model": {"architecture": ARCHITECTURE, "pretrained": "none", "image_size": 32},
        "stages": [HEAD | {"epochs": 3}],
    }  # fmt: skip
    return TrainConfig.model_validate(settings | changes)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return draw_folders(tmp_path_factory.mktemp("features") / "photos", each=12)


@pytest.fixture
def seen(monkeypatch):
    """How many photos each call of a backbone in training or validation got; the evaluation at the end is apart."""
    calls = []
    forward = CarNet.forward

    def counted(self, images):
        if images.ndim == 4:
            calls.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(CarNet, "forward", counted)
    monkeypatch.setattr("carclf.training.loop._judge", lambda *_: {"accuracy": 0.0, "top5": 0.0, "n": 0})
    return calls


@pytest.mark.parametrize("changes", [
    {"augmentation": {"mirror": False}, "model": {"head": {"dense": 16}}},
    {"augmentation": {"mirror": True}, "ema": 0.9, "balance": "sampling"},
], ids=["plain", "mirrored, with an average"])  # fmt: skip
def test_the_result_is_that_of_the_uncached_stage(photos, tmp_path, monkeypatch, seen, capfd, changes):
    model = {"architecture": ARCHITECTURE, "pretrained": "none", "image_size": 32}
    changes = changes | {"model": model | changes.get("model", {})}
    cached = train(_config(photos, output=tmp_path / "cached", **changes))
    assert "the backbone computed features of 27 + 9 photos once" in capfd.readouterr().err
    assert not seen
    monkeypatch.setattr(features, "inputs_vary", lambda *_: True)
    usual = train(_config(photos, output=tmp_path / "usual", **changes))
    assert "features" not in capfd.readouterr().err
    assert sum(seen) == 3 * (24 + 9)

    columns = ["train_loss", "val_loss", "val_accuracy", "learning_rate"]
    ours, theirs = (pd.read_csv(run / "epochs.csv")[columns] for run in (cached, usual))
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-4, atol=1e-5)
    ours, theirs = (load_model(run / "stages/1-head.safetensors")[0].state_dict() for run in (cached, usual))
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize(("stage", "settings", "varies"), [
    ({}, {}, False),
    ({}, {"backgrounds": {"white": 1.0}, "crops": False}, False),
    ({"augmentation": 0.1}, {}, True),
    ({"mixup": 0.2}, {}, True),
    ({"cutmix": 1.0}, {}, True),
    ({"train": "half"}, {}, True),
    ({}, {"backgrounds": {"white": 0.5, "keep": 0.5}, "crops": False}, True),
])  # fmt: skip
def test_only_what_does_not_vary_is_cached(photos, stage, settings, varies):
    config = _config(photos, stages=[HEAD | stage], **settings)
    net = build_model(ModelConfig(architecture=ARCHITECTURE, pretrained="none"), 3)
    net.freeze(config.stages[0].train)
    assert features.inputs_vary(net, config.stages[0], config) == varies


def test_without_strength_a_photo_has_two_looks_however_much_the_recipe_could_do(photos):
    """What caching relies on: should an effect forget about the strength, cached stages would leave it out."""
    most = AugmentationConfig(rotate=20, shear=10, zoom=0.2, shift=0.1, perspective=0.1, erase=0.9, blur=0.9, gray=0.9)
    image = load_image(next(photos.rglob("*.jpg")))
    augmented = Augmented((32, 64), 0.0, most)
    assert len({augmented(image, seed).tobytes() for seed in range(60)}) == 2


def test_one_epoch_does_not_pay_for_two_views(photos):
    config = _config(photos, stages=[HEAD])
    net = build_model(config.model, 3)
    net.freeze("head")
    assert features.cache_features(net, config.stages[0], config, None, ("a", "b"), "cpu")[:2] == (net, ("a", "b"))


@pytest.mark.parametrize("architecture", ["test_efficientnet", "test_resnet", "test_vit"])
@pytest.mark.parametrize("share", ["head", "half"])
def test_the_frozen_part_keeps_no_activations_and_gets_no_gradients(architecture, share):
    torch.manual_seed(0)
    net = CarNet(architecture, HeadConfig(), 3)
    net.freeze(share)
    kept, before, guilty = [], {}, []
    frozen = [(name, module) for name, module in net.named_modules() if module in net._held]

    def enter(module, inputs):
        before[module] = len(kept)

    def leave(module, inputs, output):
        if len(kept) > before[module]:
            guilty.append(next(name for name, other in frozen if other is module))

    for _, module in frozen:
        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)
    size = 160 if "vit" in architecture else 32
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        loss = net(torch.randn(2, 3, size, size)).sum()
    loss.backward()
    assert kept and len(frozen) > 5 and not guilty
    for name, value in net.named_parameters():
        assert (value.grad is not None) == value.requires_grad, name
    assert any(not value.requires_grad for value in net.parameters())


def test_saved_activations_shrink_with_what_is_trained():
    torch.manual_seed(0)
    net = CarNet("tf_efficientnet_lite0", HeadConfig(), 3)
    images = torch.randn(2, 3, 64, 64)

    def kept(share):
        net.freeze(share)
        tensors = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: tensors.update({tensor.data_ptr(): tensor.nbytes}) or tensor, lambda tensor: tensor
        ):
            net(images)
        parameters = {value.data_ptr() for value in net.state_dict().values()}
        return sum(size for place, size in tensors.items() if place not in parameters)

    everything = kept("all")
    assert kept("head") < 0.01 * everything and kept("half") < 0.4 * everything
