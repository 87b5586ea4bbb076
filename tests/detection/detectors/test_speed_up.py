"""What makes detectors fast must not change what they find."""

import copy

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from detection import choose_main, load_detector
from detection.common.machine import usable_cores
from detection.detectors.compact.files import compact_weights
from detection.detectors.fast import tuning
from detection.detectors.fast.fused import fold_norms, fuse_convolutions, use_bfloat16
from detection.detectors.fast.pooling import roi_align
from detection.detectors.fast.tuning import CpuChoice, choose_for_cpu
from detection.detectors.load import load_as_trained
from detection.detectors.mask_rcnn import DetectorSettings, MaskRcnnDetector

needs_weights = pytest.mark.skipif(not compact_weights().is_file(), reason="the bundled weights are not there")


def _need_bfloat16() -> None:
    """Skips where oneDNN has no convolutions in bfloat16; carclf chooses it only on processors that compute it."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("oneDNN computes no bfloat16 on this processor (it needs AVX-512)")


BF16 = CpuChoice("bf16", True, 1, {"eager": 2.0, "fused": 1.0, "bf16": 0.5})


@pytest.fixture
def fused_works():
    if "fused" not in choose_for_cpu().milliseconds:
        pytest.skip("this build of torch has no fused convolutions")


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("side", "samples"), [((7, 7), 2), ((7, 7), 0), ((5, 3), 1)])
def test_pooling_agrees_with_torchvision(side, samples, aligned):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(2, 5, 20, 30, generator=generator).contiguous(memory_format=torch.channels_last)
    corners = torch.rand(40, 2, 2, generator=generator) * torch.tensor([150.0, 110.0]) - 15  # some beyond the photo
    boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
    rois = torch.cat([torch.arange(40)[:, None] % 2, boxes], dim=1)
    wanted = torchvision.ops.roi_align(features, rois, side, 0.25, samples, aligned)
    torch.testing.assert_close(roi_align(features, rois, side, 0.25, samples, aligned), wanted, rtol=1e-4, atol=1e-5)


def _detectron_model(name):
    from detectron2 import model_zoo
    from detectron2.modeling import build_model

    torch.manual_seed(0)
    cfg = model_zoo.get_config(f"{name}.yaml")
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg).eval()
    for module in model.modules():
        if hasattr(module, "running_var"):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.8, 2)
            module.weight.mul_(0.4)
    return model


def test_folding_and_fusing_change_no_feature_of_a_resnet(fused_works):
    model = _detectron_model("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x")
    photo = torch.randn(1, 3, 64, 96) * 50
    with torch.inference_mode():
        wanted = model.backbone(photo)
        fold_norms(model)
        assert not any(getattr(module, "norm", None) is not None for module in model.modules())
        fuse_convolutions(model)
        found = model.backbone(photo)
    for name, feature in wanted.items():
        torch.testing.assert_close(found[name], feature, rtol=1e-3, atol=1e-4 * float(feature.abs().max()))


def test_proposals_are_those_of_detectron2(fused_works):
    from detectron2.structures import ImageList

    from detection.detectors.fast.proposals import speed_up_proposals

    model = _detectron_model("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x")
    model.proposal_generator.pre_nms_topk[False], model.proposal_generator.post_nms_topk[False] = 60, 40
    images = ImageList(torch.randn(2, 3, 128, 160) * 50, [(120, 160), (128, 150)])
    with torch.inference_mode():
        features = model.backbone(images.tensor)
        wanted, _ = model.proposal_generator(images, features)
        speed_up_proposals(model)
        for _ in range(2):  # the second time with the kept anchors
            found, _ = model.proposal_generator(images, features)
            for a, b in zip(wanted, found, strict=True):
                torch.testing.assert_close(a.proposal_boxes.tensor, b.proposal_boxes.tensor)
                torch.testing.assert_close(a.objectness_logits, b.objectness_logits)


@pytest.mark.parametrize(
    "name",
    [
        "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x",
        pytest.param("COCO-InstanceSegmentation/mask_rcnn_R_50_C4_3x", marks=pytest.mark.slow),
        pytest.param("COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x", marks=pytest.mark.slow),
        pytest.param("Misc/cascade_mask_rcnn_R_50_FPN_3x", marks=pytest.mark.slow),
        pytest.param("Misc/mask_rcnn_R_50_FPN_3x_gn", marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_zoo_model_runs_in_bfloat16(monkeypatch, fused_works, name):
    from detection.detectors.fast.speed_up import speed_up

    _need_bfloat16()
    monkeypatch.setattr("detection.detectors.fast.speed_up.choose_for_cpu", lambda: BF16)
    model = _detectron_model(name)
    photo = torch.randint(0, 255, (3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        wanted = model.backbone(model.preprocess_image([{"image": photo}]).tensor)
        assert speed_up(model, {2, 5, 7}) == "bf16"
        for predictor in model.roi_heads.modules():
            if isinstance(getattr(predictor, "cls_score", None), nn.Linear):
                predictor.cls_score.bias[2] += 9  # so that there are masks to compute
        found = model.backbone(model.preprocess_image([{"image": photo}]).tensor)
        (instances,) = model.inference([{"image": photo}], do_postprocess=False)
    for key, feature in wanted.items():
        assert float((found[key].float() - feature).norm() / feature.norm()) < 0.03
    assert len(instances) and set(instances.pred_classes.tolist()) == {2}
    assert instances.pred_masks.isfinite().all() and instances.pred_boxes.tensor.dtype == torch.float32


def test_layers_that_are_kept_stay_in_float32():
    head = nn.Sequential()
    head.add_module("first", nn.Conv2d(3, 8, 3))
    head.add_module("predictor", nn.Conv2d(8, 1, 1))
    wanted = copy.deepcopy(head)(torch.ones(1, 3, 5, 5))
    use_bfloat16(head, keep=("predictor",))
    assert head.first.weight.dtype == torch.bfloat16 and head.predictor.weight.dtype == torch.float32
    out = head(torch.ones(1, 3, 5, 5))
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, wanted, rtol=0.03, atol=0.03)


@needs_weights
@pytest.mark.parametrize("precision", [pytest.param("float32", marks=pytest.mark.slow), "auto"])
def test_results_are_those_of_the_plain_model(shared_data, monkeypatch, fused_works, precision):
    """0.5 px and 0.005 IoU, on real photos; whether or not this processor would choose bfloat16 itself."""
    from detection import load_image

    if precision == "auto":
        _need_bfloat16()

    monkeypatch.setattr("detection.detectors.fast.speed_up.choose_for_cpu", lambda: BF16)
    plain, fast = (
        load_as_trained("compact", "cpu"),
        load_detector("compact", "cpu", precision=precision, runtime="torch"),
    )
    assert fast.precision == ("bf16" if precision == "auto" else "float32")
    files = sorted((shared_data / "car_masks/images").glob("*.jpg"))[::160]
    compared = 0
    for file in files + sorted((shared_data / "sf_dl_car_classification/photos").glob("*.jpg"))[::2]:
        photo = load_image(file)
        raw = [one._forward([one._resized(photo)])[0] for one in (plain, fast)]
        wanted, found = (
            choose_main(one._vehicles(output, photo.shape[:2], output.image_size), photo.shape[:2])
            for one, output in zip((plain, fast), raw, strict=True)
        )
        assert (wanted is None) == (found is None)
        if wanted is None:
            continue
        # The vehicle's own box is that of the mask in whole pixels, where the least change can tip one.
        assert np.abs(np.subtract(wanted.box, found.box)).max() <= 1
        assert np.count_nonzero(wanted.mask & found.mask) / np.count_nonzero(wanted.mask | found.mask) >= 0.995
        boxes = [one.pred_boxes.tensor.float()[one.scores.float().argmax()] for one in raw]
        scale = photo.shape[1] / raw[0].image_size[1]
        assert float((boxes[0] - boxes[1]).abs().max()) * scale <= 0.5, file.name
        compared += 1
    assert compared >= 8


@needs_weights
def test_no_box_is_as_good_as_many(fused_works):
    detector = load_detector("compact", "cpu", score_threshold=0.99999, runtime="torch")
    assert detector.detect([np.zeros((64, 96, 3), np.uint8)] * 2) == [[], []]


@needs_weights
def test_a_processor_without_fused_calls_uses_the_plain_ones(monkeypatch):
    monkeypatch.setattr(
        "detection.detectors.fast.speed_up.choose_for_cpu", lambda: CpuChoice("float32", False, 1, {"eager": 1.0})
    )
    detector = load_detector("compact", "cpu", runtime="torch")
    assert detector.precision == "float32"
    assert not any(hasattr(module, "fused_activation") for module in detector.model.modules())
    assert len(detector.detect([np.zeros((64, 96, 3), np.uint8)])) == 1


def test_self_check_is_short_and_made_once():
    import time

    start = time.perf_counter()
    choice = choose_for_cpu()
    assert time.perf_counter() - start < 2
    assert choose_for_cpu() is choice
    assert choice.precision in {"float32", "bf16"} and choice.threads >= 1 and "eager" in choice.milliseconds


@pytest.mark.parametrize(
    ("times", "precision", "fused"),
    [
        ({"eager": 3.0, "fused": 2.0, "bf16": 1.0}, "bf16", True),
        ({"eager": 3.0, "fused": 2.0, "bf16": 1.95}, "float32", True),  # a gain too small to trust
        ({"eager": 2.0, "fused": 3.0, "bf16": 1.0}, "float32", False),
        ({"eager": 2.0}, "float32", False),  # nothing else works here
    ],
)
def test_choice_is_never_slower_than_plain_float32(monkeypatch, times, precision, fused):
    monkeypatch.setattr(tuning, "_least_times", lambda variants, image: times)
    monkeypatch.setattr(tuning, "cpu_has_bfloat16", lambda: False)
    choice = choose_for_cpu.__wrapped__()
    assert (choice.precision, choice.fused) == (precision, fused)


def test_a_busy_machine_does_not_talk_bfloat16_away(monkeypatch):
    monkeypatch.setattr(tuning, "_least_times", lambda variants, image: {"eager": 4.0, "fused": 2.0, "bf16": 2.1})
    monkeypatch.setattr(tuning, "cpu_has_bfloat16", lambda: True)
    assert choose_for_cpu.__wrapped__().precision == "bf16"


def test_variant_with_wrong_results_is_left_out(monkeypatch):
    monkeypatch.setattr(tuning, "use_bfloat16", lambda model: model[0].weight.data.mul_(2))
    seen = {}
    monkeypatch.setattr(tuning, "_least_times", lambda variants, image: seen.update(variants) or {"eager": 1.0})
    choose_for_cpu.__wrapped__()
    assert "bf16" not in seen and "eager" in seen


@pytest.mark.parametrize(("text", "cores"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", None)])
def test_container_quota_bounds_the_cores(tmp_path, monkeypatch, text, cores):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert usable_cores(tmp_path) == (cores or 8)


def test_threads_are_lowered_to_the_cores_unless_the_user_chose_them(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: chosen[-1] if chosen else 64)
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setattr(tuning, "usable_cores", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert tuning.limit_threads() == 64 and not chosen
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert tuning.limit_threads() == 4 and chosen == [4]


class _SmallDevice(nn.Module):
    """Stands for a Detectron2 model on a device whose memory does for `room` photos."""

    class backbone:
        size_divisibility = 32

    device = torch.device("cpu")

    def __init__(self, room):
        super().__init__()
        self.room, self.batches = room, []

    def inference(self, batch, do_postprocess):
        from detectron2.structures import Boxes, Instances

        self.batches.append(len(batch))
        if len(batch) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        outputs = []
        for one in batch:
            found = Instances(tuple(one["image"].shape[1:]))
            value = float(one["image"].float().mean())  # tells the photos apart
            found.pred_boxes, found.scores = Boxes(torch.tensor([[0.0, 0, 20 + value, 30]])), torch.tensor([0.9])
            found.pred_classes, found.pred_masks = torch.tensor([0]), torch.ones(1, 1, 28, 28)
            outputs.append(found)
        return outputs


def _small(room, batch_size):
    return MaskRcnnDetector(_SmallDevice(room), DetectorSettings("x", {0: "car"}, 64, 64, 0.5, True, "x"), batch_size)


def test_full_memory_halves_the_batch_and_is_remembered():
    detector = _small(room=2, batch_size=8)
    photos = [np.full((64, 64, 3), 2 * number, np.uint8) for number in range(8)]
    found = detector.detect(photos)
    assert [vehicles[0].box[2] for vehicles in found] == [20 + 2 * number for number in range(8)]
    assert detector.model.batches == [8, 4, 2, 2, 2, 2] and detector.batch_size == 2
    detector.model.batches.clear()
    detector.detect(photos)
    assert detector.model.batches == [2, 2, 2, 2]


def test_memory_too_small_for_one_photo_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        _small(room=0, batch_size=4).detect([np.zeros((64, 64, 3), np.uint8)] * 4)


def test_batches_on_a_cpu_are_small_for_large_photos():
    def size(short, long):
        return MaskRcnnDetector(
            _SmallDevice(1), DetectorSettings("x", {0: "car"}, short, long, 0.5, True, "x")
        ).batch_size

    assert size(320, 480) == 2 and size(800, 1333) == 1


@pytest.mark.gpu
@needs_weights
def test_half_precision_on_a_gpu_finds_the_same_cars(shared_data):
    from detection import load_image

    photos = [load_image(path) for path in sorted((shared_data / "sf_dl_car_classification/photos").glob("*.jpg"))]
    plain, fast = load_as_trained("compact", "cpu"), load_detector("compact", "cuda")
    assert fast.precision in {"float16", "float32"}
    for photo, wanted, found in zip(photos, plain.detect(photos), fast.detect(photos), strict=True):
        wanted, found = (choose_main(one, photo.shape[:2]) for one in (wanted, found))
        assert np.count_nonzero(wanted.mask & found.mask) / np.count_nonzero(wanted.mask | found.mask) >= 0.98
    assert fast.batch_size > 1  # measured by the first batch
