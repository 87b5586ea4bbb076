"""The drawn scenes: same seed same picture, exact masks, distinct shapes, the data set's layout."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from carclf.datasets.drawn.canvas import smooth
from carclf.datasets.drawn.car_shapes import BODIES, CAR_SHAPES, Camera
from carclf.datasets.drawn.scenes import NEGATIVES_FOLDER, draw_background, draw_scene, write_dataset


def generator(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", CAR_SHAPES)
def test_same_seed_draws_the_same_scene_and_another_seed_another(shape):
    one, same, other = (draw_scene(shape, generator(s)) for s in (3, 3, 4))
    assert np.array_equal(one.image, same.image) and np.array_equal(one.mask, same.mask) and one.box == same.box
    assert not np.array_equal(one.image, other.image)


@pytest.mark.parametrize("shape", CAR_SHAPES)
def test_mask_is_tight_in_the_box_and_within_the_size_asked_for(shape):
    for n in range(5):
        scene = draw_scene(shape, generator(11, n), (240, 336))
        assert scene.image.shape == (240, 336, 3) and scene.image.dtype == np.uint8
        assert scene.mask.shape == (240, 336) and scene.mask.dtype == bool and scene.shape == shape
        ys, xs = np.nonzero(scene.mask)
        assert scene.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert 0.17 <= (scene.box[2] - scene.box[0]) / 336 <= 0.82
        x0, y0, x1, y1 = (int(v) for v in scene.box)
        assert scene.mask[y0:y1, x0:x1].mean() > 0.4


def test_mask_lies_where_the_car_was_painted(monkeypatch):
    """With the car left out, the same seed changes no pixel far from the mask, and most pixels on it."""
    import carclf.datasets.drawn.scenes as scenes

    monkeypatch.setattr(
        scenes, "_photograph", lambda canvas, size, rng: cv2.resize(canvas, size[::-1], interpolation=cv2.INTER_AREA)
    )
    monkeypatch.setattr(scenes, "_shadow", lambda *args: None)
    monkeypatch.setattr(scenes, "_occlude", lambda *args: None)
    real = scenes.paint_car
    for n in range(4):
        with_car = draw_scene("sedan", generator(5, n))
        monkeypatch.setattr(scenes, "paint_car", lambda canvas, mask, *args: mask.__setitem__(slice(None), 255))
        without = draw_scene("sedan", generator(5, n)).image
        monkeypatch.setattr(scenes, "paint_car", real)
        changed = np.abs(with_car.image.astype(int) - without).max(2) > 12
        near = cv2.dilate(with_car.mask.astype(np.uint8), np.ones((5, 5))) > 0
        assert not changed[~near].any()
        assert changed[with_car.mask].mean() > 0.75


def test_an_occluder_is_cut_out_of_the_mask():
    import carclf.datasets.drawn.scenes as scenes

    camera = Camera(BODIES["van"], 0.0, 900, 150, focal=600, center=480, horizon=300)
    canvas, mask = np.zeros((720, 960, 3), np.uint8), np.full((720, 960), 255, np.uint8)
    scenes._occlude(canvas, mask, camera, 500.0, generator(1))
    hidden = mask < 128
    assert hidden.any() and hidden.mean() < 0.25
    assert canvas[hidden].any() and not canvas[cv2.erode(mask, np.ones((3, 3))) == 255].any()


def test_shapes_have_different_silhouettes():
    assert len(CAR_SHAPES) >= 5 and len(set(CAR_SHAPES)) == len(CAR_SHAPES)

    def silhouette(name: str) -> np.ndarray:
        body, picture = BODIES[name], np.zeros((220, 560), np.uint8)
        line = smooth(body.profile)
        points = np.stack([line[:, 0] * 540 / body.length, 210 - line[:, 1] * 540 / body.length], 1)
        return cv2.fillPoly(picture, [np.round(points).astype(np.int32)], 1) > 0

    drawn = [silhouette(name) for name in CAR_SHAPES]
    for i, a in enumerate(drawn):
        for b in drawn[:i]:
            assert (a & b).sum() / (a | b).sum() < 0.95


def test_flank_is_the_inverse_of_project():
    from carclf.datasets.drawn.car_shapes import inset

    body = BODIES["suv"]
    for yaw in (-0.85, 0.0, 0.85):
        camera = Camera(body, yaw, 950, 150, focal=700, center=400, horizon=300)
        x, y = np.meshgrid(np.linspace(20, body.length - 20, 9), np.linspace(20, body.height - 5, 7))
        p = camera.project(np.stack([x, y, inset(body, x, y)], -1))
        bx, by = camera.flank(p[..., 0], p[..., 1])
        assert np.abs(bx - x).max() < 3 and np.abs(by - y).max() < 3


def test_backgrounds_follow_the_seed_and_the_size():
    one, same, other = (draw_background(generator(s), (200, 300)) for s in (1, 1, 2))
    assert one.shape == (200, 300, 3) and one.dtype == np.uint8 and one.std() > 10
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_unknown_shape_and_tiny_size_are_refused():
    with pytest.raises(KeyError):
        draw_scene("bicycle", generator(1))
    with pytest.raises(ValueError, match="at least 64"):
        draw_background(generator(1), (40, 200))


def test_data_set_layout_masks_and_negatives(tmp_path):
    labels = write_dataset(tmp_path, per_class=2, seed=7, negatives=3)
    rows = list(csv.DictReader(labels.open()))
    assert labels == tmp_path / "labels.csv" and len(rows) == 2 * len(CAR_SHAPES)
    assert {row["class"] for row in rows} == set(CAR_SHAPES)
    assert all(
        (tmp_path / "images" / row["file"]).is_file() and row["file"].split("/")[0] == row["class"] for row in rows
    )
    coco = COCO(str(tmp_path / "annotations.json"))
    assert len(coco.imgs) == len(rows) + 3 and len(coco.anns) == len(rows)
    empty = [image for image in coco.imgs.values() if not coco.getAnnIds(image["id"])]
    assert [image["file_name"].split("/")[0] for image in empty] == [NEGATIVES_FOLDER] * 3
    for image in coco.imgs.values():
        assert cv2.imread(str(tmp_path / "images" / image["file_name"])).shape == (image["height"], image["width"], 3)
    for index, annotation in enumerate(coco.anns.values()):
        scene = draw_scene(CAR_SHAPES[index // 2], generator(7, index // 2, index % 2))
        assert np.array_equal(coco.annToMask(annotation).astype(bool), scene.mask)
        x0, y0, x1, y1 = scene.box
        assert annotation["bbox"] == [x0, y0, x1 - x0, y1 - y0] and annotation["area"] == scene.mask.sum()
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_a_larger_set_contains_the_smaller_one_and_negatives_are_optional(tmp_path):
    write_dataset(tmp_path / "small", per_class=1, seed=2)
    write_dataset(tmp_path / "large", per_class=2, seed=2)
    for shape in CAR_SHAPES:
        a, b = (tmp_path / size / "images" / shape / "0000.jpg" for size in ("small", "large"))
        assert a.read_bytes() == b.read_bytes()
    assert not (tmp_path / "small" / "images" / NEGATIVES_FOLDER).exists()


def test_script_writes_a_set_and_refuses_a_negative_number(tmp_path):
    script = Path(__file__).resolve().parents[3] / "scripts" / "draw_scenes.py"

    def call(*args):
        return subprocess.run([sys.executable, script, tmp_path / "out", *args], capture_output=True, text=True)

    done = call("--per-class", "1", "--negatives", "1", "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "out" / "annotations.json").read_text())["images"]) == len(CAR_SHAPES) + 1
    refused = call("--per-class", "-1")
    assert refused.returncode == 2 and "at least 0" in refused.stderr
    (tmp_path / "file").write_text("")
    blocked = subprocess.run([sys.executable, script, tmp_path / "file"], capture_output=True, text=True)
    assert blocked.returncode == 2 and "Cannot write" in blocked.stderr
