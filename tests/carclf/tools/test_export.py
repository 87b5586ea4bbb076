"""`carclf export`: refusals, replacing, the comparison, and once the whole of it."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from carclf.classifier.checkpoint import load_model, save_model
from carclf.cli import app
from carclf.recognition.recognizer import CarRecognizer
from carclf.tools.export import folder as exporting
from carclf.tools.export.folder import FILES, _beside, _photos, _replace, check_output, export_model
from carclf.tools.export.parity import Parity, check_parity
from carclf.tools.export.timing import compare_times
from detection.common.errors import UsageError
from detection.detectors.onnx.folder import EXPORT_FILE
from detection.images.find import find_images
from tests.carclf.tiny import CLASSES, save_tiny_model
from tests.fakes import FakeDetector


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors", "test_efficientnet")


def _changed(model, path, **changes):
    net, info = load_model(model)
    save_model(net, info.model_copy(update=changes), path)
    return str(path)


def test_only_a_new_folder_or_an_export_is_written(tmp_path):
    check_output(tmp_path / "new")
    check_output(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match="exists and is not an export"):
        check_output(tmp_path)
    (tmp_path / EXPORT_FILE).write_text("{}")
    with pytest.raises(UsageError, match=r"holds 'photo.jpg', which is not part of an export"):
        check_output(tmp_path)
    (tmp_path / "photo.jpg").unlink()
    check_output(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        check_output(tmp_path / EXPORT_FILE)


def test_an_export_replaces_the_old_one_as_a_whole(tmp_path):
    output = tmp_path / "deep" / "export"
    for round in ("first", "second"):
        with _beside(output) as draft:
            (draft / EXPORT_FILE).write_text(round)
            (draft / round).touch()
            _replace(draft, output)
    assert {path.name for path in output.iterdir()} == {EXPORT_FILE, "second"}
    with pytest.raises(RuntimeError), _beside(output) as draft:
        raise RuntimeError("on the way")
    assert [path.name for path in output.parent.iterdir()] == ["export"], "nothing is left beside it"
    assert (output / EXPORT_FILE).read_text() == "second"


def test_other_detectors_are_refused(model, tmp_path):
    other = _changed(model, tmp_path / "m.safetensors", detector="COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x")
    with pytest.raises(UsageError, match="only 'compact' can be exported"):
        export_model(other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "There is no model 'nowhere'"),
        (["{model}", "--photos", "{empty}"], "holds no photo"),
        (["{model}", "--photos", "{empty}/none"], "There is no folder"),
    ],
)
def test_wrong_usage_is_one_sentence(model, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    arguments = [one.format(model=model, empty=tmp_path / "empty") for one in arguments]
    result = CliRunner().invoke(app, ["export", *arguments, "--output", str(tmp_path / "out")])
    assert result.exit_code == 2 and message in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_photos_are_spread_evenly_or_drawn(photos):
    with _photos(photos, 2, print) as some:
        assert [file.name for file in some] == ["grey.jpg", "blue.png"]
    with _photos(None, 2, lambda text: None) as drawn:
        assert len(drawn) == 2 and all(file.is_file() for file in drawn)
    assert not any(file.exists() for file in drawn)


def test_equal_models_have_parity_and_times(model, photos):
    one, other = (CarRecognizer(str(model), FakeDetector(), "cpu", top=3) for _ in range(2))
    (photos / "broken.jpg").write_bytes(b"no photo")
    parity = check_parity(one, other, find_images(photos))
    assert parity.holds() and (parity.photos, parity.vehicles) == (3, 2)
    assert parity.mask_iou == 1 and not parity.others
    times = compare_times(one, other, find_images(photos)[1:])
    assert times["photos"] == 3 and 0.2 < times["ratio"] < 5


def test_a_model_that_answers_differently_has_none(model, photos, tmp_path):
    net, info = load_model(model)
    with torch.no_grad():
        net.head[-1].bias += torch.tensor([50.0, 0.0, 0.0])
    save_model(net, info, tmp_path / "turned.safetensors")
    names = {"one": model, "other": tmp_path / "turned.safetensors"}
    one, other = (CarRecognizer(str(name), FakeDetector(), "cpu", top=3) for name in names.values())
    first = {one(str(file)).label for file in (photos / "red.jpg", photos / "sub/blue.png")}
    assert first != {CLASSES[0]}, "else the change would not show"
    parity = check_parity(one, other, find_images(photos))
    assert not parity.holds() and parity.same_cutouts < 1 and parity.cutout_difference > 0.01
    assert parity.others and set(parity.others) <= {"red.jpg", "blue.png"}


@pytest.mark.parametrize(
    ("figures", "holds"),
    [
        ({}, True),
        ({"same_cutouts": 0.995, "same_answers": 0.995, "cutout_difference": 0.01}, True),
        ({"same_cutouts": 0.9949}, False),
        ({"same_answers": 0.9949}, False),
        ({"cutout_difference": 0.0101}, False),
        ({"photos": 0}, False),
    ],
)
def test_the_limits(figures, holds):
    assert Parity(**({"photos": 200} | figures)).holds() is holds


def test_a_missed_parity_leaves_the_old_export(model, photos, tmp_path, monkeypatch):
    output = tmp_path / "export"
    output.mkdir()
    (output / EXPORT_FILE).write_text("old")
    missed = Parity(photos=3, same_cutouts=0.5)
    monkeypatch.setattr(exporting, "_write", lambda *_: {"format": "x"})  # what is written is not tested here
    times = {"photos": 3, "model": 0.2, "export": 0.1, "ratio": 2.0}
    monkeypatch.setattr(exporting, "_compare", lambda *_: (missed, times))
    arguments = ["export", str(model), "--output", str(output), "--photos", str(photos)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1 and "does not answer as the model does" in result.stderr
    assert "50.00%" in result.stdout and (output / EXPORT_FILE).read_text() == "old"


@pytest.mark.slow
def test_the_whole_of_it(model, tmp_path):
    """Exported, replaced, and used by the command; no torch on the way."""
    output = tmp_path / "export"
    for _ in range(2):
        result = CliRunner().invoke(app, ["export", str(model), "--output", str(output), "--limit", "4"])
        assert result.exit_code == 0, result.output
    assert "times as fast" in result.stdout and {path.name for path in output.iterdir()} == FILES
    about = json.loads((output / EXPORT_FILE).read_text())
    assert about["parity"]["photos"] == 4 and about["parity"]["same_answers"] == 1
    assert about["parity"]["mask_iou"] > 0.99 and about["model"] == "tiny.safetensors"
    with _photos(None, 3, lambda text: None) as files:
        answers = [CarRecognizer(str(name))(list(map(str, files))) for name in (model, output)]
        for one, other in zip(*answers, strict=True):
            assert (one.status, one.label) == (other.status, other.label)
            np.testing.assert_allclose(one.box, other.box, atol=1.5)  # the model's boxes may be in half precision
