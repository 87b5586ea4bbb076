"""Examples that make small cars and bad weather of photos with masks, and what boxes alone teach."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from detection.masks.records import read_source
from detection.training.config import DetectorTraining
from detection.training.module import DetectorModule, build_start, plan_model
from detection.training.scenes import weather
from detection.training.scenes.scene import SceneMaker, SceneSettings
from tests.coco_photos import make_coco

SIZE = (96, 128)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return read_source(make_coco(tmp_path_factory.mktemp("made")))


@pytest.mark.parametrize("way", ["crowd", "mosaic"])
def test_small_cars_are_made_the_same_from_the_same_seed(records, way):
    maker = SceneMaker(records, SceneSettings(**{"negatives": 0, "paste": 0, "neighbour": 0, "smallest": 16, way: 1}))
    scenes = [maker.make(SIZE, np.random.default_rng(seed)) for seed in range(12)]
    again = maker.make(SIZE, np.random.default_rng(3))
    np.testing.assert_array_equal(scenes[3].image, again.image)
    np.testing.assert_array_equal(scenes[3].masks, again.masks)
    assert max(len(scene.masks) for scene in scenes) >= 3
    for scene in scenes:
        assert scene.image.shape == (*SIZE, 3) and scene.masks.shape[1:] == SIZE
        assert scene.masks.sum(axis=0).max(initial=0) <= 1, "a pixel belongs to two vehicles"
    areas = np.concatenate([scene.masks.mean(axis=(1, 2)) for scene in scenes])
    assert np.median(areas) < 0.15


@pytest.mark.parametrize("way", [weather.fog, weather.sand, weather.rain, weather.snow, weather.dusk])
def test_weather_is_drawn_over_a_photo_the_same_from_the_same_seed(way):
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    before = photo.copy()
    drawn = way(photo, np.random.default_rng(5))
    assert drawn.dtype == np.uint8 and drawn.shape == photo.shape and np.array_equal(photo, before)
    assert np.abs(drawn.astype(int) - photo).mean() > 8
    np.testing.assert_array_equal(drawn, way(photo, np.random.default_rng(5)))
    assert not np.array_equal(drawn, way(photo, np.random.default_rng(6)))
    assert drawn.std() > 4, "something of the photo is still to be seen"


def test_weather_is_not_drawn_over_boxes_alone(records, monkeypatch):
    asked = []
    monkeypatch.setattr("detection.training.scenes.scene.draw_weather", lambda image, _: asked.append(1) or image)
    settings = SceneSettings(negatives=0, paste=0, neighbour=0, weather=1)
    photos = [record for record in records if record.masks]
    for drawn, count in (((), 5), ((False,), 0)):
        maker = SceneMaker([replace(record, drawn=drawn) for record in photos], settings)
        asked.clear()
        scenes = [maker.make(SIZE, np.random.default_rng(seed)) for seed in range(5)]
        assert len(asked) == count and all(scene.drawn.all() == (not drawn) for scene in scenes if len(scene.masks))


def test_an_incompletely_labelled_photo_is_no_photo_without_a_car(records):
    empties = [replace(record, masks=(), categories=(), incomplete=True) for record in records]
    assert not SceneMaker(empties, SceneSettings()).empties


def test_boxes_alone_teach_all_but_the_mask_head(records):
    config = DetectorTraining(output="", init="random", sources=(), scenes=SceneSettings(negatives=0, paste=0))
    blueprint = plan_model(config, ("car",))
    torch.manual_seed(0)
    model = build_start(blueprint).train()
    module = DetectorModule(blueprint, model)
    scene = SceneMaker(records, config.scenes).make(SIZE, np.random.default_rng(2))
    assert len(scene.masks)
    example = {
        "image": torch.from_numpy(np.ascontiguousarray(scene.image.transpose(2, 0, 1))),
        "masks": scene.masks,
        "classes": torch.zeros(len(scene.masks), dtype=torch.long),
    }
    masks, scores = model.roi_heads.mask_head.coarse_logits.weight, model.roi_heads.box_predictor.cls_score.weight
    for drawn in (True, False):
        model.zero_grad()
        module.training_step([example | {"drawn": torch.full((len(scene.masks),), drawn)}], 0).backward()
        assert bool(masks.grad.abs().sum() > 0) == drawn
        assert scores.grad.abs().sum() > 0
