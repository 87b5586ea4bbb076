import numpy as np
import pytest

from carclf.tools.backgrounds.paired import PairedAccuracies


def _answers(accuracy, seeds, photos, random):
    return random.random((seeds, photos)) < accuracy


def test_accuracy_is_the_mean_over_photos_and_seeds_inside_its_interval():
    correct = {"a": np.array([[1, 1, 0, 0], [1, 1, 1, 0]], bool)}
    figure = PairedAccuracies(correct).accuracy("a")
    assert figure.value == 0.625 and figure.low < 0.625 < figure.high


def test_of_one_seed_the_interval_is_that_of_a_share():
    random = np.random.default_rng(0)
    answers = _answers(0.8, 1, 400, random)
    figure = PairedAccuracies({"a": answers}).accuracy("a")
    reach = 1.96 * np.sqrt(figure.value * (1 - figure.value) / 400)
    assert figure.value - figure.low == pytest.approx(reach, rel=0.1)
    assert figure.high - figure.value == pytest.approx(reach, rel=0.1)


def test_seeds_that_differ_widen_the_interval():
    alike = np.tile(np.arange(200) < 160, (3, 1))
    apart = np.stack([np.arange(200) < right for right in (130, 160, 190)])
    one, other = (PairedAccuracies({"a": answers}).accuracy("a") for answers in (alike, apart))
    assert one.value == other.value == 0.8
    assert other.high - other.low > 1.3 * (one.high - one.low)


def test_a_paired_difference_is_surer_than_its_sides():
    hard = np.random.default_rng(1).random(300) < 0.3  # photos that both miss
    a = np.tile(~hard, (2, 1))
    b = a.copy()
    b[:, np.flatnonzero(~hard)[:12]] = False  # of those that a knows, b misses some
    paired = PairedAccuracies({"a": a, "b": b})
    difference = paired.difference("a", "b")
    assert difference.value == pytest.approx(12 / 300) and difference.beyond_noise
    assert paired.accuracy("b").high > paired.accuracy("a").low  # the sides alone would not tell
    back = paired.difference("b", "a")
    assert (back.value, back.low, back.high) == pytest.approx((-difference.value, -difference.high, -difference.low))


def test_no_difference_is_mostly_not_beyond_noise():
    """Some 5 of 100 intervals of models that are equally good leave zero out, and fewer when all must hold at once."""
    single, joint = 0, 0
    for number in range(60):
        random = np.random.default_rng(number)
        correct = {name: _answers(0.8, 1, 150, random) for name in "abcdef"}
        paired = PairedAccuracies(correct, samples=1000)
        single += paired.difference("a", "b").beyond_noise
        joint += any(difference.beyond_noise for difference in paired.against_all("a").values())
    assert 1 <= single <= 8 and joint <= 8


def test_intervals_that_hold_at_once_are_wider():
    random = np.random.default_rng(2)
    paired = PairedAccuracies({name: _answers(0.8, 2, 200, random) for name in "abcd"})
    alone, at_once = paired.difference("a", "b"), paired.against_all("a")["b"]
    assert at_once.low < alone.low and at_once.high > alone.high and at_once.value == alone.value


def test_best_is_the_first_of_the_highest():
    answers = np.ones((1, 5), bool)
    assert PairedAccuracies({"a": ~answers, "b": answers, "c": answers}).best == "b"


def test_a_model_against_itself_does_not_differ():
    answers = _answers(0.5, 2, 50, np.random.default_rng(3))
    difference = PairedAccuracies({"a": answers, "b": answers}).difference("a", "b")
    assert (difference.value, difference.low, difference.high) == (0, 0, 0) and not difference.beyond_noise


def test_other_photos_are_refused():
    with pytest.raises(ValueError, match="different photos"):
        PairedAccuracies({"a": np.ones((1, 5), bool), "b": np.ones((1, 6), bool)})
