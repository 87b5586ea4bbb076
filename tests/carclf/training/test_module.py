"""One stage's learning: optimizers, schedules, mixing, averages, frozen norms; on a few random pictures."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from carclf.classifier.info import HeadConfig, ModelInfo
from carclf.classifier.network import CarNet
from carclf.runs.recipe import Stage
from carclf.training.module import StageModule
from carclf.training.rates import make_optimizer, make_scheduler, parameter_groups, rate_factor

HALF = (0.5, 0.5, 0.5)
CLASSES = ("a", "b", "c")
INFO = ModelInfo(classes=CLASSES, architecture="test_efficientnet", image_size=32, mean=HALF, std=HALF)
OPTIMIZERS = ("adam", "adamw", "adamax", "nadam", "sgd", "rmsprop")
SCHEDULES = ("constant", "plateau", "cosine", "onecycle", "step", "exponential")
BATCHES = 3


@pytest.fixture(scope="module")
def batches():
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (BATCHES * 4, 3, 32, 32), dtype=torch.uint8, generator=random)
    return TensorDataset(images, torch.arange(BATCHES * 4) % 3)


@pytest.fixture(scope="module")
def net():
    return make_net()


def make_net(seed=0, dropout=0.0) -> CarNet:
    torch.manual_seed(seed)
    return CarNet("test_efficientnet", HeadConfig(dropout=dropout), len(CLASSES))


class Rates(pl.Callback):
    """The learning rates after each batch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        self.seen.append([group["lr"] for group in trainer.optimizers[0].param_groups])


def fit(net, stage, data, batch_size=4, parts=1, **settings) -> tuple[StageModule, Rates]:
    net.freeze(stage.train)
    module = StageModule(net, stage, INFO, photos=len(data), **settings)
    rates = Rates()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=stage.epochs,
        callbacks=[rates],
        accumulate_grad_batches=parts,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    loader = DataLoader(data, batch_size)
    trainer.fit(module, loader, loader)
    return module, rates


def make_stage(optimizer, schedule) -> Stage:
    """Two epochs of half of the network, of whose rate the backbone has a half."""
    settings = {"train": "half", "epochs": 2, "learning_rate": 1e-3, "backbone_factor": 0.5, "batch_size": 4}
    settings |= {"warmup": 0.34 if schedule == "cosine" else None, "factor": 0.1, "final_factor": 0.05}
    return Stage(name="x", optimizer=optimizer, schedule=schedule, **settings)


@pytest.mark.parametrize(("optimizer", "schedule"), list(zip(OPTIMIZERS, SCHEDULES, strict=True)))
def test_training_leaves_what_is_frozen_bit_by_bit(batches, optimizer, schedule):
    """Norms' statistics and the average included, however much decays."""
    stage = make_stage(optimizer, schedule)
    net = make_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    module, rates = fit(net, stage, batches, weight_decay=0.5, ema=0.9)
    frozen = _frozen(net)
    assert len(frozen) >= 20 and any("running_mean" in name for name in frozen)
    for after in (net.state_dict(), module.result.state_dict()):
        assert all(torch.equal(after[name], before[name]) for name in frozen)
    assert not torch.equal(net.head[-1].weight, before["head.1.weight"])
    assert all(torch.isfinite(value).all() for value in net.parameters())
    if schedule != "plateau":  # after each step the rate is that of the next one
        expected = [1e-3 * rate_factor(stage, step, 2 * BATCHES, BATCHES) for step in range(1, 2 * BATCHES + 1)]
        assert [seen[0] for seen in rates.seen] == pytest.approx(expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_optimizer_takes_each_schedule(net, optimizer, schedule):
    stage = make_stage(optimizer, schedule)
    net.freeze("half")
    made = make_optimizer(net, stage, 0.01)
    scheduler = make_scheduler(made, stage, 2 * BATCHES)["scheduler"]
    tops = [group.get("initial_lr", group["lr"]) for group in made.param_groups]
    assert max(tops) == pytest.approx(1e-3) and min(tops) == pytest.approx(5e-4)
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3) if parameter.requires_grad else None
    for step in range(2 * BATCHES):
        factor = 1.0 if schedule == "plateau" else rate_factor(stage, step, 2 * BATCHES, BATCHES)
        assert [group["lr"] for group in made.param_groups] == pytest.approx([top * factor for top in tops]), step
        made.step()
        scheduler.step(1.0 - step) if schedule == "plateau" else scheduler.step()
    assert all(torch.isfinite(value).all() for value in net.parameters())


def _frozen(net) -> list[str]:
    """Names of parameters and statistics of the frozen blocks, counters aside."""
    modules = {name.rsplit(".", 1)[0] for block in net.blocks[: net.first_trained] for name in block}
    names = (f"backbone.{name}" for name in net.backbone.state_dict() if name.rsplit(".", 1)[0] in modules)
    return [name for name in names if not name.endswith("num_batches_tracked")]


def test_plateau_warms_up_falls_and_stops_falling():
    """The rate after each epoch whose loss is not better; never below `final_factor`."""
    stage = Stage(name="x", schedule="plateau", factor=0.1, patience=1, final_factor=0.05, learning_rate=1.0,
                  backbone_factor=0.5)  # fmt: skip
    net = make_net()
    net.freeze("half")
    optimizer = make_optimizer(net, stage, 0.0)
    scheduler = make_scheduler(optimizer, stage, 10)["scheduler"]
    seen = []
    for loss in (1.0, 0.5, 0.5, 0.6, 0.7):
        scheduler.step(loss)
        seen.append({group["lr"] for group in optimizer.param_groups})
    expected = [{1.0, 0.5}, {1.0, 0.5}, {0.1, 0.05}, {0.05, 0.025}, {0.05, 0.025}]
    assert [sorted(rates) for rates in seen] == [pytest.approx(sorted(rates)) for rates in expected]


def test_plateau_is_stepped_once_an_epoch(batches, monkeypatch):
    stage = Stage(name="x", train="head", epochs=3, schedule="plateau", warmup=0.34, learning_rate=1e-3, batch_size=4)
    steps = []
    monkeypatch.setattr(torch.optim.lr_scheduler.ReduceLROnPlateau, "step", lambda self, loss, *_: steps.append(loss))
    _, rates = fit(make_net(), stage, batches)
    assert len(steps) == 3 and all(isinstance(loss, float) for loss in steps)
    rising = [seen[0] / 1e-3 for seen in rates.seen[:4]]
    assert rising == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_layer_decay_gives_each_block_its_rate():
    net = make_net()
    net.freeze("all")
    groups = parameter_groups(net, 1.0, 0.5, 0.1, layer_decay=0.5)
    names = {id(value): name for name, value in net.named_parameters()}
    rate = {names[id(value)]: group["lr"] for group in groups for value in group["params"]}
    assert rate.keys() == set(names.values()), "each parameter in one group"
    last = len(net.blocks) - 1
    for number, block in enumerate(net.blocks):
        assert {rate[f"backbone.{name}"] for name in block} == {0.5 * 0.5 ** (last - number)}
    assert {rate[name] for name in rate if name.startswith("head")} == {1.0}
    decays = {group["weight_decay"] for group in groups for value in group["params"] if value.ndim == 1}
    assert decays == {0.0}, "no decay of biases and norms"


def test_parts_of_a_batch_are_as_good_as_the_whole(batches):
    """The frozen backbone's norms do not see the difference; SGD, so that small differences stay small."""
    stage = Stage(name="x", train="head", epochs=2, optimizer="sgd", schedule="cosine", learning_rate=0.1, batch_size=4)
    (whole, a), (parts, b) = (fit(make_net(), stage, batches, 4 // n, n, label_smoothing=0.1) for n in (1, 2))
    assert a.seen[-1] == pytest.approx(b.seen[-1])
    for one, other in zip(whole.net.parameters(), parts.net.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_the_average_lags_behind_and_is_what_counts(batches):
    stage = Stage(name="x", train="all", epochs=2, schedule="constant", learning_rate=0.01, batch_size=4)
    net = make_net()
    first = net.head[-1].weight.clone()
    module, _ = fit(net, stage, batches, ema=0.5)
    average, own = module.result.head[-1].weight, net.head[-1].weight
    assert module.result is not net and not torch.equal(average, own)
    assert (average - first).norm() < (own - first).norm()
    assert not any(value.requires_grad for value in module.result.parameters())
    assert fit(net, stage.model_copy(update={"epochs": 1}), batches)[0].result is net, "without one, the network itself"


@pytest.mark.parametrize("how", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0, "mix": 0.5}])
def test_mixing_makes_pairs_and_repeats_itself(batches, how):
    stage = Stage(name="x", train="head", epochs=1, schedule="constant", batch_size=4, **how)
    seen = []
    for _ in range(2):
        module = StageModule(make_net(), stage, INFO, photos=12)
        pl.seed_everything(3, verbose=False)
        images, labels = batches.tensors[0][:4], batches.tensors[1][:4]
        mixed, targets = module.mix(module.images(images), labels)
        seen.append(mixed)
        assert targets.shape == (4, 3) and torch.allclose(targets.sum(1), torch.ones(4))
    assert torch.equal(*seen)
    if "mix" not in how:
        assert not torch.equal(seen[0], module.images(images)), "pictures have changed"
    fit(make_net(), stage, batches)


@pytest.mark.parametrize("how", [{"mixup": 0.8}, {"cutmix": 1.0}])
def test_mixing_takes_any_number_of_photos(batches, how):
    """In an odd batch the middle one stays as it is, the others are mixed in pairs."""
    stage = Stage(name="x", train="head", epochs=1, schedule="constant", batch_size=32, **how)
    module = StageModule(make_net(), stage, INFO, photos=5)
    pl.seed_everything(3, verbose=False)
    images, labels = module.images(batches.tensors[0][:5]), batches.tensors[1][:5]
    mixed, targets = module.mix(images.clone(), labels)
    same = [torch.allclose(one, other, atol=1e-6) for one, other in zip(mixed, images, strict=True)]
    assert same == [False, False, True, False, False]
    assert torch.allclose(targets[2], torch.eye(3)[labels[2]]) and torch.allclose(targets.sum(1), torch.ones(5))


def test_smoothing_and_class_weights_are_in_the_training_loss_alone():
    stage = Stage(name="x", batch_size=4)
    weights = np.array([2.0, 1.0, 0.0])
    module = StageModule(make_net(), stage, INFO, photos=12, label_smoothing=0.2, class_weights=weights)
    logits = torch.tensor([[3.0, 1.0, 0.0], [0.5, 2.0, 0.1]])
    labels = torch.tensor([0, 1])
    logs = logits.log_softmax(1)
    plain = -logs[[0, 1], [0, 1]]
    kept = torch.tensor(weights, dtype=torch.float32)
    smoothed = 0.8 * plain * kept[labels] + 0.2 / 3 * (-logs * kept).sum(1)
    assert module.train_loss(logits, labels).item() == pytest.approx((smoothed.sum() / kept[labels].sum()).item())
    assert module.val_loss(logits, labels).item() == pytest.approx(plain.mean().item())
