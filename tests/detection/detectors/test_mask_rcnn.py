"""Real Detectron2 forward passes; random weights unless the bundled ones are what is tested."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from detection import UsageError, choose_main, load_detector
from detection.detectors.compact.files import compact_weights
from detection.detectors.compact.weights import save_compact
from detection.detectors.mask_rcnn import DetectorSettings, MaskRcnnDetector
from detection.detectors.outputs import paste_vehicle

DETAILS = {"short_side": 128, "long_side": 192, "score_threshold": 0.0, "kinds": ["car"]}


def pasted_mask(soft, box, size):
    return paste_vehicle(soft, box, size)[0]


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    """Weights of an untrained model whose box head was nudged to call things cars."""
    from detectron2.modeling import build_model

    from detection.detectors.compact.architecture import compact_config

    torch.manual_seed(3)
    model = build_model(compact_config())
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.weight.normal_(std=0.3)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_compact(model.state_dict(), path, DETAILS)
    return path


@pytest.fixture(scope="module")
def random_detector(random_weights):
    return load_detector("compact", device="cpu", weights=random_weights)


def _photos(count=8):
    rng = np.random.default_rng(0)
    sizes = [(96, 128), (128, 96), (100, 150), (96, 128), (300, 200), (64, 64), (97, 131), (96, 128)]
    return [rng.integers(0, 255, (*sizes[index % 8], 3), dtype=np.uint8) for index in range(count)]


def test_weights_are_half_precision_and_under_15_mb(random_weights):
    assert random_weights.stat().st_size < 15e6


def test_model_has_about_five_million_parameters(random_detector):
    assert 4e6 < sum(parameter.numel() for parameter in random_detector.model.parameters()) < 6e6


def test_vehicles_have_the_promised_shapes(random_detector):
    for photo, vehicles in zip(_photos(), random_detector.detect(_photos()), strict=True):
        assert vehicles, "the nudged model calls something a car"
        assert [v.score for v in vehicles] == sorted((v.score for v in vehicles), reverse=True)
        for vehicle in vehicles:
            assert vehicle.mask.shape == photo.shape[:2] and vehicle.mask.dtype == bool
            x1, y1, x2, y2 = vehicle.box
            assert 0 <= x1 < x2 <= photo.shape[1] and 0 <= y1 < y2 <= photo.shape[0]
            assert vehicle.kind == "car"


@pytest.mark.parametrize("apart", [False, True])
def test_of_several_kinds_each_vehicle_is_of_one(tmp_path, apart):
    """apart: as version 0.4.0 trained several kinds, each with boxes and masks of its own."""
    from detectron2.modeling import build_model
    from detectron2.structures import Boxes, pairwise_iou

    from detection.detectors.compact.architecture import compact_config

    torch.manual_seed(3)
    cfg = compact_config()
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 3
    cfg.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG = cfg.MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK = not apart
    model = build_model(cfg)
    with torch.no_grad():
        # As sure of a car as of a truck: as sure as nothing of either, though almost sure of a vehicle.
        model.roi_heads.box_predictor.cls_score.weight.zero_()
        model.roi_heads.box_predictor.cls_score.bias.copy_(torch.tensor([2.1, 2.0, -9.0, -1.0]))
    save_compact(model.state_dict(), tmp_path / "w.safetensors", DETAILS | {"kinds": ["car", "truck", "bus"]})
    detector = load_detector("compact", device="cpu", weights=tmp_path / "w.safetensors", precision="float32")
    assert detector.kinds == ("car", "truck", "bus")
    settings = replace(detector.settings, mask_scores=False)
    for vehicles in MaskRcnnDetector(detector.model, settings).detect(_photos(3)):
        assert vehicles and {vehicle.kind for vehicle in vehicles} == {"car"}
        assert all(vehicle.score == pytest.approx(0.977, abs=0.002) for vehicle in vehicles)
    inputs = [{"image": torch.from_numpy(_photos(1)[0].transpose(2, 0, 1).copy())}]
    with torch.inference_mode():
        (found,) = detector.model.inference(inputs, do_postprocess=False)
    shared = pairwise_iou(Boxes(found.pred_boxes.tensor), Boxes(found.pred_boxes.tensor)).fill_diagonal_(0)
    assert len(found) > 1 and shared.max() < 0.8, "nothing is found twice"


def test_batch_of_eight_agrees_with_one_at_a_time(random_detector):
    photos = _photos(8)
    together = random_detector.detect(photos)
    for photo, expected in zip(photos, together, strict=True):
        (alone,) = random_detector.detect([photo])
        assert len(alone) == len(expected)
        np.testing.assert_allclose([v.score for v in alone], [v.score for v in expected], atol=1e-4)
        np.testing.assert_allclose([v.box for v in alone], [v.box for v in expected], atol=1.01)


def test_folding_the_batch_norms_changes_no_feature():
    from detection.detectors.compact.backbone import TimmStages

    torch.manual_seed(0)
    stages = TimmStages("tf_efficientnet_lite0", imagenet=False).eval()
    for module in stages.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    photo = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        before = stages(photo)
        stages.fold()
        after = stages(photo)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in stages.modules())
    for name, feature in before.items():
        torch.testing.assert_close(after[name], feature, rtol=1e-3, atol=1e-4)


def test_no_photos_give_no_results(random_detector):
    assert random_detector.detect([]) == []


@pytest.mark.parametrize("photo", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_wrong_arrays_are_refused(random_detector, photo):
    with pytest.raises(ValueError, match="RGB uint8"):
        random_detector.detect([photo])


def test_one_pixel_photo_is_survived(random_detector):
    (vehicles,) = random_detector.detect([np.zeros((1, 1, 3), np.uint8)])
    assert all(vehicle.mask.shape == (1, 1) for vehicle in vehicles)


def test_fingerprint_tells_weights_and_threshold_apart(random_weights, random_detector):
    other = load_detector("compact", device="cpu", weights=random_weights, score_threshold=0.7)
    assert other.fingerprint != random_detector.fingerprint


@pytest.mark.parametrize(
    ("box", "size", "expected"),
    [
        ((2, 2, 6, 6), (10, 10), (2, 2, 6, 6)),
        ((-4, -4, 4, 4), (10, 10), (0, 0, 4, 4)),
        ((6, 6, 14, 14), (10, 10), (6, 6, 10, 10)),
    ],
)
def test_paste_fills_the_box_and_stays_in_the_frame(box, size, expected):
    mask = pasted_mask(np.ones((28, 28), np.float32), np.array(box, float), size)
    x1, y1, x2, y2 = expected
    truth = np.zeros(size, bool)
    truth[y1:y2, x1:x2] = True
    np.testing.assert_array_equal(mask, truth)


def test_paste_agrees_with_detectron2():
    from detectron2.layers.mask_ops import paste_masks_in_image

    rng = np.random.default_rng(1)
    coarse = rng.random((7, 7)).astype(np.float32)
    soft = np.kron(coarse, np.ones((4, 4), np.float32))
    box = np.array([10.3, 20.7, 90.2, 70.9])
    ours = pasted_mask(soft, box, (100, 120))
    theirs = paste_masks_in_image(
        torch.from_numpy(soft)[None], torch.tensor(box, dtype=torch.float32)[None], (100, 120), 0.5
    )[0].numpy()
    # They let the mask fade out at the box's border, we carry it on: compare inside.
    inner = np.s_[24:68, 14:87]
    assert np.mean(ours[inner] == theirs[inner]) > 0.995


def test_box_only_models_give_the_box_as_mask():
    assert pasted_mask(None, np.array([1.0, 2.0, 3.0, 5.0]), (8, 8)).sum() == 2 * 3


@pytest.mark.parametrize("name", ["no/such/model", "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN"])
def test_unknown_detector_is_one_sentence(name):
    with pytest.raises(UsageError, match="There is no detector"):
        load_detector(name)


def test_unknown_device_is_one_sentence(random_weights):
    with pytest.raises(UsageError, match="not a device"):
        load_detector("compact", device="toaster", weights=random_weights)


def test_missing_and_foreign_weights_are_one_sentence(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(UsageError, match="no weights file"):
        load_detector("compact", weights=tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(UsageError, match="not a whole safetensors file"):
        load_detector("compact", weights=tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="no weights of the compact detector"):
        load_detector("compact", weights=tmp_path / "other.safetensors")
    save_file(
        {"a": torch.zeros(1)},
        tmp_path / "bare.safetensors",
        metadata={"format": "carclf-detector-1", "details": json.dumps(DETAILS)},
    )
    with pytest.raises(UsageError, match="does not fit"):
        load_detector("compact", weights=tmp_path / "bare.safetensors")


@pytest.mark.skipif(not compact_weights().is_file(), reason="the bundled weights are not there")
def test_bundled_detector_finds_drawn_cars_and_none_in_an_empty_street():
    from carclf.datasets.drawn.car_shapes import CAR_SHAPES
    from carclf.datasets.drawn.scenes import draw_background, draw_scene

    detector = load_detector("compact", device="cpu")
    rng = np.random.default_rng(11)
    overlaps = []
    for shape in CAR_SHAPES:
        scene = draw_scene(shape, rng)
        main = choose_main(detector.detect([scene.image])[0], scene.image.shape[:2])
        mask = np.zeros_like(scene.mask) if main is None else main.mask
        overlaps.append((mask & scene.mask).sum() / (mask | scene.mask).sum())
    assert np.mean(overlaps) > 0.7
    empty = [draw_background(rng) for _ in range(6)]
    assert sum(bool(vehicles) for vehicles in detector.detect(empty)) <= 1


@pytest.mark.skipif(not compact_weights().is_file(), reason="the bundled weights are not there")
def test_bundled_detector_finds_every_competition_photo(shared_data):
    from detection import load_image

    detector = load_detector("compact", device="cpu")
    photos = [load_image(path) for path in sorted((shared_data / "sf_dl_car_classification/photos").glob("*.jpg"))]
    assert len(photos) == 10
    for photo, vehicles in zip(photos, detector.detect(photos), strict=True):
        main = choose_main(vehicles, photo.shape[:2])
        assert main is not None and main.mask.mean() > 0.1


@pytest.mark.slow
@pytest.mark.skipif(not compact_weights().is_file(), reason="the bundled weights are not there")
def test_bundled_detector_keeps_its_figures_on_held_out_photos(shared_data):
    """The model card's figures, with a margin: a slip in preprocessing or pasting costs more than that."""
    pytest.importorskip("pycocotools")
    from detection.training.train import evaluate_held_out

    # Only what has real masks or no car at all; the drawn scenes are not needed to judge.
    overrides = [f"data={shared_data}"]
    detector = load_detector("compact", device="cpu")
    figures = evaluate_held_out(detector, "configs/detector/compact.yaml", overrides, only=("hand", "plain"))
    assert figures["hand"]["photos"] == 42
    assert figures["hand"]["main_iou"] > 0.945 and figures["hand"]["missed"] == 0
    assert figures["plain"]["false_share"] <= 0.04


def test_batches_never_exceed_the_batch_size():
    class Recorder:
        """Stands for a Detectron2 model: what is tested is how photos are grouped."""

        class backbone:
            size_divisibility = 32

        device = "cpu"

        def __init__(self):
            self.batches = []

        def eval(self):
            return self

        def inference(self, batch, do_postprocess):
            from detectron2.structures import Boxes, Instances

            self.batches.append([tuple(one["image"].shape) for one in batch])
            empty = []
            for one in batch:
                instances = Instances(one["image"].shape[1:])
                instances.pred_boxes, instances.scores = Boxes(torch.zeros(0, 4)), torch.zeros(0)
                instances.pred_classes, instances.pred_masks = torch.zeros(0), torch.zeros(0, 1, 28, 28)
                empty.append(instances)
            return empty

    model = Recorder()
    detector = MaskRcnnDetector(model, DetectorSettings("x", {0: "car"}, 64, 128, 0.5, True, "x"), batch_size=3)
    photos = [np.zeros((64, 64, 3), np.uint8)] * 7 + [np.zeros((64, 120, 3), np.uint8)] * 2
    assert detector.detect(photos) == [[] for _ in photos]
    assert sorted(len(batch) for batch in model.batches) == [1, 2, 3, 3]
    assert all(len(set(batch)) == 1 for batch in model.batches)


def test_unknown_precision():
    with pytest.raises(UsageError, match="not a precision: choose auto or float32"):
        load_detector("compact", device="cpu", precision="int8")


@pytest.mark.parametrize(
    "mask_scores, certainty, found", [(False, 0.7, 0.95), (True, 0.7, None), (True, 0.96, 0.95 * 0.96)]
)
def test_scores_are_weighed_by_the_certainty_of_the_mask(mask_scores, certainty, found):
    class OneVehicle:
        """Stands for a Detectron2 model that finds one vehicle, its mask equally certain everywhere."""

        class backbone:
            size_divisibility = 32

        device = "cpu"

        def eval(self):
            return self

        def inference(self, batch, do_postprocess):
            from detectron2.structures import Boxes, Instances

            instances = Instances(batch[0]["image"].shape[1:])
            instances.pred_boxes = Boxes(torch.tensor([[8.0, 8.0, 40.0, 40.0]]))
            instances.scores, instances.pred_classes = torch.tensor([0.95]), torch.tensor([0])
            instances.pred_masks = torch.full((1, 1, 28, 28), certainty)
            instances.pred_masks[..., :14] = 0.1  # what is outside the mask does not count
            return [instances]

    settings = DetectorSettings("x", {0: "car"}, 64, 128, 0.85, True, "x", mask_scores)
    (vehicles,) = MaskRcnnDetector(OneVehicle(), settings).detect([np.zeros((64, 64, 3), np.uint8)])
    assert [vehicle.score for vehicle in vehicles] == ([] if found is None else [pytest.approx(found, abs=1e-4)])
