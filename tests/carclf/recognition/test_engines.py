"""ONNX Runtime and torch give the same answers, and one resumes what the other has begun."""

import threading

import numpy as np
import pytest

from carclf import CarRecognizer
from carclf.classifier.catalogue import load_classifier
from carclf.classifier.classifier import TorchClassifier
from carclf.classifier.onnx.classifier import OnnxClassifier
from carclf.datasets.drawn.car_shapes import CAR_SHAPES
from carclf.datasets.drawn.scenes import draw_background, draw_scene
from carclf.recognition import loading
from carclf.tools.export.parity import check_parity
from carclf.weights import BUNDLED, bundled_file, graph_of
from detection import CutoutStyle, UsageError, clean_folder, load_detector
from detection.common.networks.arrays import read_arrays
from detection.detectors.mask_rcnn import MaskRcnnDetector
from detection.detectors.onnx.car_check import OnnxCarCheck
from detection.detectors.onnx.detector import OnnxDetector
from detection.images.write import save_image
from tests.fakes import FakeDetector

EVERY = 2**31


@pytest.fixture(scope="module")
def by_torch():
    return load_detector("compact", "cpu", precision="float32", runtime="torch")


@pytest.fixture(scope="module")
def engines(by_torch):
    """By torch in float32, and by ONNX Runtime, as it comes."""
    return (
        CarRecognizer("bundled", by_torch, "cpu", top=EVERY, runtime="torch"),
        CarRecognizer("bundled", device="cpu", top=EVERY),
    )


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Photos of different sizes, one of them without a car and one turned."""
    folder = tmp_path_factory.mktemp("scenes")
    sizes = [(360, 480), (480, 360), (352, 640)]
    shapes = list(CAR_SHAPES)
    images = [draw_scene(shapes[n], np.random.default_rng(n), size).image for n, size in enumerate(sizes)]
    images += [draw_background(np.random.default_rng(9)), np.rot90(images[0])]
    for number, image in enumerate(images):
        save_image(folder / f"{number}.png", np.ascontiguousarray(image))
    return folder


def _check(parity):
    assert parity.same_answers == parity.same_vehicles == parity.same_cutouts == 1, parity
    assert parity.box <= 0.1 and max(parity.answer_difference, parity.cutout_difference) <= 1e-4, parity
    assert parity.score <= 1e-4 and parity.mask_iou >= 0.999, parity


def test_drawn_scenes_get_the_same_answers(engines, scenes):
    ours, theirs = engines
    plain = ours.detector.without_check, theirs.detector.without_check
    assert isinstance(plain[0], MaskRcnnDetector) and isinstance(plain[1], OnnxDetector)
    parity = check_parity(ours, theirs, sorted(scenes.iterdir()))
    assert parity.photos == 5 and parity.vehicles >= 3
    _check(parity)


@pytest.mark.slow
def test_real_photos_get_the_same_answers(engines, shared_data):
    files = [
        file
        for folder in ("stanford_cars/scenes", "dealer20/images", "plates/images", "not_car", "weather/images")
        for file in sorted(path for path in (shared_data / folder).rglob("*") if path.suffix in {".jpg", ".png"})[::40]
    ]
    parity = check_parity(*engines, files)
    assert parity.photos > 40
    _check(parity)


@pytest.mark.parametrize("name", BUNDLED)
def test_each_bundled_classifier_answers_by_both(name):
    random = np.random.default_rng(0)
    crops = [random.integers(0, 255, (90 + 40 * n, 200, 3), dtype=np.uint8) for n in range(3)]
    ours, theirs = (load_classifier(name, "cpu", runtime) for runtime in ("torch", "auto"))
    assert isinstance(theirs, OnnxClassifier)
    assert (theirs.info, theirs.fingerprint, theirs.detector) == (ours.info, ours.fingerprint, ours.detector)
    for tta in (False, True):
        np.testing.assert_allclose(theirs.predict(crops, tta=tta), ours.predict(crops, tta=tta), atol=1e-4)


def test_answers_of_both_may_be_mixed(engines):
    ours, theirs = engines
    assert ours.settings == theirs.settings and ours.found_by == theirs.found_by


def test_a_folder_run_begun_by_torch_is_resumed_without(by_torch, scenes, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    style, files = CutoutStyle(), sorted(scenes.iterdir())
    (source / "0.png").write_bytes(files[0].read_bytes())
    assert clean_folder(source, tmp_path / "out", by_torch, style, progress=False).processed == 1
    (source / "1.png").write_bytes(files[1].read_bytes())
    summary = clean_folder(source, tmp_path / "out", load_detector("compact", "cpu"), style, progress=False)
    assert summary.processed == 1 and summary.counts == {"ok": 2}


def test_a_classifier_and_the_graph_of_another_are_one_sentence(monkeypatch):
    one, other = (bundled_file(name) for name in ("stanford196", "dealer19"))
    monkeypatch.setattr("carclf.classifier.onnx.classifier.graph_of", lambda file: graph_of(other))
    assert read_arrays(one)[0].keys() != read_arrays(other)[0].keys()
    with pytest.raises(UsageError, match="don't belong together"):
        load_classifier(one.stem, "cpu")


def test_what_only_torch_runs_is_one_sentence(tmp_path):
    from tests.carclf.tiny import save_tiny_model

    file = save_tiny_model(tmp_path / "tiny.safetensors")
    with pytest.raises(UsageError, match=r"can't run '.*tiny.*', which is neither bundled nor an export"):
        CarRecognizer(file, runtime="onnx")
    with pytest.raises(UsageError, match="'fast' is not a runtime"):
        CarRecognizer(runtime="fast")


@pytest.mark.parametrize(("settings", "beside"), [({}, True), ({"runtime": "torch"}, False), ({"crops": True}, False)])
def test_the_detector_is_loaded_beside_the_classifier_where_onnx_runtime_runs_both(monkeypatch, settings, beside):
    threads = []

    def load(*given, real=loading._load_detector):
        threads.append(threading.current_thread().name)
        return real(*given) if settings == {} else FakeDetector()

    monkeypatch.setattr(loading, "_load_detector", load)
    monkeypatch.setattr(TorchClassifier, "load", lambda *_: load_classifier("bundled", "cpu", "onnx"))
    found = CarRecognizer(device="cpu", **settings)
    assert [name.startswith("carclf-load") for name in threads] == ([] if "crops" in settings else [beside])
    assert settings or (isinstance(found.detector.without_check, OnnxDetector) and found.check is not None)


@pytest.mark.parametrize(
    ("classifier", "detector", "check", "message"),
    [
        (True, True, False, "the classifier"),
        (True, False, True, "the classifier"),
        (False, True, True, "the detector"),
        (False, False, True, "the check"),
    ],
)
def test_of_several_that_can_not_be_loaded_the_first_is_told(monkeypatch, classifier, detector, check, message):
    for bad, owner, name in (
        (classifier, OnnxClassifier, "the classifier"),
        (detector, OnnxDetector, "the detector"),
        (check, OnnxCarCheck, "the check"),
    ):

        def fail(*_, name=name, **__):
            raise UsageError(name)

        if bad:
            monkeypatch.setattr(owner, "bundled", fail)
    with pytest.raises(UsageError, match=message):
        CarRecognizer(device="cpu")
