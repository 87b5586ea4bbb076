import numpy as np
import pytest
import torch

from carclf.classifier.checkpoint import load_model, save_model
from carclf.classifier.info import HeadConfig, ModelInfo
from carclf.classifier.network import CarNet
from carclf.runs.recipe import Stage
from carclf.training.module import StageModule
from carclf.training.teacher import Teacher
from detection.common.errors import UsageError
from tests.carclf.tiny import CLASSES, save_tiny_model


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("teacher") / "tiny.safetensors")


def _info(file, **changes):
    return load_model(file)[1].model_copy(update=changes)


def test_a_teacher_gives_its_probabilities_in_the_order_of_the_one_who_learns(file):
    images = torch.randn(3, 3, 64, 64)
    net, info = load_model(file)
    with torch.no_grad():
        own = net(images).softmax(dim=1)
    torch.testing.assert_close(Teacher([str(file)], info)(images), own)
    turned = Teacher([str(file)], _info(file, classes=tuple(reversed(CLASSES))))(images)
    torch.testing.assert_close(turned, own.flip(1))


def test_several_teachers_are_averaged(file, tmp_path):
    net, info = load_model(file)
    with torch.no_grad():
        net.head[-1].bias += torch.tensor([2.0, 0.0, 0.0])
    save_model(net, info, tmp_path / "other.safetensors", half=False)
    images = torch.randn(2, 3, 64, 64)
    one, other = (Teacher([str(path)], info)(images) for path in (file, tmp_path / "other.safetensors"))
    torch.testing.assert_close(
        Teacher([str(file), str(tmp_path / "other.safetensors")], info)(images), (one + other) / 2
    )
    assert not torch.allclose(one, other)


def test_strangers_are_no_teachers(file):
    with pytest.raises(UsageError, match="knows other classes"):
        Teacher([str(file)], _info(file, classes=("a", "b", "c")))
    with pytest.raises(UsageError, match="colours"):
        Teacher([str(file)], _info(file, mean=(0.4, 0.4, 0.4)))


def test_the_loss_follows_the_teacher_and_the_checkpoint_leaves_it_out(file):
    torch.manual_seed(0)
    info = _info(file)
    teacher = Teacher([str(file)], info)
    batch = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8), torch.tensor([0, 1, 2, 0])

    def loss(weight):
        torch.manual_seed(1)
        net = CarNet(info.architecture, HeadConfig(dropout=0), 3).eval()
        with torch.no_grad():  # a new head's answers are all alike, and so would be the losses
            net.head[-1].bias += torch.tensor([3.0, 0.0, -3.0])
        stage = Stage(name="all")
        module = StageModule(net, stage, info, photos=4, teacher=None if weight is None else teacher,
                             teacher_weight=weight or 1.0)  # fmt: skip
        module.log = lambda *args, **named: None
        assert not any("teacher" in name for name in module.state_dict())
        net.eval()
        return float(module.training_step(batch, 0).detach())

    alone, half, taught = loss(None), loss(0.5), loss(1.0)
    assert np.isclose(half, (alone + taught) / 2, atol=1e-5) and not np.isclose(alone, taught, atol=1e-3)
    assert isinstance(info, ModelInfo)
