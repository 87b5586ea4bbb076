import json

import pytest

from carclf.datasets import read_table
from carclf.runs.recipe import TrainConfig
from carclf.training.data.crops import map_to_crops, prepare_crops
from detection.common.errors import UsageError
from detection.cutout.cut import CutoutStyle
from detection.folder.run import clean_folder
from detection.images.read import load_image
from tests.carclf.drawn import draw_folders
from tests.fakes import FakeDetector


@pytest.fixture
def root(tmp_path):
    root = draw_folders(tmp_path / "photos", each=3)
    (root / "red" / "0.jpg").rename(root / "red" / "0.JPEG")
    (root / "blue" / "broken.jpg").write_bytes(b"")
    return root


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr("detection.detectors.load.load_detector", lambda *args, **kwargs: FakeDetector())


STYLE = CutoutStyle(background="black", padding=0.0)


def test_raw_photos_go_through_stage_1_and_a_folder_of_crops_is_used_again(root, tmp_path, fake):
    config = TrainConfig(data=root, crops_dir=tmp_path / "crops", cutout=STYLE, detector="fake")
    table, style, detector = prepare_crops(config, tmp_path / "run")
    assert (style, detector) == (STYLE, "fake")
    assert table["label"].value_counts().to_dict() == {"red": 3, "green": 3, "blue": 3}  # broken.jpg is left out
    assert all(file.startswith(str(tmp_path / "crops")) for file in table["file"])
    assert load_image(table["file"][0]).shape != load_image(root / "blue/0.jpg").shape
    before = (tmp_path / "crops" / "blue" / "0.jpg").stat().st_mtime_ns
    again, _, _ = prepare_crops(config, tmp_path / "other-run")
    assert again.equals(table)
    assert (tmp_path / "crops" / "blue" / "0.jpg").stat().st_mtime_ns == before


def test_a_crop_on_each_background_from_one_detection(root, tmp_path, monkeypatch):
    detectors = []
    monkeypatch.setattr(
        "detection.detectors.load.load_detector", lambda *a, **k: detectors.append(FakeDetector()) or detectors[-1]
    )
    style = STYLE.model_copy(update={"background": "keep"})
    shares = {"keep": 0.5, "white": 0.25, "gray": 0.25}
    config = TrainConfig(data=root, crops_dir=tmp_path / "crops", cutout=style, detector="fake", backgrounds=shares)
    table, style, _ = prepare_crops(config, tmp_path / "run")
    assert style.background == "keep" and table["file"].equals(table["file_keep"]) and len(table) == 9
    keep, white, gray = (load_image(table[f"file_{name}"][0]) for name in shares)
    assert keep.shape == white.shape == gray.shape
    assert not (keep == white).all() and not (white == gray).all()
    assert sum(bool(detector.calls) for detector in detectors) == 1


def test_a_csv_with_a_photo_folder(root, tmp_path, fake):
    listed = tmp_path / "labels.csv"
    listed.write_text("file,class\nred/0.JPEG,a\ngreen/1.jpg,b\nblue/broken.jpg,b\n")
    config = TrainConfig(data=listed, images=root, detector="fake")
    table, _, _ = prepare_crops(config, tmp_path / "run")
    assert sorted(table["label"]) == ["a", "b"]
    assert all(file.startswith(str(tmp_path / "run" / "crops")) for file in table["file"])


def test_crops_that_exist_bring_their_own_style(root, tmp_path):
    clean_folder(root, tmp_path / "cut", FakeDetector(), STYLE, progress=False)
    for data in ({"data": tmp_path / "cut"}, {"data": tmp_path / "cut", "crops": True}):
        table, style, detector = prepare_crops(TrainConfig(**data), tmp_path / "run")
        assert (style, detector, len(table)) == (STYLE, "fake", 9)
    (tmp_path / "cut" / "settings.json").write_text(json.dumps({"padding": 1}))
    with pytest.raises(UsageError, match="settings"):
        prepare_crops(TrainConfig(data=tmp_path / "cut"), tmp_path / "run")


def test_crops_from_elsewhere_take_the_style_of_the_config(root, tmp_path):
    table, style, detector = prepare_crops(TrainConfig(data=root, crops=True, cutout=STYLE), tmp_path / "run")
    assert (style, detector) == (STYLE, "compact")
    assert set(table["file"]) == set(read_table(root)["file"])


def test_no_crop_at_all_is_one_sentence(root, tmp_path):
    (tmp_path / "manifest.csv").write_text("source,output,status\nred/1.jpg,,unreadable\n")
    with pytest.raises(UsageError, match="no crop for any"):
        map_to_crops(read_table(root), root, tmp_path)


def test_crops_by_the_boxes_of_the_data(root, tmp_path):
    listed = tmp_path / "labels.csv"
    listed.write_text('file,class,box\nred/0.JPEG,a,"2,3,22,13"\ngreen/1.jpg,b,"0,0,10,10"\n')
    config = TrainConfig(data=listed, images=root, boxes=True, cutout={"background": "keep", "padding": 0.1})
    table, style, _ = prepare_crops(config, tmp_path / "run")
    assert list(table["label"]) == ["b", "a"] and style.background == "keep"
    assert [load_image(file).shape for file in table["file"]] == [(11, 11, 3), (14, 24, 3)]
    with pytest.raises(UsageError, match="boxes=true needs data that bring boxes"):
        prepare_crops(config.model_copy(update={"data": root, "images": None}), tmp_path / "other")
