"""The demo: its counting on made-up results, and a short real run."""

from __future__ import annotations

import json

import pytest

from carclf.runs.recipe import Stage
from carclf.tools.demo.page import overlap
from carclf.tools.demo.run import MARKER, DemoPlan, run_demo
from detection.common.errors import UsageError
from tests.fakes import FakeDetector

SHORT = DemoPlan(
    train=4,
    test=1,
    negatives=1,
    validation=0.25,
    image_size=32,
    stages=(
        Stage(name="head", train="head", epochs=1, image_size=32, batch_size=8),
        Stage(name="all", train="all", epochs=1, image_size=32, batch_size=8),
    ),
    pretrained="none",
)


@pytest.mark.parametrize(
    ("box", "expected"),
    [((0, 0, 10, 10), 1.0), ((5, 0, 15, 10), 1 / 3), ((10, 0, 20, 10), 0.0), (None, 0.0), ((0, 0, 5, 10), 0.5)],
)
def test_overlap_is_intersection_over_union(box, expected):
    assert overlap(box, (0, 0, 10, 10)) == pytest.approx(expected)


def test_a_folder_with_other_files_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        run_demo(tmp_path, detector=FakeDetector(), plan=SHORT)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="can't be written"):
        run_demo(tmp_path / "file", detector=FakeDetector(), plan=SHORT)


def test_the_whole_chain_runs_and_tells_the_truth(tmp_path, capsys):
    output = tmp_path / "demo"
    output.mkdir()
    (output / MARKER).touch()
    (output / "old.txt").touch()
    page = run_demo(output, seed=3, detector=FakeDetector(60, 400), plan=SHORT)
    said = capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    names = {path.name for path in output.iterdir()}
    assert names == {MARKER, "scenes", "cleaned", "run", "evaluation", "predictions.json", "index.html"}

    rows = json.loads((output / "predictions.json").read_text())
    metrics = json.loads((output / "evaluation" / "metrics.json").read_text())
    assert len(rows) == 7 and metrics["n"] == 6
    assert f"accuracy {metrics['accuracy']:.1%} of 6" in said and f">{metrics['accuracy']:.1%}<" in text
    found = int(text.split(" of 30</div>")[0].rpartition(">")[2])
    assert ("missed" in text) == (found < 30) and f"cars found: {found} of 30" in said
    for place in ("scenes", "cleaned", "run", "evaluation", "predictions.json"):
        assert str(output / place) in said and str(output / place) in text
    assert (output / "run" / "best.safetensors").is_file()
