"""Figures and their intervals against hand counts, scipy's intervals and known truths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from carclf.evaluation.metrics import (
    auroc,
    bootstrap_intervals,
    class_report,
    confused_pairs,
    confusion_counts,
    overall,
    wilson_interval,
)

CLASSES = ["a", "b", "c"]


def _drawn(photos, classes, accuracy, seed):
    """truth, predicted and whether the truth is in the top 5, at random."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, photos)
    right = random.random(photos) < accuracy
    predicted = np.where(right, truth, (truth + random.integers(1, classes, photos)) % classes)
    return truth, predicted, right | (random.random(photos) < 0.5)


def test_scores_of_classes_are_those_of_the_counts():
    truth, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 3, 3])  # 3: no answer
    rows = class_report(truth, predicted, CLASSES).set_index("class")
    assert rows.loc["a", ["precision", "recall", "f1", "support"]].tolist() == [1, 0.6667, 0.8, 3]
    assert rows.loc["b", ["precision", "recall", "f1", "support"]].tolist() == [0.5, 0.5, 0.5, 2]
    assert rows.loc["c", ["precision", "recall", "f1", "support"]].tolist() == [0, 0, 0, 1]
    assert overall(truth, predicted, truth == predicted)["macro_f1"] == pytest.approx((0.8 + 0.5) / 3)


def test_auroc_counts_the_pairs_in_order():
    random = np.random.default_rng(0)
    low, high = random.integers(0, 9, 40) / 9, random.integers(3, 12, 50) / 9  # with draws
    pairs = (high > low[:, None]).mean() + (high == low[:, None]).mean() / 2
    assert auroc(low, high) == pytest.approx(pairs)
    assert auroc(np.zeros(3), np.ones(2)) == 1 and auroc(np.ones(3), np.ones(2)) == 0.5


@pytest.mark.parametrize(("right", "total"), [(0, 5), (3, 7), (9, 10), (10, 10), (520, 586)])
def test_wilson_is_scipys(right, total):
    wanted = binomtest(right, total).proportion_ci(method="wilson")
    assert [float(bound) for bound in wilson_interval(right, total)] == pytest.approx([wanted.low, wanted.high])


def test_wilson_of_nothing_says_nothing():
    low, high = wilson_interval([0, 1], [0, 1])
    assert (low[0], high[0]) == (0, 1) and low[1] > 0


def test_the_interval_of_accuracy_is_that_of_a_binomial():
    truth, predicted, top = _drawn(400, 10, 0.8, seed=1)
    right = int((truth == predicted).sum())
    wanted = binom.ppf([0.025, 0.975], 400, right / 400) / 400
    assert bootstrap_intervals(truth, predicted, top)["accuracy"] == pytest.approx(wanted.tolist(), abs=0.006)


def test_more_photos_give_narrower_intervals_around_the_figures():
    widths = {}
    for photos in (100, 1600):
        drawn = _drawn(photos, 8, 0.8, seed=2)
        figures = overall(*drawn)
        for name, (low, high) in bootstrap_intervals(*drawn).items():
            assert 0 <= low < figures[name] < high <= 1
            widths.setdefault(name, []).append(high - low)
    assert all(2.5 < few / many < 6 for few, many in widths.values())  # 4 by theory


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """Also of macro-F1 with three photos a class, where plain percentiles cover it in 75 of 100."""
    truth = np.repeat(np.arange(60), 3)
    random = np.random.default_rng(0)
    covered = {"accuracy": 0, "macro_f1": 0}
    rounds = 60
    for number in range(rounds):
        right = random.random(len(truth)) < 0.85
        # Wrong answers go to the next class, so that the true precision, recall and F1 of each class are 0.85.
        predicted = np.where(right, truth, (truth + 1) % 60)
        intervals = bootstrap_intervals(truth, predicted, right, samples=400, seed=number)
        for name in covered:
            low, high = intervals[name]
            covered[name] += low <= 0.85 <= high
    assert all(times >= 0.85 * rounds for times in covered.values()), covered


def test_intervals_are_the_same_each_time():
    drawn = _drawn(80, 4, 0.7, seed=3)
    assert bootstrap_intervals(*drawn) == bootstrap_intervals(*drawn)
    assert bootstrap_intervals(*drawn) != bootstrap_intervals(*drawn, seed=1)


def test_no_error_in_ten_photos_is_no_proof_of_perfection():
    truth = np.arange(10) % 2
    intervals = bootstrap_intervals(truth, truth, truth == truth)
    assert intervals["accuracy"][0] == pytest.approx(0.7225, abs=1e-3) and intervals["accuracy"][1] == 1
    nothing = bootstrap_intervals(truth, 1 - truth, truth != truth)
    assert nothing["accuracy"][0] == 0 and nothing["macro_f1"][1] == pytest.approx(0.2775, abs=1e-3)


def test_the_report_counts_by_class():
    truth, predicted = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 3, 1, 1, 0])
    report = class_report(truth, predicted, CLASSES).set_index("class")
    assert report.index.tolist() == ["c", "a", "b"]  # the worst first
    a = report.loc["a"]
    assert (a["precision"], a["recall"], a["support"]) == (pytest.approx(2 / 3, abs=1e-4), 0.5, 4)
    assert a["f1"] == pytest.approx(4 / 7, abs=1e-4) and a["f1_low"] < a["f1"] < a["f1_high"]
    assert a["recall_low"] == pytest.approx(wilson_interval(2, 4)[0], abs=1e-4)
    assert a["precision_high"] == pytest.approx(wilson_interval(2, 3)[1], abs=1e-4)
    assert a["taken_for"] == "b" and a["times"] == 1
    assert report.loc["b", "taken_for"] == "" and report.loc["b", "times"] == 0
    assert report.loc["c", "precision_high"] == 1 or report.loc["c", "f1"] == 0


def test_pairs_count_both_directions():
    truth, predicted = np.array([0, 0, 1, 1, 2, 2, 2]), np.array([1, 3, 0, 0, 2, 0, 2])
    counts = confusion_counts(truth, predicted, 3)
    assert counts.shape == (3, 4) and counts[0].tolist() == [0, 1, 0, 1]
    pairs = confused_pairs(counts, CLASSES).to_dict("records")
    assert pairs[0] == {"a": "b", "b": "a", "a_as_b": 2, "b_as_a": 1, "times": 3, "share": 0.75}
    assert pairs[1] == {"a": "c", "b": "a", "a_as_b": 1, "b_as_a": 0, "times": 1, "share": 0.2} and len(pairs) == 2


def test_without_confusions_there_are_no_pairs():
    truth = np.array([0, 1, 2])
    pairs = confused_pairs(confusion_counts(truth, truth, 3), CLASSES)
    assert pairs.empty and list(pairs) == ["a", "b", "a_as_b", "b_as_a", "times", "share"]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 9), st.integers(1, 6))
def test_photos_of_one_car_say_no_more_than_one_of_them(seed, copies):
    """Any figure of n cars with k photos each, alike, has the interval of n photos; of n k cars it is narrower."""
    drawn = _drawn(60, 4, 0.7, seed=seed)
    many = tuple(np.repeat(one, copies) for one in drawn)
    cars = np.repeat(np.random.default_rng(seed).permutation(60), copies)
    together = bootstrap_intervals(*many, samples=200, cars=cars)
    # Which car a photo has does not change what the samples are made of, but for rounding.
    for name, bounds in bootstrap_intervals(*drawn, samples=200).items():
        assert together[name] == pytest.approx(bounds, abs=1e-5)
    alone = bootstrap_intervals(*many, samples=200)
    assert copies < 3 or all(np.diff(alone[name]) < np.diff(together[name]) for name in together)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 9))
def test_the_order_and_the_numbers_of_cars_do_not_matter(seed):
    random = np.random.default_rng(seed)
    drawn, cars = _drawn(50, 3, 0.6, seed=seed), random.integers(0, 20, 50)
    order, renamed = random.permutation(50), random.permutation(20)
    shuffled = bootstrap_intervals(*(one[order] for one in drawn), samples=200, cars=renamed[cars[order]])
    assert shuffled == bootstrap_intervals(*drawn, samples=200, cars=cars)


def test_ten_photos_of_one_car_are_one_witness():
    right, top = np.zeros(40, int), np.ones(40, bool)
    bounds = bootstrap_intervals(right, right, top, cars=np.arange(40) // 10)["accuracy"]
    assert bounds == pytest.approx([float(one) for one in wilson_interval(4, 4)], abs=1e-6)


@pytest.mark.slow
def test_intervals_by_cars_cover_the_truth_where_those_by_photos_do_not():
    random = np.random.default_rng(0)
    covered = {"cars": 0, "photos": 0}
    for number in range(100):
        right = np.repeat(random.random(60) < 0.8, 8)  # eight photos of a car, all right or all wrong
        truth, cars = np.zeros(480, int), np.repeat(np.arange(60), 8)
        for name, groups in (("cars", cars), ("photos", None)):
            low, high = bootstrap_intervals(truth, (~right).astype(int), right, 300, number, groups)["accuracy"]
            covered[name] += low <= 0.8 <= high
    assert covered["cars"] >= 88 and covered["photos"] <= 65, covered
