import numpy as np
import pytest

from detection.images.exposure import expose, exposure_gain


def photo(seed=0, size=(90, 120)):
    """Noise over the whole range, like a photo by day."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def test_a_photo_by_day_stays_the_very_same():
    day = photo()
    assert expose(day) is day and exposure_gain(day) == 1.0


@pytest.mark.parametrize("factor", [0.5, 0.25, 0.125])
def test_a_darkened_photo_is_bright_again(factor):
    day = photo()
    dark = (day * factor).astype(np.uint8)
    again = expose(dark)
    assert again.dtype == np.uint8 and again.shape == day.shape
    assert abs(float(again.mean()) - 235 / 253 * float(day.mean())) < 8


def test_a_black_photo_is_not_amplified_without_end():
    assert exposure_gain(np.zeros((8, 8, 3), np.uint8)) == 8.0
    assert expose(np.ones((1, 1, 3), np.uint8)).max() == 8


def test_lamps_by_night_keep_it_dark_enough_to_be_helped():
    night = (photo() * 0.2).astype(np.uint8)
    night[:3, :10] = 255  # less than a hundredth
    assert exposure_gain(night) > 3


@pytest.mark.parametrize("seed", range(60))
def test_the_quick_look_at_a_photo_by_day_agrees_with_the_percentile(seed):
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 30, 2)
    values = rng.integers(0, rng.integers(120, 136), (*size, 3)).astype(np.uint8)
    lights = rng.random(size) < rng.choice([0.005, 0.01, 0.02])
    values[lights] = rng.integers(120, 140)
    bright = float(np.percentile(values.max(axis=2), 99.0))
    assert exposure_gain(values) == (1.0 if bright >= 128 else min(8.0, 235 / max(bright, 1.0)))
