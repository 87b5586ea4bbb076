import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from carclf.classifier.classifier import TorchClassifier
from carclf.classifier.contract import temper
from carclf.classifier.info import read_info
from carclf.cli import app
from carclf.evaluation.calibrate import calibrate_file, halves, judge
from carclf.evaluation.confidence import fit_confidence
from tests.carclf.tiny import CLASSES, save_tiny_model


@pytest.fixture
def crops(tmp_path):
    """Noise, labelled with what the tiny model says of it, but for two."""
    random = np.random.default_rng(0)
    files = []
    for number in range(12):
        files.append(str(tmp_path / f"{number}.png"))
        tint = random.integers(0, 256, 3)
        Image.fromarray(np.clip(random.normal(tint, 40, (48, 64, 3)), 0, 255).astype(np.uint8)).save(files[-1])
    said = (
        TorchClassifier.load(save_tiny_model(tmp_path / "tiny.safetensors"), "cpu").predict_files(files).argmax(axis=1)
    )
    labels = [CLASSES[number] for number in said]
    labels[0], labels[1] = (CLASSES[(said[number] + 1) % 3] for number in (0, 1))
    return pd.DataFrame({"file": files, "label": labels})


def test_a_file_learns_how_sure_it_may_be(crops, tmp_path):
    path = tmp_path / "tiny.safetensors"
    before = TorchClassifier.load(path, "cpu").predict_files(crops["file"])
    classifier, probabilities = calibrate_file(path, crops, "cpu")
    info = read_info(path)
    assert info.temperature != 1 and 0 < info.threshold < 1 and classifier.threshold == info.threshold
    np.testing.assert_allclose(probabilities, temper(before, info.temperature), atol=1e-6)
    np.testing.assert_allclose(classifier.predict_files(crops["file"]), probabilities, atol=1e-6)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), before.argmax(axis=1))
    assert (probabilities.max(axis=1) >= info.threshold).all()  # of twelve none can be lost
    calibrate_file(path, crops, "cpu")  # from the raw answers again, not from tempered ones
    assert read_info(path).temperature == info.temperature


def test_known_and_others_are_told_apart():
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 400)
    known = temper(np.eye(4)[truth] * 0.8 + random.dirichlet(np.ones(4), 400) * 0.2, 2.0)
    known[7] = np.nan  # no car was found
    others = random.dirichlet(np.full(4, 5.0), 50)
    trust = judge(known, truth, {"others": others, "nothing": np.full((5, 4), np.nan)}, lost=0.05)
    assert trust.others["others"]["auroc"] > 0.95 and trust.others["others"]["found"] == 1
    assert trust.others["nothing"]["named"] == 0 and np.isnan(trust.others["nothing"]["auroc"])
    assert 0.03 < trust.figures["lost"] <= 0.053 and trust.figures["photos"] == 400
    assert trust.figures["ece"] < trust.figures["ece_before"]


def test_each_half_reports_on_what_the_other_has_chosen():
    random = np.random.default_rng(1)
    truth = random.integers(0, 4, 200)
    known = temper(np.eye(4)[truth] * 0.6 + random.dirichlet(np.ones(4), 200) * 0.4, 3.0)
    truth[:50] = random.integers(0, 4, 50)
    half = random.random(200) < 0.4
    known[half] = temper(known[half], 0.3)  # the halves want different temperatures
    figures = judge(known, truth, {}, lost=0.1, half=half).figures
    lost = 0
    for side in (half, ~half):
        _, temperature, threshold = fit_confidence(known[~side], truth[~side], 0.1)
        lost += (temper(known[side], temperature).max(axis=1) < threshold).sum()
    assert figures["lost_held_out"] == pytest.approx(lost / 200) and figures["lost"] <= 0.1
    assert figures["ece_held_out"] > figures["ece"]
    assert (figures["first_half"], figures["second_half"]) == (half.sum(), 200 - half.sum())


def test_halves_are_told_by_content(crops, tmp_path):
    first = halves(crops)
    assert 0 < first.sum() < len(first)
    moved = crops.assign(file=[shutil.copy(file, tmp_path / f"again-{number}.png")
                               for number, file in enumerate(crops["file"])])  # fmt: skip
    assert halves(moved[::-1]).tolist() == first[::-1].tolist()


@pytest.mark.slow
def test_the_command_measures_through_the_chain(crops, tmp_path):
    """With the real detector, which finds nothing in noise: no photo is lost, and nothing is chosen by nothing."""
    table = tmp_path / "labels.csv"
    crops.rename(columns={"label": "class"}).to_csv(table, index=False)
    (tmp_path / "others").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "others/black.png")
    path = tmp_path / "tiny.safetensors"
    arguments = ["calibrate", str(path), "--data", str(table), "--others", str(tmp_path / "others")]
    content = path.read_bytes()
    result = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "known cars, photos: 12" in result.output and "measured only" in result.output
    assert path.read_bytes() == content
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and "only 12 photos" in result.output and path.read_bytes() == content


def test_bundled_models_stay_as_they_are(crops, tmp_path):
    crops.rename(columns={"label": "class"}).to_csv(tmp_path / "labels.csv", index=False)
    result = CliRunner().invoke(app, ["calibrate", "bundled", "--data", str(tmp_path / "labels.csv")])
    assert result.exit_code == 2 and "copy its file" in result.output
