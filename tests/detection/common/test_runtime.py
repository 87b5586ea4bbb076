"""Which engine runs what, and that each refusal is one sentence."""

import sys

import pytest

from detection import UsageError, load_detector
from detection.common.networks import providers, runtime
from detection.common.networks.providers import onnx_providers
from detection.common.networks.runtime import choose_engine, may_have_gpu
from detection.detectors.compact.files import compact_weights
from detection.detectors.onnx.detector import OnnxDetector


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.mark.parametrize(("wanted", "device", "hindrance", "gpu", "engine"), [
    ("auto", "auto", "", False, "onnx"),
    ("auto", "auto", "", True, "torch"),
    ("auto", "cpu", "", True, "onnx"),
    ("auto", "cuda:1", "", True, "torch"),
    ("auto", "cpu", "as it is large", False, "torch"),
    ("onnx", "auto", "", True, "onnx"),
    ("torch", "cpu", "", False, "torch"),
])  # fmt: skip
def test_onnx_runs_what_it_can_where_no_gpu_is_used(monkeypatch, wanted, device, hindrance, gpu, engine):
    monkeypatch.setattr(runtime, "finds_gpu", lambda: gpu)
    assert choose_engine("it", wanted, device, hindrance) == engine


@pytest.mark.parametrize(("wanted", "device", "hindrance", "message"), [
    ("tf", "cpu", "", r"'tf' is not a runtime: choose auto, onnx, openvino or torch\."),
    ("onnx", "cpu", "as it is large", r"The runtime onnx can't run it, as it is large: take .* auto or torch\."),
    ("onnx", "cuda", "", r"The device 'cuda' is not there for ONNX Runtime: write cpu or auto, .*onnxruntime\."),
    ("onnx", "tpu", "", r"'tpu' is not a device: write auto, cpu, cuda or cuda:1\."),
])  # fmt: skip
def test_what_can_not_be_had_is_one_sentence(monkeypatch, wanted, device, hindrance, message):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UsageError, match=f"^{message}$"):
        choose_engine("it", wanted, device, hindrance)


@pytest.mark.parametrize(("wanted", "device", "hindrance", "what"), [
    ("torch", "cpu", "", "Running it"),
    ("auto", "cuda", "", "The device 'cuda'"),
    ("auto", "cpu", "as it is large", "Running it"),
])  # fmt: skip
def test_where_torch_is_missing_the_install_that_brings_it_is_named(no_torch, wanted, device, hindrance, what):
    with pytest.raises(
        UsageError, match=rf'^{what} needs torch, which is not installed: run `pip install "\.\[train\]"` in'
    ):
        choose_engine("it", wanted, device, hindrance)


def test_without_torch_everything_is_for_onnx(no_torch, tmp_path):
    (tmp_path / "nvidia0").touch()
    assert not may_have_gpu(tmp_path)
    assert choose_engine("it", "auto", "auto") == "onnx"


def test_a_gpu_is_looked_for_without_torch(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime.shutil, "which", lambda name: None)
    assert not may_have_gpu(tmp_path)
    (tmp_path / "nvidiactl").touch()  # the driver alone
    assert not may_have_gpu(tmp_path)
    (tmp_path / "nvidia3").touch()
    assert may_have_gpu(tmp_path)


@pytest.mark.parametrize("name", ["COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x", "configs/detector/compact.yaml"])
def test_only_the_bundled_detector_and_exports_are_for_onnx(name):
    with pytest.raises(UsageError, match="can't run the detector '.*', which is neither bundled nor an export"):
        load_detector(name, runtime="onnx")
    with pytest.raises(UsageError, match="as its weights are not the bundled ones"):
        load_detector(weights="other.safetensors", runtime="onnx")
    assert isinstance(load_detector(weights=compact_weights(), device="cpu").without_check, OnnxDetector)


CUDA = "CUDAExecutionProvider"


def test_cuda_is_taken_where_this_onnx_runtime_has_it(monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    assert onnx_providers("cpu") == ["CPUExecutionProvider"]
    for device, number in (("auto", 0), ("cuda", 0), ("cuda:1", 1)):
        (name, options), cpu = onnx_providers(device)
        assert (name, options["device_id"], cpu) == (CUDA, number, "CPUExecutionProvider")
        assert options["use_tf32"] == 0
    assert choose_engine("it", "onnx", "cuda") == "onnx"


def test_a_provider_without_its_gpu_is_one_sentence(monkeypatch, capfd):
    """ONNX Runtime is asked for CUDA that it does not have, and goes on without."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    providers._say_once.cache_clear()
    with pytest.warns(UserWarning, match=CUDA):
        for _ in range(2):
            detector = load_detector(runtime="onnx", device="auto")
    assert detector.device == "cpu"
    assert capfd.readouterr().err.count("ONNX Runtime finds no GPU that works, so it runs on the CPU.") == 1
    with pytest.warns(UserWarning), pytest.raises(UsageError, match=r"^The device 'cuda:0' is not there for ONNX"):
        load_detector(runtime="onnx", device="cuda:0")


def test_openvino_that_is_missing_or_asked_for_a_gpu_is_one_sentence(monkeypatch):
    monkeypatch.setattr(runtime, "has_module", lambda name: True)
    monkeypatch.setattr("detection.common.errors.has_module", lambda name: name == "openvino")
    with pytest.raises(UsageError, match=r"The runtime openvino runs on the CPU only: leave 'cuda' out"):
        choose_engine("it", "openvino", "cuda")
    monkeypatch.setattr("detection.common.errors.has_module", lambda name: False)
    with pytest.raises(UsageError, match=r'^The runtime openvino needs openvino, .* `pip install "\.\[openvino\]"`'):
        choose_engine("it", "openvino", "cpu")
