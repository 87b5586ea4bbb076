"""Photos that a training holds back: they neither train nor choose, and are looked at once, at the end."""

import json

import pandas as pd
import pytest

from carclf.datasets import read_table
from carclf.datasets.content import with_digests
from carclf.datasets.parts import assign_parts
from carclf.runs.recipe import TrainConfig
from carclf.runs.report.page import write_run_report
from carclf.training.loop import train
from detection.common.errors import UsageError
from tests.carclf.drawn import draw_folders
from tests.carclf.short_runs import short_config, short_stage


@pytest.fixture
def photos(tmp_path):
    return draw_folders(tmp_path / "photos", each=8)


def _config(root, **values):
    return short_config(root, validation=0.25, stages=(short_stage("head", learning_rate=0.02),), **values)


def test_a_part_is_held_back_and_measured_at_the_end(tmp_path, photos):
    run = train(_config(tmp_path, report=0.25))
    split = pd.read_csv(run / "split.csv")
    assert split.groupby("label")["split"].value_counts().unstack().to_dict("list") == {
        "test": [2] * 3, "train": [4] * 3, "val": [2] * 3
    }  # fmt: skip
    metrics = json.loads((run / "metrics.json").read_text())
    seen = metrics["report"]
    assert (seen["part"], seen["n"], metrics["part"], metrics["n"]) == ("report", 6, "choose", 6)
    low, high = seen["intervals"]["accuracy"]
    assert low <= seen["accuracy"] <= high and 0 <= seen["lost"] <= 1
    answers = pd.read_csv(run / "report" / "predictions.csv")
    assert set(answers["file"]) == set(split["file"][split["split"] == "test"])
    page = write_run_report(run).read_text()
    assert "6 photos that nothing was chosen by" in page and "these photos also chose the epoch" in page


def test_a_list_of_parts_is_the_split_and_its_report_stays_unseen(tmp_path, photos):
    table = with_digests(read_table(photos))
    parts = assign_parts(table.assign(group=table["file"]), {"report": 0.25, "choose": 0.25})
    (tmp_path / "list.csv").write_text("sha256,part\n" + "".join(f"{one},{part}\n" for one, part in parts.items()))
    run = train(_config(tmp_path, split=tmp_path / "list.csv"))
    split = pd.read_csv(run / "split.csv")
    words = {"fit": "train", "choose": "val", "report": "test"}
    assert split["split"].tolist() == [words[parts[digest]] for digest in split["sha256"]]
    assert not (run / "report").exists() and "report" not in json.loads((run / "metrics.json").read_text())


def test_report_where_there_is_one_already(tmp_path, photos):
    for number in range(8):
        place = tmp_path / "parted" / ("test" if number < 2 else "train")
        for label in ("red", "green", "blue"):
            (place / label).mkdir(parents=True, exist_ok=True)
            (photos / label / f"{number}.jpg").rename(place / label / f"{number}.jpg")
    with pytest.raises(UsageError, match="leave report out"):
        train(_config(tmp_path, data=tmp_path / "parted", report=0.2))
    with pytest.raises(ValueError, match="leave report out"):
        TrainConfig(data=tmp_path, split=tmp_path / "list.csv", report=0.2)
