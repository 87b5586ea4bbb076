"""An exported classifier against the model that it was made from: two networks, crops that are wider than high."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from carclf.classifier.catalogue import FoundModel, find_model, load_classifier
from carclf.classifier.checkpoint import load_model, save_model
from carclf.classifier.classifier import TorchClassifier
from carclf.classifier.network import Ensemble
from carclf.classifier.onnx.classifier import OnnxClassifier, look
from carclf.classifier.onnx.folder import CLASSIFIER
from carclf.classifier.tta.network import TestTimeAugmentation
from carclf.classifier.tta.views import TtaConfig, make_views
from carclf.recognition.recognizer import CarRecognizer
from carclf.tools.export.network import export_classifier
from detection.common.errors import UsageError
from detection.cutout.cut import CutoutStyle
from detection.detectors.onnx.folder import EXPORT_FILE, EXPORT_FORMAT
from tests.carclf.tiny import CLASSES, save_tiny_model
from tests.conftest import ROOT
from tests.fakes import FakeDetector, draw_car


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An ensemble of two, for crops of 64x96; the second looks at 48x64."""
    path = tmp_path_factory.mktemp("model") / "both.safetensors"
    nets = []
    for turn in range(2):
        net, info = load_model(save_tiny_model(path, "test_efficientnet"))
        with torch.no_grad():
            net.head[-1].weight *= 30  # else it answers nearly alike to everything
            net.head[-1].bias += torch.tensor([1.0, 0.0, 0.0]).roll(turn)
        nets.append(net)
    changes = {
        "members": 2,
        "image_size": (64, 96),
        "image_sizes": ((64, 96), (48, 64)),
        "mean": (0.4, 0.5, 0.6),
        "style": CutoutStyle(background="gray"),
    }
    save_model(Ensemble(nets), info.model_copy(update=changes), path)
    return path


@pytest.fixture(scope="module")
def export(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    net, info = load_model(model)
    export_classifier(net, info, folder / CLASSIFIER)
    about = {"classifier": {"info": info.model_dump(mode="json"), "fingerprint": "0123"}, "format": EXPORT_FORMAT}
    (folder / EXPORT_FILE).write_text(json.dumps(about))
    return folder


def _crops(count):
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (20 + 7 * n, 40 + 30 * n, 3), dtype=np.uint8) for n in range(count)]


def test_it_answers_as_the_model_does(model, export):
    ours, theirs = TorchClassifier.load(model, "cpu"), load_classifier(str(export))
    assert isinstance(theirs, OnnxClassifier) and theirs.info == ours.info and theirs.fingerprint == "0123"
    assert (theirs.classes, theirs.image_size, theirs.style) == (CLASSES, (64, 96), CutoutStyle(background="gray"))
    assert theirs.architecture == ours.architecture and theirs.detector == str(export)
    crops = _crops(9)
    wanted = ours.predict(crops)
    assert np.ptp(wanted, axis=0).max() > 0.01, "the crops are answered differently"
    for batch in (1, 3, 32):
        answers = theirs.predict(crops, batch_size=batch)
        np.testing.assert_allclose(answers, wanted, atol=1e-5)
        assert answers.dtype == np.float32
    assert theirs.predict([]).shape == (0, 3)


@pytest.mark.parametrize("tta", [True, "ten", TtaConfig(passes=12, reduce="geometric")])
def test_averaged_views_are_those_of_the_model(model, export, tta):
    crops = _crops(3)
    ours, theirs = (
        one.predict(crops, tta=tta) for one in (TorchClassifier.load(model, "cpu"), OnnxClassifier.load(export))
    )
    np.testing.assert_allclose(theirs, ours, atol=5e-3)
    np.testing.assert_allclose(theirs.sum(axis=1), 1, atol=1e-5)


def test_every_view_looks_as_with_torch():
    y, x = np.mgrid[0:60, 0:80]
    image = np.stack([2 * x, 3 * y, 255 - x - y], axis=2).astype(np.uint8)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    shown = TestTimeAugmentation(torch.nn.Identity(), 30)
    for view in make_views(TtaConfig(passes=30)):
        wanted = shown.look(batch, view)[0].permute(1, 2, 0).numpy()
        difference = np.abs(look(image, view).astype(int) - wanted)
        assert difference.max() <= 2 and difference.mean() < 0.5, view


def test_an_export_stands_where_a_model_does(model, export):
    assert isinstance(load_classifier(str(export), "cpu"), OnnxClassifier)
    assert find_model(str(export)) == FoundModel(export, "export")
    assert find_model(str(export)).info().classes == CLASSES
    photos = [draw_car(), np.full((96, 128, 3), 128, np.uint8)]
    ours, theirs = (CarRecognizer(str(name), FakeDetector(), "cpu")(photos) for name in (model, export))
    assert [one.status for one in theirs] == [one.status for one in ours] == ["ok", "no_car"]
    assert theirs[0].label == ours[0].label and theirs[0].box == ours[0].box
    assert theirs[0].confidence == pytest.approx(ours[0].confidence, abs=1e-4)


def test_a_prediction_imports_no_torch(export, photos):
    code = (
        "import sys; from carclf import CarRecognizer;"
        f"answers = CarRecognizer({str(export)!r}, crops=True, tta='ten')([{str(photos / 'red.jpg')!r}]);"
        "assert answers[0].status == 'ok', answers;"
        "heavy = {'torch', 'timm', 'detectron2', 'pytorch_lightning', 'pandas', 'matplotlib', 'sklearn', 'scipy'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_what_it_can_not_do_is_one_sentence(export, tmp_path):
    with pytest.raises(UsageError, match="The device 'cuda' is not there for ONNX Runtime"):
        load_classifier(str(export), "cuda")
    with pytest.raises(UsageError, match="only predicts: name the model it was made from"):
        load_model(find_model(str(export)).weights)
    for text, message in (
        ("{", "can't be read"),
        (json.dumps({"format": EXPORT_FORMAT}), "no classifier that this carclf can read"),
        (json.dumps({"format": "x"}), "has the format 'x'"),
    ):
        (tmp_path / EXPORT_FILE).write_text(text)
        with pytest.raises(UsageError, match=message):
            load_classifier(str(tmp_path))


@pytest.mark.parametrize("change", [{"image_size": [96, 96]}, {"classes": ["a", "b"]}])
def test_a_network_and_the_description_of_another_are_one_sentence(export, tmp_path, change):
    """As when files of two exports are mixed."""
    about = json.loads((export / EXPORT_FILE).read_text())
    about["classifier"]["info"] |= change
    (tmp_path / EXPORT_FILE).write_text(json.dumps(about))
    (tmp_path / CLASSIFIER).write_bytes((export / CLASSIFIER).read_bytes())
    with pytest.raises(UsageError, match=r"is not the one of its description: .* export the model again\.$"):
        load_classifier(str(tmp_path))
    with pytest.raises(UsageError, match="is not run by torch: take the runtime auto, onnx or openvino"):
        load_classifier(str(export), runtime="torch")


def test_the_file_tells_nothing_of_the_machine(export):
    assert str(ROOT).encode() not in (export / CLASSIFIER).read_bytes()
    assert b"site-packages" not in (export / CLASSIFIER).read_bytes()


def test_another_network_under_the_classifiers_name_is_one_sentence(export, tmp_path):
    """Of a stranger, or the detector's: neither its inputs nor its outputs are a classifier's."""
    (tmp_path / EXPORT_FILE).write_bytes((export / EXPORT_FILE).read_bytes())
    onnx = pytest.importorskip("onnx")
    model = onnx.load(export / CLASSIFIER)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    value = [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])]
    empty = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["y"], value_floats=[1.0])], "g", [], value)
    for strange in (
        onnx.helper.make_model(empty, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9),
        model,
    ):
        (tmp_path / CLASSIFIER).write_bytes(strange.SerializeToString())
        with pytest.raises(UsageError, match=r"is not the one of its description|can't be loaded"):
            load_classifier(str(tmp_path))


def test_a_file_of_another_export_is_one_sentence(export, tmp_path):
    """Of the same shapes: only the digest tells them apart."""
    about = json.loads((export / EXPORT_FILE).read_text())
    data = (export / CLASSIFIER).read_bytes()
    (tmp_path / CLASSIFIER).write_bytes(data)
    (tmp_path / EXPORT_FILE).write_text(json.dumps(about | {"files": {CLASSIFIER: hashlib.sha256(data).hexdigest()}}))
    load_classifier(str(tmp_path))
    (tmp_path / EXPORT_FILE).write_text(json.dumps(about | {"files": {CLASSIFIER: hashlib.sha256(b"").hexdigest()}}))
    with pytest.raises(
        UsageError, match=r"classifier.onnx' is not the one of its export.json: export the model again\.$"
    ):
        load_classifier(str(tmp_path))


@pytest.mark.parametrize("tta", [False, 3])
def test_vectors_are_the_same_by_either_engine(model, export, tta):
    ours, theirs = TorchClassifier.load(model, "cpu"), load_classifier(str(export))
    crops = _crops(5)
    wanted_answers, wanted = ours.predict_and_embed(crops, batch_size=2, tta=tta)
    answers, vectors = theirs.predict_and_embed(crops, tta=tta)
    np.testing.assert_array_equal(answers, theirs.predict(crops, tta=tta))
    np.testing.assert_allclose(wanted_answers, ours.predict(crops, tta=tta), atol=1e-6)
    assert vectors.dtype == np.float32 and vectors.shape == (5, ours.net.features) == wanted.shape
    np.testing.assert_allclose(vectors, wanted, atol=5e-3 if tta else 1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.ptp(vectors, axis=0).max() > 0.01, "the crops have different vectors"
    assert theirs.predict_and_embed([])[1].shape == (0, vectors.shape[1]) == ours.predict_and_embed([])[1].shape


def test_each_member_has_an_equal_part_in_a_vector(model):
    ours = TorchClassifier.load(model, "cpu")
    (vector,) = ours.predict_and_embed(_crops(1))[1]
    first = ours.net.member(0).features
    assert np.linalg.norm(vector[:first]) == pytest.approx(0.5**0.5) == np.linalg.norm(vector[first:])


def test_an_export_without_vectors_says_what_to_do(export, tmp_path):
    onnx = pytest.importorskip("onnx")
    network = onnx.load(export / CLASSIFIER)
    del network.graph.output[1]
    onnx.save(network, tmp_path / CLASSIFIER)
    (tmp_path / EXPORT_FILE).write_text((export / EXPORT_FILE).read_text())
    older = load_classifier(str(tmp_path))
    assert older.predict(_crops(1)).shape == (1, 3), "it predicts as before"
    with pytest.raises(UsageError, match="gives no vectors, .*: export the model again"):
        older.predict_and_embed(_crops(1))
