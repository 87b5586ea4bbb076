"""A training on photos that people corrected: what was applied stays in the run, and a resumed one applies it again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from carclf.datasets.content import content_digests
from carclf.datasets.corrections.apply import APPLIED, read_corrections
from carclf.datasets.corrections.decision import Decision, new_id, now
from carclf.datasets.corrections.journal import Journal, journal_hash
from carclf.training.data.crops import prepare_crops
from carclf.training.loop import train
from detection.common.errors import UsageError
from tests.carclf.drawn import draw_folders
from tests.carclf.short_runs import short_config, short_stage

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def photos(tmp_path):
    return draw_folders(tmp_path / "photos", each=8)


def decide(folder: Path, file: Path, decision: str, new: str | None = None) -> None:
    journal = Journal(folder)
    digest = content_digests([str(file)])[0]
    journal.add([Decision(new_id(), now(), "ann", decision, file.name, digest, "", file.parent.name, new)])
    journal.close()


def _config(root, **values):
    stages = (short_stage("head", learning_rate=0.02),)
    return short_config(root, validation=0.25, stages=stages, corrections=root / "decided", **values)


def test_a_training_on_corrected_photos(tmp_path, photos, capsys):
    decide(tmp_path / "decided", photos / "red" / "0.jpg", "class", "blue")
    decide(tmp_path / "decided", photos / "red" / "1.jpg", "no_car")
    decide(tmp_path / "decided", photos / "green" / "1.jpg", "accept", "green")
    (photos / "red" / "0.jpg").rename(photos / "red" / "renamed.jpg")
    run = train(_config(tmp_path))
    split = pd.read_csv(run / "split.csv")
    assert split.groupby("label").size().to_dict() == {"red": 6, "green": 8, "blue": 9}
    told = json.loads((run / "metrics.json").read_text())["corrections"]
    assert (told["changed"], told["removed"], told["agreed"], told["unknown"]) == (1, 1, 1, 0)
    assert told["sha256"] == journal_hash(tmp_path / "decided" / "corrections.jsonl")
    assert len(read_corrections(run / APPLIED).decisions) == 3
    assert "1 label changed, 1 photo without a car removed, 1 label found right" in capsys.readouterr().err


def test_a_run_that_has_begun_keeps_its_corrections(tmp_path, photos, capsys):
    decide(tmp_path / "decided", photos / "red" / "0.jpg", "class", "blue")
    config = _config(tmp_path)
    run = config.output
    run.mkdir()
    first = prepare_crops(config, run)[0]
    decide(tmp_path / "decided", photos / "red" / "1.jpg", "class", "green")
    assert (prepare_crops(config, run)[0]["label"] == "green").sum() == 9  # nothing was drawn by them yet
    shutil.copy(run / APPLIED, tmp_path / "kept")
    decide(tmp_path / "decided", photos / "red" / "2.jpg", "class", "green")
    (run / "split.csv").write_text("file,label,split\n")
    capsys.readouterr()
    assert (prepare_crops(config, run)[0]["label"] == "green").sum() == 9
    assert (run / APPLIED).read_bytes() == (tmp_path / "kept").read_bytes() and capsys.readouterr().err == ""
    assert (first["label"] == "blue").sum() == 9


def test_corrections_that_leave_a_class_alone_are_an_error_that_leaves_no_run(tmp_path, photos):
    for number in range(7):
        decide(tmp_path / "decided", photos / "red" / f"{number}.jpg", "no_car")
    with pytest.raises(UsageError, match=r"only one photo \(red\)"):
        train(_config(tmp_path))
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="is not there"):
        train(_config(tmp_path).model_copy(update={"corrections": tmp_path / "nothing"}))
