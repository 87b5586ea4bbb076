"""Every file in configs/detector/: read, built, one training step on made photos, and usable as `--detector FILE`."""

from pathlib import Path

import numpy as np
import pytest
import torch

from detection import UsageError, load_detector
from detection.common.config import read_config
from detection.detectors.trained import read_model_choice
from detection.detectors.zoo import model as zoo
from detection.training.config import DetectorTraining
from detection.training.examples import read_records
from detection.training.module import DetectorModule, build_start, plan_model
from detection.training.scenes.scene import SceneMaker
from tests.coco_photos import make_coco, tiny_training
from tests.small_zoo import build_small_model, write_small_model

FOLDER = Path(__file__).resolve().parents[3] / "configs" / "detector"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
# Building the larger ones takes seconds.
LARGE = {"mask_rcnn_R101_FPN", "mask_rcnn_X101_FPN", "faster_rcnn_R101_FPN"}


def test_one_file_for_each_supported_model():
    assert {"compact", "own_masks", "mask_rcnn_R50_FPN", *LARGE} <= set(NAMES)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in NAMES]
)
def test_builds_and_takes_a_training_step(name, tmp_path):
    source = make_coco(tmp_path, cars=3, empties=1)
    overrides = [
        f"photos={tmp_path / 'images'}",
        f"masks={tmp_path / 'a.json'}",
        f"output={tmp_path / 'run'}",
        "init=random",
        "scenes.sizes=[[64,96]]",
    ]
    if name.startswith("compact"):  # their sources are many
        overrides.append(f"sources=[{{name: made, images: {source.images}, annotations: {source.annotations}}}]")
    config = read_config(DetectorTraining, FOLDER / f"{name}.yaml", overrides)
    kinds, train, held_out = read_records(config)
    assert kinds == (("car", "truck", "bus") if name == "compact_streets" else ("car",))
    assert len(train) + sum(map(len, held_out.values())) == 4
    blueprint = plan_model(config, kinds)
    model = build_start(blueprint)
    module = DetectorModule(blueprint, model.train())
    # The classes are cars; a step moves what is to learn.
    image, masks, *_ = SceneMaker(train, config.scenes).make((64, 96), np.random.default_rng(2))
    assert len(masks)
    example = {
        "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
        "masks": masks,
        "classes": torch.zeros(len(masks), dtype=torch.long),
        "drawn": torch.ones(len(masks), dtype=torch.bool),
    }
    optimizer = module.configure_optimizers()["optimizer"]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = [parameter.detach().clone() for parameter in learning]
    loss = module.training_step([example], 0)
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    # Not only of one layer: by chance, a large model is so sure of its class that the last layer has nothing to learn.
    assert any(not torch.equal(now, then) for now, then in zip(learning, before, strict=True))
    assert model.roi_heads.mask_on == (name != "faster_rcnn_R101_FPN")


@pytest.mark.parametrize("name", sorted({*LARGE, "mask_rcnn_R50_FPN"}))
def test_used_as_a_detector_a_config_means_the_published_model(name, monkeypatch):
    """Its weights are asked of the zoo, by the right name; building it is the tests' above."""
    asked = []

    def fetch(zoo_name):
        asked.append(zoo_name)
        raise UsageError("no network")

    monkeypatch.setattr(zoo, "fetch_zoo_weights", fetch)
    with pytest.raises(UsageError, match="no network"):
        load_detector(str(FOLDER / f"{name}.yaml"), device="cpu")
    assert asked == [read_config(DetectorTraining, FOLDER / f"{name}.yaml").model + ".yaml"]


def test_configs_of_the_compact_model_mean_the_bundled_one(monkeypatch, tmp_path):
    bundled = load_detector("compact", device="cpu").fingerprint
    monkeypatch.chdir(tmp_path)  # the shipped files are found from anywhere
    for name in ("compact", "own_masks"):
        assert load_detector(f"configs/detector/{name}.yaml", device="cpu").fingerprint == bundled


def test_a_training_config_gives_sides_and_threshold_to_the_published_weights(tmp_path):
    from safetensors.torch import save_file

    model = write_small_model(tmp_path)
    save_file(build_small_model(model).state_dict(), tmp_path / "published.safetensors")
    config = tiny_training(tmp_path, make_coco(tmp_path), model=str(model), score_threshold=0.3)
    detector = load_detector(str(config), device="cpu", weights=tmp_path / "published.safetensors")
    settings = detector.settings
    assert (settings.short_side, settings.long_side, settings.score_threshold) == (64, 96, 0.3)
    assert set(settings.kinds.values()) == {"car", "truck", "bus"}


def test_a_folder_without_a_finished_training_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="holds no finished detector"):
        load_detector(str(tmp_path), device="cpu")


# What each zoo model's file says beside what they all share; as it was when every file said all of it.
OWN = {
    "mask_rcnn_R50_FPN": ("runs/mask-rcnn-r50-fpn", "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x", 4),
    "mask_rcnn_R101_FPN": ("runs/mask-rcnn-r101-fpn", "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x", 4),
    "mask_rcnn_X101_FPN": ("runs/mask-rcnn-x101-fpn", "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x", 2),
    "faster_rcnn_R101_FPN": ("runs/faster-rcnn-r101-fpn", "COCO-Detection/faster_rcnn_R_101_FPN_3x", 4),
}


@pytest.mark.parametrize("name", OWN)
def test_the_files_of_the_zoo_models_differ_only_where_they_say_so(name):
    output, model, batch_size = OWN[name]
    expected = DetectorTraining(
        output=output,
        model=model,
        init="zoo",
        photos="photos",
        masks="photos/annotations.json",
        kinds="one",
        steps=1000,
        steps_per_epoch=100,
        batch_size=batch_size,
        learning_rate=1e-4,
        backbone_learning_rate=1e-5,
        ema=0.99,
        validate_every=2,
        short_side=800,
        long_side=1333,
        score_threshold=0.5,
        sources=[{"name": "own", "images": "photos", "annotations": "photos/annotations.json", "validation": 0.2}],
    )
    assert read_config(DetectorTraining, FOLDER / f"{name}.yaml") == expected


def test_a_detector_is_found_in_a_file_that_has_a_base(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("base: configs/detector/mask_rcnn_R50_FPN.yaml\nshort_side: 400\n")
    choice = read_model_choice(file)
    assert (choice.model, choice.short_side, choice.long_side) == (OWN["mask_rcnn_R50_FPN"][1], 400, 1333)
    file.write_text("base: nowhere.yaml\n")
    with pytest.raises(UsageError, match="names as its base"):
        read_model_choice(file)
