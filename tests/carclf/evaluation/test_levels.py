"""How sure levels must be, what they answer, and how both get into a classifier's file."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from carclf.classifier.info import read_info
from carclf.classifier.levels.names import CLASS, LEVELS, MAKE, MODEL, make_names
from carclf.classifier.levels.tree import Tree
from carclf.cli import app
from carclf.evaluation.calibrate import calibrate_file, judge
from carclf.evaluation.chain import evaluate_chain
from carclf.evaluation.levels.figures import accuracy_given, answered_right, level_curve, level_figures, level_report
from carclf.evaluation.levels.fit import Told, answer_level, fit_table, in_order, told_at_levels
from carclf.recognition.recognizer import CarRecognizer
from detection.common.errors import UsageError
from tests.carclf.levels import CLASSES, NAMES, LevelClassifier
from tests.carclf.tiny import CLASSES as TINY
from tests.carclf.tiny import save_tiny_model
from tests.fakes import FakeDetector, draw_car

TREE = Tree(NAMES, CLASSES)


def photos(number: int, seed: int = 0) -> Told:
    """Confidences that are true: an answer of 0.9 is right nine times in ten, and right at all levels above."""
    random = np.random.default_rng(seed)
    make = 1 - random.random(number) ** 2 * 0.4
    confidence = np.stack([make * random.uniform(0.6, 1, number), make * random.uniform(0.9, 1, number), make], axis=1)
    confidence.sort(axis=1)
    return Told(confidence, random.random(number)[:, None] < confidence)


@pytest.mark.parametrize("sure", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("number", [300, 3000])
def test_other_photos_are_right_as_often_as_was_asked(sure, number):
    shares = []
    for seed in range(5):
        thresholds = in_order(fit_table(photos(number, seed)), sure)
        answered, right = answered_right(photos(4000, 100 + seed), thresholds, 4000)
        assert answered > 0.3
        shares.append(right)
    assert sure - 0.015 < np.mean(shares) < sure + 0.04


def test_more_is_asked_of_every_level_for_more_right_answers():
    rows = fit_table(photos(400)).rows
    assert len(rows) > 10 and rows[0].right < 0.9 < rows[-1].right
    values = np.array([[row.right, row.class_, row.model, row.make] for row in rows])
    assert (np.diff(values, axis=0) >= 0).all() and (np.diff(values[:, 0]) > 0).all()


def test_few_photos_promise_less():
    """All right: yet 60 of them are no proof of 0.99."""
    told = Told(np.full((60, 3), 0.97), np.ones((60, 3), bool))
    many = Told(np.full((6000, 3), 0.97), np.ones((6000, 3), bool))
    assert fit_table(told).rows[-1].right < fit_table(many).rows[-1].right == 0.995


def test_answers_that_are_never_right_are_never_given():
    told = Told(np.full((100, 3), 0.6), np.zeros((100, 3), bool))
    assert answer_level(told.confidence, in_order(fit_table(told), 0.5)).tolist() == [3] * 100


def test_overconfident_levels_must_be_surer():
    """Makes that are wrong more often than they say get a higher threshold than classes that are not."""
    told = photos(3000)
    right = told.right.copy()
    right[:, 2] &= np.random.default_rng(3).random(3000) < 0.9
    honest, boasting = fit_table(told).thresholds(0.9), fit_table(Told(told.confidence, right)).thresholds(0.9)
    assert boasting[MAKE] - boasting[CLASS] > honest[MAKE] - honest[CLASS] + 0.02


ROWS = np.array(
    [
        [0.05, 0.03, 0.9, 0.01, 0.01],  # sure of the class: right
        [0.03, 0.4, 0.55, 0.01, 0.01],  # of the model: right, the class is the other one
        [0.4, 0.2, 0.35, 0.03, 0.02],  # of the make: right; given the make the class is right, too
        [0.02, 0.02, 0.02, 0.92, 0.02],  # sure and wrong
        [0.2, 0.2, 0.2, 0.2, 0.2],  # unknown
    ]
)
TRUTH = np.array([2, 1, 0, 4, 3])
THRESHOLDS = [0.8, 0.75, 0.7]


def test_figures_of_each_level():
    told = told_at_levels(TREE, ROWS, TRUTH)
    report = level_report(told, THRESHOLDS, 6)  # in one more photo there was no car
    assert (report["answered"], report["right"]) == pytest.approx((4 / 6, 3 / 4), abs=1e-6)
    assert [report[level]["answered"] for level in LEVELS] == pytest.approx([2 / 6, 1 / 6, 1 / 6], abs=1e-6)
    assert [report[level]["right"] for level in LEVELS] == [0.5, 1, 1]
    assert [report[level]["accuracy"] for level in LEVELS] == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=1e-6)
    assert [report[level]["threshold"] for level in LEVELS] == THRESHOLDS


def test_accuracy_with_the_right_make_given():
    given = accuracy_given(TREE, ROWS, TRUTH, 5)
    assert given == {"accuracy_given_make": 0.8, "accuracy_given_model": 0.8}
    assert accuracy_given(TREE, ROWS[:0], TRUTH[:0], 0)["accuracy_given_make"] == 0


def test_the_curve_goes_from_the_surest_answer_to_all_of_them():
    told = photos(500)
    curve = level_curve(told, fit_table(told), 510)
    assert set(curve["level"]) == {*LEVELS, "deepest"}
    for name in (CLASS, MODEL, MAKE):
        rows = curve[curve["level"] == name]
        assert rows["answered"].is_monotonic_increasing and rows["threshold"].astype(float).is_monotonic_decreasing
        assert rows["answered"].iloc[-1] == pytest.approx(500 / 510, abs=1e-6)
        assert rows["right"].iloc[-1] == pytest.approx(told.right[:, LEVELS.index(name)].mean(), abs=1e-6)
    assert np.allclose(curve["risk"], 1 - curve["right"])


def test_halves_report_on_each_other():
    told = photos(400)
    figures = level_figures(told, fit_table(told), np.arange(400) % 2 == 0, 400)
    assert set(figures) == {f"levels_{name}{held}" for name in ("answered", "right") for held in ("", "_held_out")}
    assert 0.1 < figures["levels_answered_held_out"] < 1 and figures["levels_right_held_out"] > 0.9


def test_judging_tells_how_many_others_are_named_at_a_level():
    random = np.random.default_rng(0)
    truth = random.integers(0, 5, 200)
    known = np.eye(5)[truth] * 0.9 + random.dirichlet(np.ones(5), 200) * 0.1
    others = {"flat": np.full((10, 5), 0.2), "sure": np.tile([0.01, 0.01, 0.01, 0.96, 0.01], (10, 1))}
    trust = judge(known, truth, others, tree=TREE)
    assert trust.levels is not None and trust.levels.photos == 200
    assert trust.others["flat"]["named_at_a_level"] == 0 and trust.others["sure"]["named_at_a_level"] == 1
    kept = judge(known, truth, {}, tree=TREE, kept=(1.5, 0.4))
    assert (kept.temperature, kept.threshold) == (1.5, 0.4) and judge(known, truth, {}).levels is None


def tiny_names():
    table = {TINY[0]: {"make": "Lada"}, TINY[1]: {"make": "Lada"}, TINY[2]: {"make": "VW", "model": "Passat"}}
    return make_names(table, TINY)


@pytest.mark.parametrize("named", [True, False])
def test_a_trained_model_with_names_gets_its_levels(tmp_path, named):
    from PIL import Image

    from carclf.classifier.info import write_info

    path = save_tiny_model(tmp_path / "tiny.safetensors")
    if named:
        write_info(path, read_info(path).model_copy(update={"names": tiny_names()}))
    random = np.random.default_rng(0)
    files = [str(tmp_path / f"{number}.png") for number in range(60)]
    for file in files:
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file)
    crops = pd.DataFrame({"file": files, "label": [TINY[number % 3] for number in range(60)]})
    calibrate_file(path, crops, "cpu")
    levels = read_info(path).levels
    assert (levels is not None and levels.photos == 60) if named else levels is None
    if named:
        assert read_info(path).names == tiny_names(), "names stay"


@pytest.fixture
def few_pictures(monkeypatch):
    """What other tests look at takes a second to draw."""
    for name in ("save_confusion", "save_reliability", "save_error_sheet"):
        monkeypatch.setattr(f"carclf.evaluation.evaluate.{name}", lambda *_: None)


def test_evaluate_tells_levels_and_writes_the_curve(tmp_path, few_pictures):
    pytest.importorskip("matplotlib")
    from PIL import Image

    for number in range(3):
        Image.fromarray(draw_car((220, 20, 20 + number))).save(tmp_path / f"{number}.png")
    files = [str(tmp_path / f"{number}.png") for number in range(3)]
    table = pd.DataFrame({"file": files, "label": ["Audi S4 Sedan 2012", "Audi A4 2010", "BMW X3 2012"]})
    recognizer = CarRecognizer(LevelClassifier(*ROWS[2]), FakeDetector())
    metrics = evaluate_chain(recognizer, table, tmp_path / "out")
    assert metrics["named"] == 1 and metrics["accuracy_of_named"] == pytest.approx(2 / 3, abs=1e-6)
    assert metrics["levels"]["sure"] == 0.98 and metrics["levels"]["make"]["answered"] == 1
    assert metrics["accuracy_given_make"] == pytest.approx(2 / 3, abs=1e-6)
    assert json.loads((tmp_path / "out/metrics.json").read_text())["levels"] == metrics["levels"]
    assert (tmp_path / "out/levels.png").stat().st_size > 5000
    assert set(pd.read_csv(tmp_path / "out/levels.csv")["level"]) == {*LEVELS, "deepest"}


def test_evaluate_without_levels_and_with_only_some_classes(tmp_path, few_pictures):
    from PIL import Image

    for number in range(3):
        Image.fromarray(draw_car((220, 20, 20 + number))).save(tmp_path / f"{number}.png")
    files = [str(tmp_path / f"{number}.png") for number in range(3)]
    table = pd.DataFrame({"file": files, "label": ["Audi S4 Sedan 2012", "Audi A4 2010", "BMW X3 2012"]})
    plain = CarRecognizer(LevelClassifier(*ROWS[2]), FakeDetector(), levels=False)
    metrics = evaluate_chain(plain, table, tmp_path / "plain")
    assert metrics["named"] == 0 and "sure" not in metrics["levels"] and metrics["levels"]["make"]["accuracy"] > 0.6
    listed = CarRecognizer(LevelClassifier(*ROWS[2]), FakeDetector(), only="BMW,smart")
    assert evaluate_chain(listed, table, tmp_path / "listed")["n"] == 1, "classes that are not listed are left out"
    with pytest.raises(UsageError, match="None of the 2 photos shows a class"):
        evaluate_chain(listed, table[:2], tmp_path / "none")


def test_levels_need_names(tmp_path):
    path = save_tiny_model(tmp_path / "tiny.safetensors")
    (tmp_path / "labels.csv").write_text("file,class\n" + "".join(f"{n}.png,{TINY[n % 3]}\n" for n in range(60)))
    from PIL import Image

    for number in range(60):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    arguments = ["calibrate", str(path), "--data", str(tmp_path / "labels.csv"), "--levels-only"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and "give a table of them with --names" in result.output
    (tmp_path / "names.csv").write_text("class,make\nLada Niva,Lada\n")
    result = CliRunner().invoke(app, [*arguments, "--names", str(tmp_path / "names.csv")])
    assert result.exit_code == 2 and "lacks 2 classes" in result.output
