import json

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from carclf.classifier.catalogue import load_classifier
from carclf.classifier.checkpoint import load_model, save_model
from carclf.classifier.info import read_info
from carclf.classifier.network import Ensemble
from carclf.cli import app
from carclf.datasets.content import known_photos
from carclf.runs.recipe import TrainConfig
from carclf.tools.export.combine import combine
from carclf.training.start import first_network
from detection.common.errors import UsageError
from tests.carclf.tiny import CLASSES, save_tiny_model


@pytest.fixture
def runs(tmp_path):
    """Two run folders of networks that differ, on eight pictures; the fourth is held out by the first run only."""
    random = np.random.default_rng(0)
    files = []
    for number in range(8):
        files.append(str(tmp_path / f"{number}.png"))
        cv2.imwrite(files[-1], random.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    for name, turn in (("a", 0), ("b", 1)):
        file = save_tiny_model(tmp_path / name / "best.safetensors")
        net, info = load_model(file)
        with torch.no_grad():
            net.head[-1].bias += torch.tensor([2.0, 0.0, 0.0]).roll(turn)
        save_model(net, info, file)
        sides = ["val"] * 3 + (["train"] if turn else ["val"]) + ["train"] * 4
        labels = [CLASSES[number % 3] for number in range(8)]
        pd.DataFrame({"file": files, "label": labels, "split": sides}).to_csv(
            tmp_path / name / "split.csv", index=False
        )
    return [str(tmp_path / "a"), str(tmp_path / "b")]


def _geometric(one, other):
    product = np.sqrt(one * other)
    return product / product.sum(axis=1, keepdims=True)


def test_the_geometric_mean_is_taken_and_survive_the_file(runs, tmp_path):
    files = [f"{run}/best.safetensors" for run in runs]  # which do not say what they held out: nothing is calibrated
    combine(files, tmp_path / "both")
    crops = [np.random.default_rng(7).integers(0, 256, (50, 70, 3), dtype=np.uint8) for _ in range(3)]
    both = load_classifier(tmp_path / "both", "cpu")
    ours = [load_classifier(run, "cpu").predict(crops) for run in runs]
    assert np.abs(ours[0] - ours[1]).max() > 0.01
    np.testing.assert_allclose(both.predict(crops), _geometric(*ours), atol=1e-5)
    views = [load_classifier(run, "cpu").predict(crops, tta=2) for run in runs]
    assert np.abs(both.predict(crops, tta=2) - _geometric(*views)).max() < 0.02  # the views are averaged last


def test_members_of_two_architectures(runs, tmp_path):
    save_tiny_model(tmp_path / "b/best.safetensors", "mobilenetv3_small_075")
    combine([f"{run}/best.safetensors" for run in runs], tmp_path / "both")
    info = read_info(tmp_path / "both/best.safetensors")
    assert info.member_architectures == ("mobilenetv3_small_050", "mobilenetv3_small_075")
    crops = [np.random.default_rng(7).integers(0, 256, (50, 70, 3), dtype=np.uint8)]
    ours = [load_classifier(run, "cpu").predict(crops) for run in runs]
    both = load_classifier(tmp_path / "both", "cpu")
    np.testing.assert_allclose(both.predict(crops), _geometric(*ours), atol=1e-5)
    assert both.architecture == "mobilenetv3_small_050 + mobilenetv3_small_075"


def test_members_of_two_image_sizes(runs, tmp_path):
    net, info = load_model(tmp_path / "b/best.safetensors")
    save_model(net, info.model_copy(update={"image_size": (96, 128)}), tmp_path / "b/best.safetensors")
    files = [f"{run}/best.safetensors" for run in runs]
    combine(files, tmp_path / "both")
    info = read_info(tmp_path / "both/best.safetensors")
    assert info.image_size == (96, 128) and info.member_sizes == ((64, 64), (96, 128))
    assert info.shown_size == "64 + 96x128"
    rows, columns = np.mgrid[0:192, 0:256]
    crops = [np.dstack([rows, columns, 255 - rows]).astype(np.uint8)]  # smooth: resizing twice loses nothing
    ours = [load_classifier(file, "cpu").predict(crops) for file in files]
    assert np.abs(ours[0] - ours[1]).max() > 0.01
    np.testing.assert_allclose(load_classifier(tmp_path / "both", "cpu").predict(crops), _geometric(*ours), atol=5e-3)


def test_figures_are_of_photos_that_all_held_out(runs, tmp_path):
    metrics = combine(runs, tmp_path / "both")
    assert metrics["n"] == 3 and [member["model"] for member in metrics["members"]] == runs
    info = read_info(tmp_path / "both/best.safetensors")
    assert info.members == 2 and info.metrics["accuracy"] == metrics["accuracy"]
    assert json.loads((tmp_path / "both/metrics.json").read_text())["n"] == 3
    seen = pd.read_csv(tmp_path / "both/validation/predictions.csv")
    assert len(seen) == 3 and info.temperature != 1
    again = load_classifier(tmp_path / "both", "cpu").predict_files(seen["file"])
    np.testing.assert_allclose(again.max(axis=1), seen["confidence"], atol=1e-5)
    assert info.threshold == pytest.approx(seen["confidence"].min(), abs=1e-4)


def test_files_alone_are_not_measured(runs, tmp_path):
    result = CliRunner().invoke(
        app, ["combine", f"{runs[0]}/best.safetensors", runs[1], "--output", str(tmp_path / "both")]
    )
    assert result.exit_code == 0 and "not measured" in result.output
    assert read_info(tmp_path / "both/best.safetensors").metrics == {}


def test_an_ensemble_gives_its_first_member_to_a_training(runs, tmp_path):
    combine(runs, tmp_path / "both")
    model = {"architecture": "mobilenetv3_small_050", "pretrained": "none", "image_size": 64}
    config = TrainConfig(name="x", data="x", init=str(tmp_path / "both"), model=model, stages={"all": {}})
    first = first_network(config, CLASSES)
    whole, _ = load_model(tmp_path / "both/best.safetensors")
    assert isinstance(whole, Ensemble)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(first.net.eval()(images), whole.members[0](images))


def test_of_two_architectures_the_wanted_one_is_given(runs, tmp_path):
    save_tiny_model(tmp_path / "b/best.safetensors", "mobilenetv3_small_075")
    combine([f"{run}/best.safetensors" for run in runs], tmp_path / "both")
    model = {"architecture": "mobilenetv3_small_075", "pretrained": "none", "image_size": 64}
    config = TrainConfig(name="x", data="x", init=str(tmp_path / "both"), model=model, stages={"all": {}})
    own, _ = load_model(tmp_path / "b/best.safetensors")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(first_network(config, CLASSES).net.eval()(images), own(images))


def test_what_does_not_fit_is_one_sentence(runs, tmp_path):
    with pytest.raises(UsageError, match="at least two"):
        combine(runs[:1], tmp_path / "both")
    combine(runs, tmp_path / "both")
    with pytest.raises(UsageError, match="exists already"):
        combine(runs, tmp_path / "both")
    with pytest.raises(UsageError, match="is an ensemble already"):
        combine([runs[0], str(tmp_path / "both")], tmp_path / "more")
    net, info = load_model(tmp_path / "b/best.safetensors")
    save_model(net, info.model_copy(update={"mean": (0.1, 0.2, 0.3)}), tmp_path / "b/best.safetensors")
    with pytest.raises(UsageError, match="another normalisation"):
        combine(runs, tmp_path / "more")
    assert not (tmp_path / "more").exists()


def test_an_ensemble_knows_the_photos_of_all_its_members(runs, tmp_path):
    combine(runs, tmp_path / "both")
    files = [str(tmp_path / f"{number}.png") for number in range(8)]
    assert known_photos(tmp_path / "both" / "best.safetensors").trained_on(files) == [False] * 3 + [True] * 5
