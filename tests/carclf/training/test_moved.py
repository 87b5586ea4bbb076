"""A training whose photos move, go or break, and whose stages are changed, before it is resumed."""

import errno
import json
import os
import shutil

import pandas as pd
import pytest
import torch

import carclf.training.loop
from carclf.runs.folder import resumed_config
from carclf.runs.recipe import TrainConfig
from carclf.runs.tables import read_epochs
from carclf.training.data.split import SPLIT
from carclf.training.loop import train
from carclf.training.record.log import EpochLog
from detection import UsageError
from detection.common.config import read_config
from detection.training.checkpoints import WholeCheckpoints
from detection.version import __version__
from tests.carclf.drawn import draw_folders
from tests.carclf.short_runs import results, short_config, short_stage, weights

pytestmark = pytest.mark.usefixtures("no_pictures")

STAGES = [short_stage("head", augmentation=0.5), short_stage("all", 2)]
SETTINGS = {"stages": STAGES, "validation": 0.25}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("first")
    draw_folders(root / "photos", each=8)
    return root / "photos"


@pytest.fixture(scope="module")
def undisturbed(photos):
    return train(short_config(photos.parent, output=photos.parent / "whole", **SETTINGS))


def at_epoch(stage, epoch, act):
    """A patch of `EpochLog` that calls `act` when this epoch (from 0) begins."""
    real = EpochLog.on_train_epoch_start

    def start(log, trainer, module):
        if (log.stage.name, trainer.current_epoch) == (stage, epoch):
            act()
        real(log, trainer, module)

    return start


def stop(*_):
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def begun(photos, tmp_path_factory):
    """A run with photos of its own, stopped in the second epoch of its second stage."""
    root = tmp_path_factory.mktemp("begun")
    shutil.copytree(photos, root / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpochLog, "on_train_epoch_start", at_epoch("all", 1, stop))
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(short_config(root, **SETTINGS))
    return root


@pytest.fixture
def stopped(begun, tmp_path):
    """A copy of it that knows no other place."""
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    for name in ("config.yaml", SPLIT):
        file = tmp_path / "run" / name
        file.write_text(file.read_text().replace(str(begun), str(tmp_path)))
    return tmp_path / "run"


def same(run, other) -> None:
    assert results(run) == results(other)
    ours, theirs = weights(run), weights(other)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_same_photos_at_another_place(stopped, undisturbed, tmp_path, capsys):
    """Renamed too: what counts is the content. The run then knows the new place."""
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/red/1.jpg").rename(tmp_path / "elsewhere/red/one.jpg")
    with pytest.raises(UsageError, match="pass data=FOLDER"):
        train(resumed_config(stopped))
    train(resumed_config(stopped, [f"data={tmp_path / 'elsewhere'}"]))
    assert "24 photos of" in capsys.readouterr().err
    same(stopped, undisturbed)
    assert all(os.path.isfile(file) for file in pd.read_csv(stopped / SPLIT)["file"])
    assert read_config(TrainConfig, stopped / "config.yaml").data == tmp_path / "elsewhere"
    assert json.loads((stopped / "state.json").read_text())["written_by"] == {"carclf": __version__, "format": 1}


def test_the_same_photos_by_a_list(stopped, undisturbed, tmp_path):
    (tmp_path / "photos").rename(tmp_path / "all")
    names = [(path.relative_to(tmp_path), path.parent.name) for path in sorted((tmp_path / "all").rglob("*.jpg"))]
    (tmp_path / "list.csv").write_text("file,label\n" + "".join(f"{name},{label}\n" for name, label in names))
    train(resumed_config(stopped, [f"data={tmp_path / 'list.csv'}"]))
    same(stopped, undisturbed)


def test_photos_that_are_gone_or_changed_are_told_before_anything_is_computed(stopped, tmp_path, monkeypatch):
    monkeypatch.setattr(carclf.training.loop, "first_network", stop)
    (tmp_path / "photos/red/1.jpg").unlink()
    (tmp_path / "photos/red/2.jpg").write_bytes(b"no photo")
    before = (stopped / "config.yaml").read_bytes(), (stopped / SPLIT).read_bytes()
    for settings in ([], [f"data={tmp_path / 'photos'}"]):
        with pytest.raises(UsageError, match=r"2 of the 24 photos .*red/1\.jpg.*data=FOLDER.*init="):
            train(resumed_config(stopped, settings))
    shutil.copytree(tmp_path / "photos/blue", tmp_path / "other/red")
    shutil.copytree(tmp_path / "photos/blue", tmp_path / "other/blue")
    with pytest.raises(UsageError, match="2 of the 24 photos"):  # those of the old place still serve
        train(resumed_config(stopped, [f"data={tmp_path / 'other'}"]))
    assert before == ((stopped / "config.yaml").read_bytes(), (stopped / SPLIT).read_bytes())


def test_a_run_that_noted_no_digests_takes_photos_by_their_names(stopped, undisturbed, tmp_path, capsys):
    """As those of version 0.4."""
    pd.read_csv(stopped / SPLIT)[["file", "label", "split"]].to_csv(stopped / SPLIT, index=False)
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/red/1.jpg").rename(tmp_path / "kept.jpg")
    with pytest.raises(UsageError, match=r"1 of the 24 photos .*red/1\.jpg"):
        train(resumed_config(stopped, [f"data={tmp_path / 'elsewhere'}"]))
    (tmp_path / "kept.jpg").rename(tmp_path / "elsewhere/red/1.jpg")
    train(resumed_config(stopped, [f"data={tmp_path / 'elsewhere'}"]))
    assert "names alone" in capsys.readouterr().err
    same(stopped, undisturbed)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_photo_that_breaks_in_the_middle_is_one_sentence(workers, photos, undisturbed, tmp_path, monkeypatch):
    """Of a reader process too, which wraps it into its traceback. Put back, the run ends as it would have."""
    shutil.copytree(photos, tmp_path / "photos")
    broken = next(iter(sorted((tmp_path / "photos/red").iterdir())))
    whole = broken.read_bytes()
    config = short_config(tmp_path, workers=workers, **SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(EpochLog, "on_train_epoch_start", at_epoch("all", 0, lambda: broken.write_bytes(whole[:99])))
        with pytest.raises(UsageError) as error:
            train(config)
    said = str(error.value)
    assert str(broken) in said and f"carclf train --resume {config.output}" in said and "\n" not in said
    broken.write_bytes(whole)
    same(train(resumed_config(config.output, ["workers=0"])), undisturbed)


def test_a_full_disk_is_one_sentence_and_the_run_resumes(photos, undisturbed, tmp_path, monkeypatch):
    """Stood for by a checkpoint, then a table, that can't be written."""
    shutil.copytree(photos, tmp_path / "photos")
    config = short_config(tmp_path, **SETTINGS)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for owner, name in ((WholeCheckpoints, "save_checkpoint"), (EpochLog, "_add_batches")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, full)
            with pytest.raises(UsageError, match=r"No space left.*make room.*--resume"):
                train(config)
    same(train(config), undisturbed)


def test_more_epochs_for_the_stage_that_runs_and_other_later_ones(stopped, undisturbed):
    """What has not begun may be anything; a resumed run remembers it."""
    with pytest.raises(UsageError, match=r"'head' .* is done.*epochs 1, now 4.*init="):
        train(resumed_config(stopped, ["stages.head.epochs=4"]))
    with pytest.raises(UsageError, match=r"'all' .* has begun.*learning_rate"):
        train(resumed_config(stopped, ["stages.1.learning_rate=1"]))
    with pytest.raises(UsageError, match=r"'all' .* has begun, so it must stay"):
        train(resumed_config(stopped, ["stages.all=null"]))
    with pytest.raises(UsageError, match=r"no 'tail' in 'stages': known there are head, all"):
        resumed_config(stopped, ["stages.tail.epochs=4"])
    train(resumed_config(stopped, ["stages.all.epochs=3"]))
    assert [(row["stage"], row["epoch"]) for row in read_epochs(stopped)] == [
        ("head", 1), ("all", 1), ("all", 2), ("all", 3),
    ]  # fmt: skip
    assert read_epochs(stopped)[2]["train_loss"] == read_epochs(undisturbed)[2]["train_loss"]
    assert read_config(TrainConfig, stopped / "config.yaml").stages[1].epochs == 3
    with pytest.raises(UsageError, match=r"finished.*carclf train CONFIG init="):
        train(resumed_config(stopped, ["stages.all.epochs=9"]))


def test_a_later_stage_may_be_dropped(stopped):
    shutil.rmtree(stopped / "checkpoints")  # as if it had been stopped between the two
    train(resumed_config(stopped, ["stages.all=null"]))
    assert json.loads((stopped / "metrics.json").read_text())["best_stage"] == "head"


def test_epochs_that_shape_the_rates_stay(stopped):
    text = (stopped / "config.yaml").read_text()
    (stopped / "config.yaml").write_text(text.replace("schedule: plateau", "schedule: cosine"))
    with pytest.raises(UsageError, match=r"'cosine' follows from its number of epochs"):
        train(resumed_config(stopped, ["stages.all.epochs=9"]))
