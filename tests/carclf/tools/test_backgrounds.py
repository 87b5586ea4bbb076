"""`carclf compare-backgrounds`: one split and one detection for all styles, and what is done stays done."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from carclf.cli import app
from carclf.runs.recipe import TrainConfig
from carclf.tools.backgrounds.comparison import STYLES, compare_backgrounds
from carclf.tools.backgrounds.output import markdown, verdict
from carclf.tools.backgrounds.paired import PairedAccuracies
from detection.common.config import read_config, write_config
from detection.common.errors import UsageError
from detection.images.read import load_image
from tests.carclf.drawn import draw_folders
from tests.fakes import FakeDetector

STAGE = {"name": "all", "epochs": 1, "batch_size": 8, "image_size": 32, "learning_rate": 0.01}


@pytest.fixture
def photos(tmp_path):
    return draw_folders(tmp_path / "photos", each=6)


@pytest.fixture
def config(photos):
    model = {"architecture": "test_efficientnet", "pretrained": "none", "image_size": 32}
    return TrainConfig(
        data=photos, validation=0.34, workers=0, progress=False, device="cpu", model=model, stages=[STAGE]
    )


@pytest.fixture
def detectors(monkeypatch):
    """The detectors that were loaded; each knows how often it was asked."""
    loaded = []
    monkeypatch.setattr(
        "detection.detectors.load.load_detector", lambda *a, **k: loaded.append(FakeDetector()) or loaded[-1]
    )
    return loaded


@pytest.fixture
def trainings(monkeypatch):
    """The configs that were trained, by a stand-in whose answers depend on style and seed alone."""
    seen = []

    def train(config):
        seen.append(config)
        table = pd.read_csv(config.data, dtype=str)
        held = table[table["split"] == "val"].sort_values("file")
        right = np.arange(len(held)) < len(held) - (config.cutout.padding > 1) * 2 - config.seed % 2
        (config.output / "validation").mkdir(parents=True)
        write_config(config, config.output / "config.yaml")
        answers = pd.DataFrame({"file": held["file"], "correct": right})
        answers.to_csv(config.output / "validation" / "predictions.csv", index=False)
        (config.output / "metrics.json").write_text(json.dumps({"accuracy": right.mean(), "top5": 1.0, "seconds": 60}))
        return config.output

    monkeypatch.setattr("carclf.training.loop.train", train)
    return seen


def test_it_trains_for_real_and_says_which_is_best(config, tmp_path, detectors, monkeypatch):
    monkeypatch.setattr("carclf.training.loop._show", lambda run: None)
    results = compare_backgrounds(config, tmp_path / "out", ["raw", "white"], seeds=1)
    assert [row["style"] for row in results["styles"]] == ["raw", "white"]
    assert results["photos_to_train"] == 12 and results["photos_to_validate"] == 6 and results["classes"] == 3
    metrics = json.loads((tmp_path / "out/runs/white-seed1/metrics.json").read_text())
    assert results["styles"][1]["accuracy"] == pytest.approx(metrics["accuracy"], abs=1e-4)
    for name in ("results.csv", "results.md", "results.json", "results.png", "trainings.csv", "split.csv"):
        assert (tmp_path / "out" / name).stat().st_size > 0


def test_all_trainings_share_the_split_and_differ_in_the_photos(config, tmp_path, detectors, trainings):
    compare_backgrounds(config, tmp_path / "out", seeds=2)
    assert [(one.name, one.seed) for one in trainings] == [
        (f"train-{style}", seed) for seed in (1, 2) for style in STYLES
    ]
    assert sum(bool(detector.calls) for detector in detectors) == 1  # stage 1 once, for all styles
    tables = {style: pd.read_csv(tmp_path / f"out/data/{style}.csv") for style in STYLES}
    for style, table in tables.items():
        assert table[["label", "split"]].equals(tables["raw"][["label", "split"]]), style
    files = {style: table["file"][0] for style, table in tables.items()}
    pictures = {style: load_image(file) for style, file in files.items()}
    assert str(config.data) in files["raw"] and pictures["raw"].shape != pictures["box"].shape
    cut = [pictures[style] for style in STYLES[1:]]
    assert all(picture.shape == cut[0].shape for picture in cut)
    assert all((one != other).any() for number, one in enumerate(cut) for other in cut[:number])


def test_a_model_of_whole_photos_is_told_to_take_whole_photos(config, tmp_path, detectors, trainings):
    compare_backgrounds(config, tmp_path / "out", ["raw", "box", "blur"], seeds=1)
    styles = [(one.cutout.background, one.cutout.padding) for one in trainings]
    assert styles == [("keep", 10), ("keep", 0.05), ("blur", 0.05)]
    assert all(one.crops and not one.backgrounds for one in trainings)


def test_what_is_finished_is_not_done_again(config, tmp_path, detectors, trainings, monkeypatch):
    first = compare_backgrounds(config, tmp_path / "out", ["raw", "box"], seeds=1)
    assert compare_backgrounds(config, tmp_path / "out", ["raw", "box"], seeds=1) == first and len(trainings) == 2
    more = compare_backgrounds(config, tmp_path / "out", ["raw", "gray", "box"], seeds=2)
    assert [(one.name, one.seed) for one in trainings[2:]] == [
        ("train-gray", 1), ("train-raw", 2), ("train-gray", 2), ("train-box", 2),
    ]  # fmt: skip
    assert more["seeds"] == 2 and sum(bool(detector.calls) for detector in detectors) == 1


def test_a_killed_comparison_goes_on_in_the_training_that_was_cut_off(
    config, tmp_path, detectors, trainings, monkeypatch
):
    from carclf.training import loop as training

    stand_in = training.train

    def killed(one):
        if len(trainings) == 2:
            one.output.mkdir(parents=True)
            write_config(one, one.output / "config.yaml")
            raise KeyboardInterrupt
        return stand_in(one)

    monkeypatch.setattr("carclf.training.loop.train", killed)
    with pytest.raises(KeyboardInterrupt):
        compare_backgrounds(config, tmp_path / "out", ["raw", "box", "white"], seeds=1)
    split = (tmp_path / "out/split.csv").read_bytes()
    resumed = []
    monkeypatch.setattr("carclf.training.loop.train", lambda one: resumed.append(one) or _finish(one, stand_in))
    results = compare_backgrounds(config, tmp_path / "out", ["raw", "box", "white"], seeds=1)
    assert [(one.name, one.resume) for one in resumed] == [("train-white", True)]
    assert (tmp_path / "out/split.csv").read_bytes() == split and len(results["styles"]) == 3


def _finish(one, stand_in):
    (one.output / "config.yaml").unlink()
    return stand_in(one)


def test_the_results_are_those_of_the_answers(config, tmp_path, detectors, trainings):
    compare_backgrounds(config, tmp_path / "out", ["raw", "box"], seeds=2)
    rows = pd.read_csv(tmp_path / "out/results.csv", index_col="style")
    # Of 6 photos the stand-in misses 2 when they are whole, and one more with seed 1.
    assert rows.loc["raw", "accuracy"] == pytest.approx(3.5 / 6, abs=1e-4)
    assert rows.loc["box", "accuracy"] == pytest.approx(5.5 / 6, abs=1e-4)
    assert rows.loc["box", "difference"] == pytest.approx(2 / 6, abs=1e-4)
    assert (rows.loc["box", "least_of_seeds"], rows.loc["box", "most_of_seeds"]) == (0.8333, 1.0)
    trained = pd.read_csv(tmp_path / "out/trainings.csv")
    assert trained["accuracy"].round(4).tolist() == [0.5, 0.6667, 0.8333, 1.0]
    assert {"style", "seed", "top5", "seconds", "run"} <= set(trained)


def test_the_command_prints_the_table(config, photos, tmp_path, detectors, trainings):
    file = tmp_path / "recipe.yaml"
    write_config(config, file)
    arguments = ["compare-backgrounds", str(photos), "--config", str(file), "--styles", "raw, box", "--seeds", "1"]
    result = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / "out"), "seed=4"])
    assert result.exit_code == 0, result.output
    assert "raw" in result.stdout and "Best is box" in result.stdout and "0.667" in result.stdout
    assert trainings[0].seed == 4


@pytest.mark.parametrize(
    ("change", "styles", "said"),
    [
        ({}, ["raw", "pink"], "Unknown style 'pink'"),
        ({}, ["raw"], "two or more"),
        ({}, ["raw", "raw"], "different styles"),
        ({"crops": True}, ["raw", "box"], "holds cut-outs"),
    ],
)
def test_wrong_wishes_are_one_sentence(config, tmp_path, change, styles, said):
    with pytest.raises(UsageError, match=said):
        compare_backgrounds(config.model_copy(update=change), tmp_path / "out", styles, seeds=1)
    assert not (tmp_path / "out").exists()


def test_another_recipe_or_other_photos_need_another_output(config, photos, tmp_path, detectors, trainings):
    compare_backgrounds(config, tmp_path / "out", ["raw", "box"], seeds=1)
    with pytest.raises(UsageError, match=r"other settings \(weight_decay\)"):
        compare_backgrounds(config.model_copy(update={"weight_decay": 0.5}), tmp_path / "out", ["raw", "box"], seeds=1)
    (photos / "red" / "0.jpg").unlink()
    with pytest.raises(UsageError, match="not those that"):
        compare_backgrounds(config, tmp_path / "out", ["raw", "box"], seeds=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").touch()
    with pytest.raises(UsageError, match="is not a comparison"):
        compare_backgrounds(config, tmp_path / "mine", ["raw", "box"], seeds=1)


def _paired(**rights):
    """Models that know the first so many of 200 photos."""
    return PairedAccuracies({name: np.tile(np.arange(200) < right, (2, 1)) for name, right in rights.items()})


def test_the_verdict_says_what_is_beyond_noise():
    said = verdict(_paired(raw=120, box=180, white=179, blur=140), "raw")
    assert said.startswith("Best is box (box crop) with 0.900 (")
    assert "It beats raw: +0.300 (" in said and "better than blur beyond noise" in said
    assert "Not told apart from it: white." in said and "all 3 comparisons" in said


def test_the_verdict_admits_noise():
    said = verdict(_paired(raw=179, box=180), "raw")
    assert "Noise alone could make it look better than raw: +0.005" in said
    said = verdict(_paired(raw=180, box=179), "raw")
    assert said.startswith("Best is raw") and "Not told apart from it: box." in said and "beats" not in said


def test_the_markdown_is_a_table(config, tmp_path, detectors, trainings):
    results = compare_backgrounds(config, tmp_path / "out", ["raw", "box"], seeds=1)
    lines = markdown(results).splitlines()
    assert lines[0].startswith("| style | accuracy |") and lines[2].startswith("| raw | 0.500 |")
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert (tmp_path / "out/results.md").read_text() == markdown(results)
    assert read_config(TrainConfig, tmp_path / "out/settings.yaml") == config
