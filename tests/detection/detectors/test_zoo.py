"""Model-zoo names, weights files and what is refused; the weights are random, made here."""

import pickle
import urllib.error

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from detection import UsageError, load_detector
from detection.common.networks.weights import read_weights
from detection.detectors.zoo import download as zoo_weights
from tests.small_zoo import build_small_model, write_small_model

NAME = "COCO-Detection/faster_rcnn_R_50_C4_1x"
MASKS = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"


@pytest.fixture(scope="module")
def small_config(tmp_path_factory):
    """A small Mask R-CNN in Detectron2's YAML, and weights for it."""
    path = write_small_model(tmp_path_factory.mktemp("zoo"))
    model = build_small_model(path)
    with torch.no_grad():
        # Random features would give wild boxes: make it sure of itself, and of cars (2 in COCO's contiguous ids).
        for head in ("roi_heads.box_predictor", "proposal_generator.rpn_head"):
            for layer in model.get_submodule(head).modules():
                if hasattr(layer, "weight"):
                    layer.weight.zero_()
        model.roi_heads.box_predictor.cls_score.bias[2] = 8.0
    return path, model.state_dict()


def test_own_config_with_safetensors_detects_vehicles(small_config, tmp_path):
    path, state = small_config
    save_file(state, tmp_path / "w.safetensors")
    detector = load_detector(str(path), device="cpu", weights=tmp_path / "w.safetensors")
    photo = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    (vehicles,) = detector.detect([photo])
    assert vehicles and {vehicle.kind for vehicle in vehicles} == {"car"}
    assert all(vehicle.mask.shape == (90, 120) for vehicle in vehicles)


def test_pth_of_tensors_is_read_and_one_with_code_is_not(small_config, tmp_path):
    path, state = small_config
    torch.save({"model": state}, tmp_path / "good.pth")
    assert load_detector(str(path), device="cpu", weights=tmp_path / "good.pth").name == str(path)
    torch.save({"model": _Bomb(tmp_path / "ran")}, tmp_path / "bad.pth")
    with pytest.raises(UsageError, match="more than tensors"):
        load_detector(str(path), device="cpu", weights=tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


class _Bomb:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_weights_of_another_model_are_refused(small_config, tmp_path):
    path, state = small_config
    wrong = dict(state)
    wrong.popitem()
    save_file(wrong, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="does not fit"):
        load_detector(str(path), device="cpu", weights=tmp_path / "w.safetensors")


def test_users_pickles_are_refused(small_config, tmp_path):
    path, _ = small_config
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(_Bomb(tmp_path / "ran")))
    with pytest.raises(UsageError, match="fetch_zoo_weights"):
        load_detector(str(path), device="cpu", weights=tmp_path / "w.pkl")
    assert not (tmp_path / "ran").exists()


def test_config_that_would_run_code_is_refused(tmp_path):
    (tmp_path / "bad.yaml").write_text(f"MODEL: !!python/object/apply:builtins.open ['{tmp_path / 'ran'}', 'w']\n")
    with pytest.raises(UsageError, match="not a Detectron2 config"):
        load_detector(str(tmp_path / "bad.yaml"), weights=tmp_path / "w.safetensors")
    assert not (tmp_path / "ran").exists()


def test_no_network_and_no_weights_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("CARCLF_CACHE", str(tmp_path))

    def unreachable(*_args, **_kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(zoo_weights.urllib.request, "urlopen", unreachable)
    with pytest.raises(UsageError, match=r"--weights OUT\.safetensors"):
        load_detector(MASKS, device="cpu")
    assert not list(tmp_path.rglob("*.*"))


def test_a_typing_slip_gets_a_suggestion():
    with pytest.raises(UsageError, match="did you mean COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"):
        load_detector("COCO-InstanceSegmentation/mask_rcnn_R50_FPN_3x")


def test_zoo_file_is_read_as_arrays_only(tmp_path, monkeypatch):
    monkeypatch.setenv("CARCLF_CACHE", str(tmp_path / "cache"))
    content = {"model": {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}, "__author__": "test"}
    source = tmp_path / "zoo.pkl"
    source.write_bytes(pickle.dumps(content))
    monkeypatch.setattr(zoo_weights.urllib.request, "urlopen", lambda *_a, **_k: source.open("rb"))
    fetched = zoo_weights.fetch_zoo_weights(NAME)
    np.testing.assert_array_equal(read_weights(fetched)["a"].numpy(), content["model"]["a"])

    source.write_bytes(pickle.dumps({"model": _Bomb(tmp_path / "ran")}))
    with pytest.raises(UsageError, match="not a file of arrays"):
        zoo_weights.fetch_zoo_weights(MASKS)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_r50_fpn_of_the_zoo_builds_and_runs(tmp_path):
    from detectron2 import model_zoo
    from detectron2.modeling import build_model

    cfg = model_zoo.get_config(f"{MASKS}.yaml")
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    save_file(build_model(cfg).state_dict(), tmp_path / "w.safetensors")
    detector = load_detector(MASKS, device="cpu", weights=tmp_path / "w.safetensors", score_threshold=0.0)
    (vehicles,) = detector.detect([np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)])
    assert {vehicle.kind for vehicle in vehicles} <= {"car", "truck", "bus"}
