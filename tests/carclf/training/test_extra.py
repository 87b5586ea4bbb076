"""Photos without labels: what is taken on a model's word or a person's, and what is left out."""

import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from carclf.datasets.content import EXTRA, content_digests, known_photos, with_digests
from carclf.runs.folder import resumed_config
from carclf.training.data import extra
from carclf.training.data.extra import ABOUT, sure_from, with_extra
from carclf.training.loop import train
from detection import UsageError
from detection.cutout.cut import CutoutStyle
from detection.detectors.contract import CarChecker
from detection.images.read import load_image
from detection.images.write import save_image
from detection.vehicle import Look
from tests.carclf.drawn import COLOURS, draw, draw_folders
from tests.carclf.short_runs import results, short_config, short_stage, weights

pytestmark = pytest.mark.usefixtures("no_pictures")


class ColourCheck(CarChecker):
    """Takes for cars what is strongly coloured, as the drawn ones are."""

    def look(self, views):
        return [Look(0.9 if np.ptp(view, axis=2).mean() > 20 else 0.1, "grey thing") for view in views]


@pytest.fixture(autouse=True)
def check(monkeypatch):
    monkeypatch.setattr(extra, "LateCheck", ColourCheck)


@pytest.fixture(scope="module")
def first(tmp_path_factory, no_pictures):
    """A run that has learnt the three colours well."""
    root = tmp_path_factory.mktemp("first")
    draw_folders(root / "photos", each=20)
    stages = [short_stage("all", 5, learning_rate=0.02, keep="last", schedule="onecycle")]
    return train(short_config(root, stages=stages, validation=0.4, label_smoothing=0.0))


@pytest.fixture
def photos(first, tmp_path):
    """A folder of 12 unlabelled photos: new cars, one grey thing, copies of a validation and of a labelled photo, one
    that can't be read; and the journal of a person who decided about three of them."""
    folder = tmp_path / "extra"
    folder.mkdir()
    random = np.random.default_rng(9)
    for number, name in enumerate(["red", "green", "blue", "red", "green", "blue", "red"]):
        save_image(folder / f"{number}-{name}.png", draw(COLOURS[name], random))
    save_image(folder / "grey.png", cv2.resize(random.integers(0, 255, (9, 12, 1), np.uint8).repeat(3, 2), (60, 40)))
    split = pd.read_csv(first / "split.csv")
    for side in ("val", "train"):
        file = split["file"][split["split"] == side].iloc[0]
        save_image(folder / f"copy-{side}.jpg", load_image(file))  # saved again: other bytes, the same picture
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    shutil.copyfile(folder / "0-red.png", folder / "again.png")
    decide(folder, [("class", "1-green.png", "blue"), ("no_car", "2-blue.png", None), ("class", "3-red.png", "lorry"),
                    ("class", "4-green.png", "red")], undo=3)  # fmt: skip
    return folder


def decide(folder, decisions, undo):
    """A journal in the format of `carclf review`; the decision of that number is undone."""
    digests = content_digests([str(folder / name) for _, name, _ in decisions])
    lines = [{"corrections": 1, "written_by": {"carclf": "0.6.0", "format": 1}}]
    for number, ((decision, name, new), digest) in enumerate(zip(decisions, digests, strict=True)):
        lines.append({"id": f"{number}", "time": "2026-11-27T09:14:03.120Z", "by": "ann", "decision": decision,
                      "file": name, "sha256": digest, "new": new})  # fmt: skip
    undone = {"id": "u", "time": "2026-11-27T09:15:00.000Z", "by": "ann", "decision": "undo", "undoes": f"{undo}"}
    lines.append(undone | {"sha256": digests[undo], "file": ""})
    program = {"id": "p", "decision": "class", "human": False, "by": "robot", "file": "5-blue.png", "new": "red"}
    lines.append(program | {"sha256": content_digests([str(folder / "5-blue.png")])[0]})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "corrections.jsonl").write_text(text + '{"id": "torn')


def second(first, photos, root, **changes):
    """A training from the first run, with its photos and its split."""
    stages = [short_stage("head", 2), short_stage("all", sampling="balanced")]
    settings = {"data": first.parent / "photos", "init": str(first), "extra": photos, "validation": 0.4}
    return short_config(root, stages=stages, deterministic=True, **settings | changes)


def test_each_photo_has_a_row_and_the_sure_ones_are_trained_on(first, photos, tmp_path, capsys):
    run = train(second(first, photos, tmp_path))
    rows = pd.read_csv(run / EXTRA, keep_default_na=False).set_index("file")
    assert rows["status"].to_dict() == {
        "0-red.png": "taken", "1-green.png": "person", "2-blue.png": "no car", "3-red.png": "other class",
        "4-green.png": "taken", "5-blue.png": "taken", "6-red.png": "taken", "grey.png": "no car",
        "copy-val.jpg": "copy", "copy-train.jpg": "copy", "broken.jpg": "unreadable", "again.png": "copy",
    }  # fmt: skip
    taken = rows[rows["status"] == "taken"]
    assert all(label in name for name, label in taken["label"].items()) and (taken["weight"] == 0.5).all()
    assert rows.loc["1-green.png", ["label", "weight"]].tolist() == ["blue", 1.0]  # the person has the last word
    assert (rows["weight"][~rows["status"].isin(["taken", "person"])] == 0).all()
    assert "validation" in rows["reason"]["copy-val.jpg"] and "labelled" in rows["reason"]["copy-train.jpg"]
    about = json.loads((run / "metrics.json").read_text())["extra"]
    assert about == json.loads((run / ABOUT).read_text())
    assert (about["photos"], about["taken"], about["by_person"]) == (12, 4, 1)
    assert about["right_above"] >= 0.98 and 0 < about["threshold"] <= taken["confidence"].astype(float).min()
    told = capsys.readouterr().err
    assert "12 extra photos" in told and "4 taken" in told and "(copy)" in told
    # 36 with a label, one of a person, four with half the weight
    assert f"draws {36 + 1 + 2} of {36 + 5} photos" in told
    assert len(pd.read_csv(run / "split.csv")) == 60  # validation is as it was
    known = known_photos(run / "best.safetensors").trained_on([str(photos / name) for name in rows.index])
    trained = {name for name, one in zip(rows.index, known, strict=True) if one}
    assert trained == {*taken.index, "1-green.png", "again.png"}


def test_a_resumed_run_keeps_what_was_chosen(first, photos, tmp_path, monkeypatch):
    whole = train(second(first, photos, tmp_path, output=tmp_path / "whole"))
    monkeypatch.setattr("detection.training.resume.RunState.fail", lambda self, error: None)
    with monkeypatch.context() as patch:

        def cut(net, number, job):
            raise _Killed

        patch.setattr("carclf.training.loop.run_stage", cut)
        with pytest.raises(_Killed):
            train(second(first, photos, tmp_path, output=tmp_path / "cut"))
    (photos / "corrections.jsonl").unlink()  # decided anew, renamed: the run knows its photos by their content
    (photos / "0-red.png").rename(photos / "renamed.png")
    (photos / "again.png").unlink()
    resumed = train(resumed_config(tmp_path / "cut"))
    assert results(resumed) == results(whole)
    ours, theirs = weights(resumed), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    (photos / "6-red.png").unlink()
    config = second(first, photos, tmp_path)
    table = with_digests(pd.read_csv(whole / "split.csv")[["file", "label", "split"]])
    with pytest.raises(UsageError, match="1 are gone or have changed, for example '6-red.png'"):
        with_extra(config, tmp_path / "cut", table, CutoutStyle(), "compact")


class _Killed(BaseException):
    pass


def test_what_can_not_be_taken_is_refused_in_a_sentence(first, photos, tmp_path):
    table = with_digests(pd.read_csv(first / "split.csv")[["file", "label", "split"]])

    def taken(table=table, **changes):
        config = second(first, photos, tmp_path).model_copy(update=changes)
        return with_extra(config, tmp_path, table, CutoutStyle(), "compact")

    with pytest.raises(UsageError, match="is no folder"):
        taken(extra=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no photos"):
        taken(extra=tmp_path / "empty")
    with pytest.raises(UsageError, match=r"does not know 1 class of the data \(lorry\)"):
        taken(table.assign(label=table["label"].replace("red", "lorry")))
    with pytest.raises(UsageError, match="trained on all of the validation photos"):
        taken(table.assign(split=table["split"].map({"train": "val", "val": "train"})))
    with pytest.raises(ValueError, match="extra_model, or init"):
        second(first, photos, tmp_path, init=None)
    with pytest.raises(ValueError, match="only a folder of this machine"):
        second(first, photos, tmp_path, extra="s3://bucket/photos")


def test_an_unsure_model_takes_nothing_and_says_so(first, photos, tmp_path, capsys):
    table = with_digests(pd.read_csv(first / "split.csv")[["file", "label", "split"]])
    wrong = table.assign(label=table["label"].map({"red": "blue", "blue": "green", "green": "red"}))
    config = second(first, photos, tmp_path)
    found = with_extra(config, tmp_path, wrong, CutoutStyle(), "compact")
    rows = pd.read_csv(tmp_path / EXTRA)
    assert set(rows["status"]) == {"unsure", "person", "no car", "other class", "copy", "unreadable"}
    assert len(found) == len(table) + 1 and found["weight"].eq(1).all()
    assert "nowhere 98% right on the 24 validation photos" in capsys.readouterr().err


def test_the_threshold_is_the_lowest_that_is_right_often_enough():
    confidence = np.linspace(0.01, 1, 100)
    right = np.ones(100, bool)
    right[:60] = False
    right[80] = False
    assert sure_from(confidence, right, 0.98) == pytest.approx(0.82)
    assert sure_from(confidence, right, 0.97) == pytest.approx(0.61)
    assert sure_from(confidence, np.zeros(100, bool), 0.5) is None
    assert sure_from(confidence[:9], np.ones(9, bool), 0.98) is None  # too few to tell
    assert sure_from(np.full(50, 0.7), np.arange(50) != 3, 0.98) == 0.7  # equally sure ones stay together
    assert sure_from(np.full(50, 0.7), np.arange(50) > 3, 0.98) is None
    assert sure_from(np.empty(0), np.empty(0, bool), 0.98) is None
