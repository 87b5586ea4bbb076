"""Charts as SVG: true to the numbers, readable for one epoch and for many stages."""

from xml.etree import ElementTree

import pytest

from carclf.evaluation.confidence import reliability_bins
from carclf.runs.curves import label_bands, save_comparison, series
from carclf.runs.report.charts import line_chart, reliability_chart


def _drawn(*arguments, **more):
    return ElementTree.fromstring(line_chart(*arguments, **more))


def _texts(svg, kind):
    return [text.text for text in svg.findall("text") if text.get("class") == kind]


def test_line_chart_has_a_point_an_epoch_and_a_band_a_stage():
    svg = ElementTree.fromstring(line_chart({"validation": [0.1, 0.5, float("nan")]}, ["a", "a", "b"], "T", True))
    assert len(svg.findall("circle")) == 2 and len(svg.findall("rect")) == 2
    assert [text.text for text in svg.findall("text") if text.get("class") == "stage"] == ["a", "b"]
    first, second = (float(circle.get("cy")) for circle in svg.findall("circle"))
    assert first > second  # more is higher


@pytest.mark.parametrize("values", [[], [float("nan")]])
def test_a_chart_of_nothing_is_empty(values):
    assert line_chart({"validation": values}, ["a"] * len(values), "T") == ""


@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0], [-2.0, 1e-3], [1e6, 3.0]])
def test_ticks_enclose_the_values(values):
    svg = ElementTree.fromstring(line_chart({"loss": values}, ["a"] * len(values), "T"))
    ticks = [float(text.text) for text in svg.findall("text") if text.get("class") == "tick"]
    assert min(ticks) <= min(values) and max(ticks) >= max(values) and 2 <= len(ticks) <= 9


def test_borders_lie_between_the_last_and_first_epoch_of_two_stages():
    svg = _drawn({"loss": [3.0, 2.0, 1.0]}, ["head", "all", "all"], "T")
    first, second, _ = (float(circle.get("cx")) for circle in svg.findall("circle"))
    borders = [float(line.get("x1")) for line in svg.findall("line") if line.get("class") == "border"]
    assert borders == [pytest.approx((first + second) / 2, abs=0.2)]


def test_a_logarithmic_axis_has_powers_of_ten_at_equal_distances():
    svg = _drawn({"rate": [1e-3, 1e-4, 2e-6]}, ["a"] * 3, "T", log=True)
    ticks = [text for text in svg.findall("text") if text.get("class") == "tick"]
    assert [float(text.text) for text in ticks] == [1e-6, 1e-5, 1e-4, 1e-3]
    heights = [float(text.get("y")) for text in ticks]
    assert heights[0] - heights[1] == pytest.approx(heights[2] - heights[3], abs=0.2) and heights[0] > heights[3]
    assert _drawn({"rate": [0.0, 1.0]}, ["a"] * 2, "T", log=True) is not None  # 0 has no logarithm: a plain axis


@pytest.mark.parametrize("count", [1, 7, 16, 17, 60, 400])
def test_epoch_numbers_do_not_crowd(count):
    numbers = [int(text) for text in _texts(_drawn({"a": [0.5] * count}, ["s"] * count, "T"), "epoch")[:-1]]
    assert numbers[0] == 1 and numbers[-1] <= count and len(numbers) <= 17
    assert len(numbers) == count or count > 16


def test_stages_are_named_where_the_names_fit_and_numbered_where_not():
    stages = [name for name in ("head", "half", "three_quarters", "all", "larger") for _ in range(2)]
    assert label_bands(stages, 75) == ["head", "half", "three_quarters", "all", "larger"]
    assert label_bands(stages, 30) == ["1", "2", "3", "4", "5"]
    assert label_bands(["a_name_too_long_for_any_chart"], 10) == ["1"] and label_bands([], 10) == []


def test_series_are_read_with_gaps():
    epochs = [{"val_loss": 1.0, "seconds": 3}, {"val_loss": None, "seconds": "?"}, {"val_loss": "2.5"}]
    assert list(series(epochs, "loss")) == ["val"]
    assert series(epochs, "loss")["val"][::2] == [1.0, 2.5] and series(epochs, "seconds")["seconds"][0] == 3.0
    assert series(epochs, "accuracy") == {}


def test_the_reliability_chart_has_bars_as_high_as_the_accuracy():
    bins = reliability_bins([0.95, 0.95, 0.45, 0.45], [True, True, True, False]).to_dict("records")
    svg = ElementTree.fromstring(reliability_chart(bins, "R"))
    heights = [float(bar.get("height")) for bar in svg.findall("rect") if bar.get("class") == "bar-a"]
    assert heights[0] == pytest.approx(heights[1] / 2) and len(svg.findall("line[@class='whisker']")) == 2
    assert "50.0% of 2 photos right" in svg.find("rect/title").text
    assert reliability_chart([], "R") == ""


def test_every_run_is_in_the_legend_by_its_own_name(tmp_path):
    rows = [{"stage": "head", "val_accuracy": 0.5, "val_loss": 1.0}]
    save_comparison({"_half": rows, "$x$": rows}, tmp_path / "curves.svg")
    drawn = (tmp_path / "curves.svg").read_text()
    assert "<!-- _half (best 0.5000) -->" in drawn and "<!-- $x$ (best 0.5000) -->" in drawn
