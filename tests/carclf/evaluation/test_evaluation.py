import json

import numpy as np
import pandas as pd
import pytest

from carclf.evaluation.evaluate import evaluate
from carclf.evaluation.plots import save_confusion
from detection import UsageError

CLASSES = ["a", "b", "c"]


def _table(labels, **columns):
    return pd.DataFrame({"file": [f"{i}.jpg" for i in range(len(labels))], "label": labels} | columns)


def test_figures_of_a_small_case_done_by_hand(tmp_path):
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    metrics = evaluate(_table(["a", "b", "b", "c"]), probabilities, CLASSES, tmp_path)
    assert metrics["accuracy"] == 0.75 and metrics["top5"] == 1.0 and metrics["n"] == 4
    # a: precision 1/2, recall 1; b: precision 1, recall 1/2; c: both 1
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert json.loads((tmp_path / "metrics.json").read_text())["accuracy"] == 0.75
    confusion = pd.read_csv(tmp_path / "confusion.csv", index_col="true")
    assert confusion.loc["b", "a"] == 1 and confusion.loc["b", "b"] == 1
    report = pd.read_csv(tmp_path / "report.csv")
    assert set(report["class"]) == set(CLASSES)
    assert (tmp_path / "confusion.png").stat().st_size > 2000


def test_all_files_are_there_and_metrics_have_intervals(tmp_path):
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    table = _table(["a", "b", "b", "c"])
    metrics = evaluate(table, probabilities, CLASSES, tmp_path, {"model": {"name": "mine"}})
    low, high = metrics["intervals"]["accuracy"]
    assert 0.2 < low < 0.75 <= high <= 1 and set(metrics["intervals"]) == {"accuracy", "top5", "macro_f1"}
    # Confidences 0.8, 0.7, 0.6, 0.8, of which the third is wrong; 0.7 and 0.6 are alone in their bins.
    assert metrics["ece"] == pytest.approx((0.2 * 2 + 0.3 + 0.6) / 4)
    pair = {"a": "b", "b": "a", "a_as_b": 1, "b_as_a": 0, "times": 1, "share": 0.3333}
    assert metrics["most_confused"] == [pair]
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics | {"model": {"name": "mine"}}
    errors = pd.read_csv(tmp_path / "errors.csv")
    assert errors["file"].tolist() == ["2.jpg"] and errors["predicted"].tolist() == ["a"]
    names = {path.name for path in tmp_path.iterdir()}
    files = {"metrics.json", "predictions.csv", "report.csv", "confused_pairs.csv", "errors.csv", "calibration.csv"}
    assert names == files | {"confusion.csv", "confusion.png", "reliability.png", "errors.jpg"}


def test_a_class_may_be_called_true(tmp_path):
    classes = ["false", "true"]
    evaluate(_table(classes), np.eye(2), classes, tmp_path)
    lines = (tmp_path / "confusion.csv").read_text().splitlines()
    assert lines == ["true,false,true", "false,1,0", "true,0,1"]


def test_nothing_answered_is_measured_too(tmp_path):
    metrics = evaluate(_table(["a", "b"]), np.full((2, 3), np.nan), CLASSES, tmp_path)
    assert metrics["accuracy"] == 0 and metrics["answered"] == 0 and "ece" not in metrics
    assert not (tmp_path / "reliability.png").exists()


def test_photos_without_an_answer_count_as_wrong(tmp_path):
    probabilities = np.array([[0.8, 0.1, 0.1], [np.nan] * 3])
    metrics = evaluate(_table(["a", "a"], status=["ok", "no_car"]), probabilities, CLASSES, tmp_path)
    assert metrics["accuracy"] == 0.5 and metrics["top5"] == 0.5 and metrics["answered"] == 1
    assert metrics["status"] == {"ok": 1, "no_car": 1}
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 2


def test_top5_is_the_first_five_of_more_classes(tmp_path):
    classes = [f"c{i}" for i in range(8)]
    probabilities = np.tile(np.linspace(0.3, 0.01, 8), (2, 1))
    metrics = evaluate(_table(["c4", "c5"]), probabilities, classes, tmp_path)
    assert metrics["top5"] == 0.5 and metrics["accuracy"] == 0.0


def test_wrong_input_is_refused(tmp_path):
    with pytest.raises(UsageError, match="none of the model's"):
        evaluate(_table(["z"]), np.ones((1, 3)) / 3, CLASSES, tmp_path)
    with pytest.raises(UsageError, match="no photos"):
        evaluate(_table([]), np.ones((0, 3)), CLASSES, tmp_path)
    with pytest.raises(ValueError, match="shape"):
        evaluate(_table(["a"]), np.ones((1, 2)), CLASSES, tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="can't be written"):
        evaluate(_table(["a"]), np.ones((1, 3)) / 3, CLASSES, tmp_path / "file")


@pytest.mark.slow
def test_confusion_of_196_classes_is_drawn(tmp_path):
    classes = [f"Make Model {i} 2012" for i in range(196)]
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(196), 400)
    metrics = evaluate(_table(list(random.choice(classes, 400))), probabilities, classes, tmp_path)
    assert metrics["n"] == 400 and (tmp_path / "confusion.png").stat().st_size > 10000


def test_names_of_classes_are_drawn_as_they_are(tmp_path):
    """`$` begins a formula in matplotlib, and a bad formula is an error."""
    classes = ["Audi $5k \\frac deal$", "$\\alpha_$", "_tail\n" + 300 * "x"]
    evaluate(_table(classes), np.eye(3), classes, tmp_path)
    assert (tmp_path / "confusion.png").stat().st_size > 2000
    save_confusion(np.eye(2, dtype=int), ["$a$", "b"], ["$a$", "b"], tmp_path / "small.svg")
    assert "<!-- $a$ -->" in (tmp_path / "small.svg").read_text()


def test_a_picture_that_cannot_be_drawn_costs_a_line(tmp_path, capsys):
    for name in ("confusion.png", "errors.jpg"):
        (tmp_path / name).mkdir()
    metrics = evaluate(_table(["a", "b"]), np.eye(3)[[0, 2]], CLASSES, tmp_path)
    assert metrics["accuracy"] == 0.5 and json.loads((tmp_path / "metrics.json").read_text()) == metrics
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" was ")[0] for line in lines] == [f"{tmp_path}/confusion.png", f"{tmp_path}/errors.jpg"]
    assert (tmp_path / "reliability.png").is_file()
