import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from carclf.classifier.checkpoint import load_model, save_model
from carclf.classifier.classifier import TorchClassifier
from carclf.classifier.info import ModelInfo
from carclf.classifier.network import CarNet
from detection import CutoutStyle, UsageError
from tests.carclf.tiny import CLASSES, save_tiny_model


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture(scope="module")
def classifier(path):
    return TorchClassifier.load(path, "cpu")


def _crops(count):
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (20 + 7 * i, 40 + 3 * i, 3), dtype=np.uint8) for i in range(count)]


def test_probabilities_are_probabilities(classifier):
    rows = classifier.predict(_crops(5))
    assert rows.shape == (5, 3) and rows.dtype == np.float32
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)
    assert classifier.predict([]).shape == (0, 3)


def test_batch_of_one_agrees_with_batch_of_eight(classifier):
    crops = _crops(8)
    np.testing.assert_allclose(
        classifier.predict(crops, batch_size=8), classifier.predict(crops, batch_size=1), atol=1e-4
    )


def test_mirroring_with_tta_changes_nothing_for_a_mirrored_crop(classifier):
    crop = _crops(1)[0]
    straight, mirrored = classifier.predict([crop, crop[:, ::-1].copy()], tta=True)
    np.testing.assert_allclose(straight, mirrored, atol=1e-3)


def test_the_file_says_everything(tmp_path):
    style = CutoutStyle(background="gray", padding=0.2)
    info = ModelInfo(
        classes=("Škoda", "Лада"),
        architecture="mobilenetv3_small_050",
        image_size=64,
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        style=style,
        detector="compact",
        metrics={"accuracy": 0.5},
    )
    net = CarNet(info.architecture, info.head, 2).eval()
    save_model(net, info, tmp_path / "m.safetensors")
    loaded, read = load_model(tmp_path / "m.safetensors")
    assert read == info
    photo = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(photo), net(photo), atol=2e-3, rtol=1e-2)
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"], "no temporary file is left"


def test_half_precision_lite0_of_196_classes_is_under_15_mb(tmp_path):
    info = ModelInfo(
        classes=tuple(map(str, range(196))),
        architecture="tf_efficientnet_lite0",
        image_size=64,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )
    save_model(CarNet(info.architecture, info.head, 196), info, tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").stat().st_size < 15e6


def _foreign(tmp_path, name, **metadata):
    save_file({"a": torch.zeros(1)}, tmp_path / name, metadata=metadata or None)
    return tmp_path / name


def test_other_files_are_refused_in_one_sentence(tmp_path, path):
    (tmp_path / "t.safetensors").write_text("hello")
    with pytest.raises(UsageError, match="not a whole safetensors"):
        TorchClassifier.load(tmp_path / "t.safetensors")
    with pytest.raises(UsageError, match="not a classifier"):
        TorchClassifier.load(_foreign(tmp_path, "o.safetensors"))
    with pytest.raises(UsageError, match="update carclf"):
        TorchClassifier.load(_foreign(tmp_path, "p.safetensors", carclf="{}"))
    _, info = load_model(path)
    text = json.dumps(json.loads(info.model_dump_json()))
    with pytest.raises(UsageError, match="do not fit"):
        TorchClassifier.load(_foreign(tmp_path, "q.safetensors", carclf=text))
    with pytest.raises(UsageError, match="device"):
        TorchClassifier.load(path, "toaster")


def test_fingerprint_and_classes(classifier, path):
    assert classifier.classes == CLASSES and len(classifier.fingerprint) == 16
