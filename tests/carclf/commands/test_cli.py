"""The `carclf` command: rows, formats, exit codes and what it says when it is used wrongly."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys

import pytest

from carclf.commands.clean import clean
from detection.common.errors import UsageError
from detection.cutout.cut import CutoutStyle
from detection.folder.options import CleanOptions
from detection.version import __version__
from tests.carclf.tiny import CLASSES
from tests.carclf.wrong_usage import sentence
from tests.fakes import FakeDetector, draw_car


@pytest.mark.parametrize("arguments", [["predict"], ["predict", "x", "--top", "0"], ["fly"], ["clean", "one"]])
def test_missing_or_wrong_arguments_exit_2(carclf, arguments):
    assert carclf(*arguments).exit_code == 2


def labelled(photos, names) -> str:
    path = photos / "labels.csv"
    path.write_text("file,class\n" + "".join(f"{file},{label}\n" for file, label in names.items()))
    return str(path)


def test_evaluate_runs_the_chain_on_raw_photos(carclf, photos, model, tmp_path):
    data = labelled(photos, {"red.jpg": CLASSES[0], "grey.jpg": CLASSES[1], "sub/blue.png": CLASSES[1]})
    result = carclf("evaluate", model, "--data", data, "--images", photos, "--output", tmp_path / "figures")
    metrics = json.loads((tmp_path / "figures" / "metrics.json").read_text())
    assert result.exit_code == 0
    assert metrics["n"] == 3 and metrics["status"] == {"ok": 2, "no_car": 1}
    assert {"accuracy", "top5", "macro_f1"} <= set(metrics)
    assert (tmp_path / "figures" / "confusion.png").is_file() and (tmp_path / "figures" / "report.html").is_file()
    low, high = metrics["intervals"]["accuracy"]
    assert f"accuracy: {metrics['accuracy']:.4f} (95 %: {low:.4f} to {high:.4f})" in result.output


def test_evaluate_leaves_the_figures_of_a_run_alone(carclf, photos, model, tmp_path):
    (tmp_path / "config.yaml").write_text("name: x\n")
    data = labelled(photos, {"red.jpg": CLASSES[0]})
    assert "the folder of a training" in sentence(carclf("evaluate", model, "--data", data, "--output", tmp_path))
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".json"] == []


def test_evaluate_of_crops_uses_no_detector(carclf, photos, model, tmp_path, monkeypatch):
    monkeypatch.setattr("carclf.recognition.loading._load_detector", lambda *_: pytest.fail("loaded"))
    data = labelled(photos, {"red.jpg": CLASSES[0], "grey.jpg": CLASSES[1]})
    assert carclf("evaluate", model, "--data", data, "--output", tmp_path / "figures", "--crops").exit_code == 0
    assert json.loads((tmp_path / "figures" / "metrics.json").read_text())["answered"] == 2


def test_evaluate_names_labels_that_the_model_does_not_know(carclf, photos, model, tmp_path):
    data = labelled(photos, {"red.jpg": CLASSES[0], "grey.jpg": "Tesla"})
    said = sentence(carclf("evaluate", model, "--data", data, "--output", tmp_path / "figures"))
    assert "'Tesla'" in said and not (tmp_path / "figures").exists()


def test_clean_writes_cutouts_and_tells_the_counts(carclf, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("detection.detectors.load.load_detector", lambda *_, **__: FakeDetector())
    output = tmp_path / "cut"
    result = carclf("clean", photos, output, "--background", "black", "--format", "png")
    assert result.exit_code == 0
    assert "3 photos: 2 ok, 1 no_car" in result.stdout and str(output / "manifest.csv") in result.stdout
    assert (output / "sub" / "blue.png").is_file() and (output / "red.png").is_file()


def test_clean_refuses_a_style_that_there_is_not(carclf, photos, tmp_path):
    assert "background" in sentence(carclf("clean", photos, tmp_path / "cut", "--background", "purple"))
    assert "padding" in sentence(carclf("clean", photos, tmp_path / "cut", "--padding", "-1"))


def test_clean_needs_two_folders(carclf, photos):
    assert "not 1: carclf clean IN OUT" in sentence(carclf("clean", photos))
    assert "not 3" in sentence(carclf("clean", photos, photos, photos))


def test_clean_dry_run_loads_nothing_and_writes_nothing(carclf, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("detection.detectors.load.load_detector", lambda *_, **__: pytest.fail("loaded"))
    result = carclf("clean", photos, tmp_path / "cut", "--dry-run", "--format", "webp", "--quality", "80")
    assert result.exit_code == 0 and not (tmp_path / "cut").exists()
    assert "3 to do" in result.stdout and "as webp, quality 80" in result.stdout
    assert "sub/blue.png -> sub/blue.webp" in result.stdout


def test_clean_on_several_devices(carclf, photos, tmp_path, monkeypatch):
    asked = []

    def load(name, device, **_):
        asked.append(device)
        return FakeDetector()

    monkeypatch.setattr("detection.detectors.load.load_detector", load)
    result = carclf("clean", photos, tmp_path / "cut", "--devices", "cpu, cpu", "--max-size", "20", "--all-vehicles")
    assert result.exit_code == 0 and asked == ["cpu", "cpu"]
    assert (tmp_path / "cut" / "red-1.jpg").is_file() and "Bound by " in result.stdout


def test_clean_in_shards_and_merge(carclf, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("detection.detectors.load.load_detector", lambda *_, **__: FakeDetector())
    outs = [tmp_path / "one", tmp_path / "two"]
    for number, out in enumerate(outs, 1):
        assert carclf("clean", photos, out, "--shard", f"{number}/2").exit_code == 0
    assert "are missing" in sentence(carclf("clean", outs[0], "--merge"))
    result = carclf("clean", *outs, tmp_path / "all", "--merge")
    assert result.exit_code == 0 and "3 photos: 2 ok, 1 no_car (merged from 2 shards)" in result.stdout
    assert (tmp_path / "all" / "manifest.csv").is_file() and (tmp_path / "all" / "red.jpg").is_file()
    assert "is not a shard" in sentence(carclf("clean", photos, tmp_path / "x", "--shard", "half"))


def test_clean_reuses_detections(carclf, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("detection.detectors.load.load_detector", lambda *_, **__: FakeDetector())
    assert carclf("clean", photos, tmp_path / "one", "--save-detections").exit_code == 0
    monkeypatch.setattr("detection.detectors.load.load_detector", lambda *_, **__: pytest.fail("loaded"))
    file = tmp_path / "one" / "detections.jsonl"
    result = carclf("clean", photos, tmp_path / "two", "--detections", file, "--background", "blur", "--contact-sheet")
    assert result.exit_code == 0 and "3 photos: 2 ok, 1 no_car" in result.stdout
    assert (tmp_path / "two" / "contact-sheet" / "page-00001.jpg").is_file()


def test_train_refuses_unknown_settings(carclf, tmp_path):
    config = tmp_path / "train.yaml"
    config.write_text(f"data: {tmp_path}\n")
    assert "'epocs'" in sentence(carclf("train", config, "epocs=3"))
    assert "no config file" in sentence(carclf("train", tmp_path / "gone.yaml"))


def test_help_and_version_import_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from carclf.cli import app;"
        "runs = [CliRunner().invoke(app, args) for args in (['--help'], ['predict', '--help'], ['--version'])];"
        "print([run.exit_code for run in runs], runs[2].stdout.strip(),"
        "sorted({'torch', 'pandas', 'cv2', 'numpy', 'timm', 'detectron2', 'pi_heif', 'rawpy',"
        "'pillow_jxl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"[0, 0, 0] carclf {__version__} []\n"


def test_a_drawn_car_is_what_the_fake_finds():
    assert len(FakeDetector().detect([draw_car()])[0]) == 1


def test_ctrl_c_ends_quietly(carclf, photos, model, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("carclf.evaluation.chain.evaluate_chain", interrupt)
    data = labelled(photos, {"red.jpg": CLASSES[0]})
    result = carclf("evaluate", model, "--data", data, "--output", tmp_path / "figures")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "Stopped.\n")


def test_all_vehicles_has_two_spellings_in_both_verbs_and_shows_one(carclf, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("detection.detectors.load.load_detector", lambda name, device, **_: FakeDetector())
    for spelling in ("--all-vehicles", "--every-vehicle"):
        assert carclf("clean", photos, tmp_path / spelling, spelling).exit_code == 0
        assert (tmp_path / spelling / "red-1.jpg").is_file()
    for verb in ("clean", "predict"):
        shown = carclf(verb, "--help").output
        assert "--all-vehicles" in shown and "--every-vehicle" not in shown


def test_clean_has_an_option_with_the_same_default_for_each_field():
    """They are written twice, as `carclf --help` is to load neither pydantic nor OpenCV; here they are compared."""
    options = inspect.signature(clean).parameters
    names = {"image_format": "format", "watch": "interval"}
    for schema in (CutoutStyle, CleanOptions):
        for name, field in schema.model_fields.items():
            if name in ("studio", "review", "whole_photos"):  # of other verbs
                continue
            default = options[names.get(name, name)].default
            if name not in ("shard", "watch"):  # as typed: text
                assert (() if name == "exclude" and default is None else default) == field.default, name


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home folder; where the test works is another one, which gets no folder called `~`."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    yield tmp_path / "home"
    assert not (tmp_path / "work" / "~").exists()


def test_a_tilde_is_the_home_folder_in_every_verb(carclf, photos, model, home):
    shutil.copytree(photos, home / "photos")
    shutil.copy(model, home / "tiny.safetensors")
    for number, argument in enumerate(["--output=~/names.csv", "--output"]):
        more = ["~/deep/names2.csv"] if number else []
        assert carclf("predict", "~/photos", "--model", "~/tiny.safetensors", argument, *more).exit_code == 0
    assert (home / "names.csv").is_file() and (home / "deep" / "names2.csv").is_file()
    labelled(home / "photos", {"red.jpg": CLASSES[0], "grey.jpg": CLASSES[1]})
    assert "2 photos" in carclf("data", "check", "~/photos/labels.csv", "--csv=~/check.csv").stdout
    assert carclf("prepare", "~/photos/labels.csv", "~/sorted", "--test", "0").exit_code == 0
    assert (home / "sorted").is_dir() and (home / "check.csv").is_file()
    assert carclf("clean", "~/photos", "~/cut", "--dry-run").exit_code == 0


def test_a_tilde_is_the_home_folder_in_configs_and_calls(photos, home):
    from carclf.classifier.catalogue import find_model
    from carclf.runs.recipe import TrainConfig
    from detection.common.config import read_config
    from detection.common.files import cache_folder
    from tests.folder_runs import run

    (home / "recipe.yaml").write_text("data: ~/photos\noutput: ~/runs/x\n")
    config = read_config(TrainConfig, "~/recipe.yaml")
    assert (str(config.data), str(config.output)) == (f"{home}/photos", f"{home}/runs/x")
    assert str(read_config(TrainConfig, "~/recipe.yaml", ["output=~/y"]).output) == f"{home}/y"
    run(photos, "~/out")
    assert (home / "out" / "manifest.csv").is_file()
    with pytest.raises(UsageError, match="is not a .safetensors file"):
        find_model("~/recipe.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARCLF_CACHE", "~/cache")
        assert cache_folder() == home / "cache"
