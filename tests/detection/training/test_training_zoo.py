"""Training models of the zoo's kind: heads of other kinds, boxes alone, what to start from, and using the result."""

import csv
import json
import pickle
import urllib.error

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from detection import UsageError, load_detector
from detection.common.config import read_config
from detection.detectors.zoo import download as zoo_weights
from detection.training.config import DetectorTraining
from detection.training.module import build_start, part_of, plan_model
from detection.training.start import load_fitting
from detection.training.train import train_detector
from tests.coco_photos import make_coco, tiny_training
from tests.small_zoo import build_small_model, write_small_model

ZOO = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"


@pytest.fixture
def source(tmp_path):
    return make_coco(tmp_path, cars=6, empties=2, categories=("pickup", "coach", "person"))


KINDS = {"pickup": "truck", "coach": "bus", "person": None}
SHORT = {"steps": 2, "steps_per_epoch": 2, "init": "random", "kinds": KINDS}


@pytest.mark.slow
def test_a_zoo_model_is_trained_and_used_by_folder_by_file_and_by_command(source, tmp_path):
    """Two kinds of one's own, sides and threshold of the config: the files know them all."""
    model = write_small_model(tmp_path)
    held = source.model_copy(update={"validation": 0.3})
    settings = SHORT | {"model": str(model), "score_threshold": 0.0, "short_side": 64, "long_side": 96}
    weights = train_detector(tiny_training(tmp_path, held, **settings))
    run = tmp_path / "run"
    assert weights == run / "model.safetensors"
    assert {"ap", "box_ap", "boundary_f"} <= json.loads((run / "metrics.json").read_text())["made"].keys()
    photo = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    found = []
    for name, given in ((run, None), (run / "model.yaml", weights), (run / "model.yaml", None), (model, weights)):
        detector = load_detector(str(name), device="cpu", weights=given)
        assert detector.settings.kinds == {0: "bus", 1: "truck"} or detector.settings.kinds == {0: "truck", 1: "bus"}
        assert (detector.settings.short_side, detector.settings.long_side) == (64, 96)
        assert detector.settings.score_threshold == 0
        found.append([(vehicle.kind, vehicle.score) for vehicle in detector.detect([photo])[0]])
    assert found[0] == found[1] == found[2] == found[3] and found[0]
    prints = {load_detector(str(name), device="cpu").fingerprint for name in (run, run / "model.yaml")}
    assert len(prints) == 1, "one detector, however it is named"

    from carclf.cli import app

    cleaned = tmp_path / "cleaned"
    command = ["clean", str(tmp_path / "images"), str(cleaned), "--detector", str(run / "model.yaml")]
    result = CliRunner().invoke(app, [*command, "--weights", str(weights), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    with (cleaned / "manifest.csv").open(newline="", encoding="utf-8") as file:
        assert {row["status"] for row in csv.DictReader(file)} <= {"ok", "no_car"}


def test_a_model_of_boxes_learns_boxes_from_masks(source, tmp_path):
    model = write_small_model(tmp_path, masks=False)
    train_detector(tiny_training(tmp_path, source, model=str(model), **SHORT), ["scenes.negatives=0", "steps=1"])
    with (tmp_path / "run" / "curves" / "metrics.csv").open(newline="") as file:
        losses = {name for row in csv.DictReader(file) for name, value in row.items() if value}
    assert {"train/loss_box_reg", "train/loss_cls"} <= losses and "train/loss_mask" not in losses
    detector = load_detector(str(tmp_path / "run"), device="cpu", score_threshold=0.0)
    (vehicles,) = detector.detect([np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)])
    assert vehicles
    x1, y1, x2, y2 = (round(value) for value in vehicles[0].box)
    assert vehicles[0].mask[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].all(), "the mask is the whole box"


def plan(tmp_path, **settings):
    """A blueprint for two kinds, car and coach, of the small model unless `settings` name another."""
    values = {"model": str(write_small_model(tmp_path)), **settings}
    config = read_config(DetectorTraining, tiny_training(tmp_path, make_source(), **values))
    return plan_model(config, ("coach", "car"))


def make_source():
    from detection.masks.records import MaskSource

    return MaskSource(name="none", images="none")


def test_heads_start_from_the_rows_of_kinds_of_the_same_name(tmp_path):
    """COCO's 80 kinds to (coach, car): car is number 2 there, coach is not known, the background is last."""
    path = tmp_path / "coco.safetensors"
    state = build_small_model(write_small_model(tmp_path)).state_dict()
    save_file(state, path)
    blueprint = plan(tmp_path, init=str(path))
    own = build_start(blueprint).state_dict()
    scores, boxes, masks = (
        f"roi_heads.{name}" for name in ("box_predictor.cls_score", "box_predictor.bbox_pred", "mask_head.predictor")
    )
    for part in ("weight", "bias"):
        torch.testing.assert_close(own[f"{scores}.{part}"][1:], state[f"{scores}.{part}"][[2, 80]])
        torch.testing.assert_close(own[f"{boxes}.{part}"][4:], state[f"{boxes}.{part}"][8:12])
        torch.testing.assert_close(own[f"{masks}.{part}"][1:], state[f"{masks}.{part}"][2:3])
    assert not torch.equal(own[f"{scores}.weight"][0], state[f"{scores}.weight"][0]), "coach is not person"
    body = "backbone.bottom_up.res4.0.conv1.weight"
    torch.testing.assert_close(own[body], state[body])


def test_the_only_kind_of_the_start_stands_for_every_new_one(tmp_path):
    one, two = (build_small_model(write_small_model(tmp_path), kinds) for kinds in (1, 2))
    with torch.no_grad():
        one.roi_heads.box_predictor.cls_score.bias.copy_(torch.tensor([3.0, -1.0]))
    load_fitting(two, one.state_dict(), ["car"], ["van", "lorry"], tmp_path / "w")
    assert two.roi_heads.box_predictor.cls_score.bias.tolist() == [3.0, 3.0, -1.0]
    state = one.state_dict()
    state["backbone.fpn_lateral2.weight"] = torch.zeros(1, 2, 1, 1)
    with pytest.raises(UsageError, match="does not fit the model: backbone.fpn_lateral2.weight"):
        load_fitting(two, state, ["car"], ["van", "lorry"], tmp_path / "w")


@pytest.mark.parametrize("caffe2", [False, True])
def test_imagenet_weights_of_the_zoo_fill_the_backbone_alone(caffe2, tmp_path, monkeypatch):
    """Under the names of the zoo's files: without prefix, or (ResNeXt) Caffe2's."""
    state = build_small_model(write_small_model(tmp_path)).state_dict()
    prefix = "backbone.bottom_up."
    body = {key.removeprefix(prefix): value.numpy() + 1 for key, value in state.items() if key.startswith(prefix)}
    content = {"model": body, "matching_heuristics": True}
    if caffe2:
        content = {"blobs": {_caffe2_name(key): value for key, value in body.items() if "running" not in key}}
        body = {key: value for key, value in body.items() if "running" not in key}
    (tmp_path / "zoo.pkl").write_bytes(pickle.dumps(content))
    monkeypatch.setenv("CARCLF_CACHE", str(tmp_path / "cache"))
    asked = []

    def answer(url, **_named):
        asked.append(url)
        return (tmp_path / "zoo.pkl").open("rb")

    monkeypatch.setattr(zoo_weights.urllib.request, "urlopen", answer)
    own = build_start(plan(tmp_path, init="imagenet")).state_dict()
    assert asked == ["https://dl.fbaipublicfiles.com/detectron2/ImageNetPretrained/Made/R-18.pkl"]
    for key, value in body.items():
        np.testing.assert_array_equal(own[prefix + key].numpy(), value)


def _caffe2_name(key):
    """res2.0.conv1.norm.weight -> res2_0_branch2a_bn_s, stem.conv1.weight -> conv1_w."""
    parts = key.split(".")
    kind = ("bn_s" if parts[-1] == "weight" else "bn_b") if "norm" in parts else "w"
    if parts[0] == "stem":
        return f"{'res_conv1' if 'norm' in parts else 'conv1'}_{kind}"
    branch = {"shortcut": "branch1", "conv1": "branch2a", "conv2": "branch2b", "conv3": "branch2c"}[parts[2]]
    return f"{parts[0]}_{parts[1]}_{branch}_{kind}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": ZOO, "init": "zoo"}, r"can't be fetched here.*pass\b.*OUT.safetensors"),
        ({"model": ZOO, "init": "imagenet"}, r"ImageNetPretrained/MSRA/R-50' can't be fetched.*init=OUT.safetensors"),
        ({"model": ZOO, "init": "bundled"}, "Only the compact model has bundled weights"),
        ({"model": "compact", "init": "zoo"}, "no weights of 'compact'"),
        ({"init": "zoo"}, "The model zoo has no weights of"),
        ({"init": "gone.safetensors"}, "no weights file 'gone.safetensors'"),
        ({"init": "w.pkl"}, "is no start"),
        ({"init": "imagnet"}, "'imagnet' is no start"),
        ({"init": "random", "unfrozen": []}, "leaves nothing to learn"),
        ({"model": "COCO-Detection/rpn_R_50_FPN_1x"}, "can't be trained here"),
        ({"model": "COCO-Keypoints/keypoint_rcnn_R_50_FPN_3x"}, "can't be trained here"),
        ({"model": "COCO-InstanceSegmentation/mask_rcnn_R50"}, "There is no detector"),
        ({"detectron2": {"MODEL.NONSENSE": 1}}, "'detectron2' does not fit"),
        ({"model": "compact", "detectron2": {"MODEL.RPN.NMS_THRESH": 0.6}}, "for zoo models"),
        ({"short_side": 200, "long_side": 100}, "smaller than 'short_side'"),
    ],
)
def test_what_can_not_be_is_one_sentence(settings, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARCLF_CACHE", str(tmp_path / "cache"))

    def unreachable(*_args, **_named):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(zoo_weights.urllib.request, "urlopen", unreachable)
    with pytest.raises(UsageError, match=message):
        build_start(plan(tmp_path, **settings))


def test_a_training_that_can_not_begin_leaves_no_folder(source, tmp_path):
    config = tiny_training(tmp_path, source, init=str(tmp_path / "gone.safetensors"))
    with pytest.raises(UsageError, match="no weights file"):
        train_detector(config)
    assert not (tmp_path / "run").exists()


def test_frozen_parts_do_not_learn_and_the_others_do(tmp_path):
    blueprint = plan(tmp_path, init="random", unfrozen=["boxes", "masks"])
    learning = {name for name, parameter in build_start(blueprint).named_parameters() if parameter.requires_grad}
    assert {part_of(name) for name in learning} == {"boxes", "masks"}
    everything = plan(tmp_path, init="random")
    learning = {name for name, parameter in build_start(everything).named_parameters() if parameter.requires_grad}
    assert {part_of(name) for name in learning} == {"backbone", "pyramid", "proposals", "boxes", "masks"}


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [("one", ("car",)), ("categories", ("coach", "person", "pickup")), (KINDS, ("truck", "bus"))],
)
def test_kinds(kinds, expected, source, tmp_path):
    from detection.training.examples import read_records

    config = read_config(DetectorTraining, tiny_training(tmp_path, source, kinds=kinds))
    found, train, _ = read_records(config)
    assert found == expected
    names = [name for record in train for name in record.categories]
    assert set(names) == set(expected) and len(names) == (4 if kinds == KINDS else 6)


def test_a_category_that_the_mapping_forgot_is_named(source, tmp_path):
    from detection.training.examples import read_records

    config = read_config(DetectorTraining, tiny_training(tmp_path, source, kinds={"pickup": "truck"}))
    with pytest.raises(UsageError, match="category 'coach' is not in the setting 'kinds'"):
        read_records(config)


def test_sizes_of_the_examples_follow_the_short_side(tmp_path):
    config = read_config(DetectorTraining, None, ["output=o", "sources=[]"])
    from detection.training.config import resolve_sizes

    assert resolve_sizes(config, (320, 480), 0.8).scenes == config.scenes
    zoo = resolve_sizes(config, (800, 1333), 0.5)
    assert (zoo.short_side, zoo.long_side) == (800, 1333) and (800, 800) in zoo.scenes.sizes
    assert all(side % 32 == 0 for size in zoo.scenes.sizes for side in size)
    named = resolve_sizes(read_config(DetectorTraining, None, ["output=o", "sources=[]", "scenes.sizes=[[96,64]]"]),
                          (800, 1333), 0.5)  # fmt: skip
    assert named.scenes.sizes == ((96, 64),)


@pytest.mark.gpu
def test_training_on_a_gpu(source, tmp_path):
    """Half precision, the model on the device, the photos in loader workers; the files are those of any other."""
    held = source.model_copy(update={"validation": 0.3})
    settings = SHORT | {"model": str(write_small_model(tmp_path)), "device": "cuda", "precision": "auto", "workers": 1}
    train_detector(tiny_training(tmp_path, held, **settings))
    photo = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    for device in ("cpu", "cuda"):
        detector = load_detector(str(tmp_path / "run"), device=device, score_threshold=0.0)
        assert detector.detect([photo])[0]
