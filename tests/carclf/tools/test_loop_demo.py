"""The whole circle on small drawn photos: faults are planted, listed, corrected, and the gain is on one page."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from carclf.cli import app
from carclf.datasets.content import content_digests
from carclf.datasets.corrections.apply import read_corrections
from carclf.runs.recipe import ModelConfig, Stage
from carclf.tools.demo.loop.faults import Verdict, plant_faults, write_journal
from carclf.tools.demo.loop.run import LoopPlan, run_loop
from detection import UsageError
from tests.carclf.checked_html import check_page
from tests.carclf.drawn import draw_folders
from tests.carclf.short_runs import MODEL, short_stage
from tests.carclf.tiny import save_tiny_model
from tests.carclf.wrong_usage import sentence

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def no_pictures():
    import carclf.training.loop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(carclf.training.loop, "_show", lambda run: None)
        yield


def test_faults_are_planted_by_the_seed_and_leave_each_class_two_photos():
    labels = ["a"] * 30 + ["b"] * 20 + ["c"] * 3
    planted = plant_faults(labels, 0.2, 4)
    moved = [now != then for now, then in zip(planted, labels, strict=True)]
    assert sum(moved) == 11 and set(planted) == {"a", "b", "c"}
    assert planted == plant_faults(labels, 0.2, 4) != plant_faults(labels, 0.2, 5)
    kept = plant_faults(labels, 0.5, 4)
    for name in "abc":
        assert sum(now == then == name for now, then in zip(kept, labels, strict=True)) >= 2
    assert plant_faults(["a", "a", "b", "b"], 0.5, 1) == ["a", "a", "b", "b"]


def test_decisions_are_a_journal_that_is_read_again(tmp_path):
    (tmp_path / "one.jpg").write_bytes(b"1")
    (tmp_path / "two.jpg").write_bytes(b"2")
    first, second = content_digests([str(tmp_path / name) for name in ("one.jpg", "two.jpg")])
    write_journal(
        [Verdict("one.jpg", "a", "b", "b", 0.9, first), Verdict("two.jpg", "a", "b", "a", 0.8, second)],
        tmp_path / "corrections.jsonl",
    )
    lines = [json.loads(line) for line in (tmp_path / "corrections.jsonl").read_text().splitlines()]
    assert lines[0]["corrections"] == 1 and [line["decision"] for line in lines[1:]] == ["class", "accept"]
    assert len({line["id"] for line in lines[1:]}) == 2 and lines[1]["old"] == "a"
    decided = read_corrections(tmp_path)
    assert (decided.find(first).new, decided.find(second).new) == ("b", "a")


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    stages = (Stage(**short_stage("all", 3, learning_rate=0.02, schedule="onecycle", keep="last")),)
    tiny = str(save_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors"))
    network = ModelConfig.model_validate(MODEL)
    return LoopPlan(stages=stages, network=network, model=tiny, crops=True, held=0.4)


def test_the_circle_finds_planted_faults_and_shows_the_gain(plan, tmp_path):
    data = draw_folders(tmp_path / "photos", each=15)
    before = {path: path.read_bytes() for path in data.rglob("*.jpg")}
    result = run_loop(tmp_path / "loop", data, faults=0.25, plan=plan)
    assert (result.photos, result.held, result.planted) == (27, 18, 7)
    assert result.found >= 4 and len(result.decisions) <= 10  # with vectors by chance
    audit = tmp_path / "loop" / "audit"
    assert len(read_corrections(audit).decisions) == len(result.decisions)
    assert (audit / "audit.html").read_text(encoding="utf-8").startswith("<!")
    learnt = {name: pd.read_csv(tmp_path / "loop" / f"{name}.csv").set_index("file")["class"] for name in
              ("faulty", "corrected", "right")}  # fmt: skip
    truth = learnt["right"]
    assert all(name.startswith(f"{label}/") for name, label in truth.items())
    assert (learnt["faulty"] != truth).sum() == 7 and (learnt["corrected"] != truth).sum() == 7 - result.found
    held = pd.read_csv(tmp_path / "loop" / "held_out.csv")
    assert not {path.split("photos/")[-1] for path in held["file"]} & set(truth.index)  # never learnt from
    for name, accuracy in result.accuracies.items():
        assert accuracy == pytest.approx((held[name] == held["label"]).mean())
    assert result.gain.value == pytest.approx(result.accuracies["corrected"] - result.accuracies["faulty"])
    assert result.gain.low <= result.gain.value <= result.gain.high
    assert before == {path: path.read_bytes() for path in data.rglob("*.jpg")}  # the photos are left alone
    text = result.page.read_text()
    check_page(text)
    assert text.count("<img") >= len(result.decisions) and f"{100 * result.gain.value:+.1f}" in text
    assert str(tmp_path) not in text


@pytest.mark.slow
def test_the_same_seed_gives_the_same_page(plan, tmp_path):
    data = draw_folders(tmp_path / "photos", each=12)
    pages = [run_loop(tmp_path / "loop", data, seed=seed, plan=plan).page.read_text() for seed in (1, 1, 2)]
    assert pages[0] == pages[1] != pages[2]


@pytest.mark.slow
def test_corrections_gain_on_drawn_scenes(tmp_path):
    """The demo as it is, on fewer photos: with the detector and the bundled classifier."""
    result = run_loop(tmp_path / "loop", plan=LoopPlan(each=16))
    assert result.found >= 0.6 * result.planted and np.isfinite(result.gain.value)
    assert result.accuracies["right"] > 1 / 6


def test_wrong_usage_of_the_demo(plan, tmp_path):
    data = draw_folders(tmp_path / "photos", each=4)
    with pytest.raises(UsageError, match="name a folder beside them"):
        run_loop(data / "loop", data, plan=plan)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        run_loop(tmp_path / "full", data, plan=plan)
    with pytest.raises(UsageError, match="larger --faults"):
        run_loop(tmp_path / "loop", data, faults=0.01, plan=plan)
    told = CliRunner().invoke(app, ["loop", "demo", "--output", str(tmp_path / "x"), "--data", str(tmp_path / "none")])
    assert told.exit_code == 2 and "none" in sentence(told)
