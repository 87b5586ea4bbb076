"""What an epoch draws: each class as often, hard photos more often; the same after a kill, shared by processes."""

import base64
import json

import numpy as np
import pandas as pd
import pytest
import torch

import carclf.training.data.dataset
import carclf.training.loop
from carclf.classifier.contract import unit
from carclf.classifier.garage.folds import DOUBT, doubt, out_of_fold
from carclf.classifier.garage.kept import LOOKS, kept_vectors
from carclf.datasets.content import OWN, with_digests
from carclf.runs.folder import resumed_config
from carclf.training.data.dataset import TrainOrder
from carclf.training.data.sampling import HARDEST, TABLE, hardness, sampling_weights, with_doubts
from carclf.training.loop import train
from carclf.training.record.log import EpochLog
from detection import UsageError
from detection.training.resume import RunState
from tests.carclf.drawn import draw_folders
from tests.carclf.short_runs import results, short_config, short_stage, weights


class Killed(BaseException):
    """Stands for the end of the process: nobody catches it."""


LABELS = [0] * 60 + [1] * 30 + [2] * 6


def epoch_of(order: TrainOrder, epoch: int) -> list[int]:
    order.set_epoch(epoch)
    found = list(order)
    assert {one for one, _ in found} == {epoch}
    return [number for _, number in found]


def rows(labels=LABELS, **columns) -> pd.DataFrame:
    return pd.DataFrame({"label": labels, **columns})


def test_balanced_draws_each_class_equally_often_in_every_epoch():
    weights, drawn = sampling_weights("balanced", rows(), LABELS)
    order = TrainOrder(len(LABELS), 1, weights, LABELS, drawn)
    for epoch in range(5):
        numbers = epoch_of(order, epoch)
        counts = np.bincount(np.array(LABELS)[numbers], minlength=3)
        assert len(numbers) == 96 and np.abs(counts - 32).max() <= 1
        often = np.bincount(numbers, minlength=96)
        assert set(often[60:90]) <= {1, 2} and set(often[90:]) <= {5, 6}  # 32/30 and 32/6 times each


def test_uniform_draws_each_photo_once_and_pseudo_labels_by_their_weight():
    assert sampling_weights("uniform", rows(), LABELS) == (None, 96)
    assert sampling_weights("uniform", rows(weight=1.0), LABELS) == (None, 96)
    table = rows(weight=[1.0] * 90 + [0.5] * 6)
    weights, drawn = sampling_weights("uniform", table, LABELS)
    order = TrainOrder(len(LABELS), 1, weights, LABELS, drawn)
    assert drawn == 93
    seen = np.sum([np.bincount(epoch_of(order, epoch), minlength=96) for epoch in range(40)], axis=0)
    assert (seen[:90] == 40).all() and seen[90:].min() >= 14 and seen[90:].sum() == 120


def test_hard_draws_unsure_photos_more_often_and_wrong_ones_not():
    table = rows(doubt=[0.0] * 40 + [DOUBT] * 20 + [0.999] * 20 + [np.nan] * 16)
    weights, drawn = sampling_weights("hard", table, LABELS)
    order = TrainOrder(len(LABELS), 1, weights, LABELS, drawn)
    seen = np.sum([np.bincount(epoch_of(order, epoch), minlength=96) for epoch in range(50)], axis=0)
    easy, hard, wrong, unknown = (seen[part].mean() for part in np.split(np.arange(96), [40, 60, 80]))
    assert hard / easy == pytest.approx(HARDEST, rel=0.05)
    assert wrong / easy == pytest.approx(1, rel=0.05) and unknown / easy == pytest.approx(1, rel=0.05)


def test_planted_faults_are_drawn_less_than_unsure_photos():
    """With the discriminant itself: of labels that are moved, the audit is sure that they are wrong."""
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 40)
    vectors = unit(np.eye(16, dtype=np.float32)[truth] + random.normal(0, 0.22, (160, 16)).astype(np.float32))
    planted = truth.copy()
    moved = random.permutation(160)[:12]
    planted[moved] = (truth[moved] + 1 + random.integers(0, 3, 12)) % 4
    doubts = doubt(out_of_fold(vectors, planted, np.arange(160)), planted)[0]
    weight = hardness(doubts)
    assert (doubts[moved] > DOUBT).mean() > 0.9
    assert weight[moved].mean() < 1.3 and weight.max() > 0.8 * HARDEST and weight.max() <= HARDEST


def test_the_order_follows_from_seed_and_epoch_and_is_shared_out(monkeypatch):
    weights, drawn = sampling_weights("balanced", rows(), LABELS)

    def order(seed=1):
        return TrainOrder(len(LABELS), seed, weights, LABELS, drawn)

    later = order()
    whole = [epoch_of(later, epoch) for epoch in (0, 1, 2)]
    assert epoch_of(order(), 2) == whole[2] != whole[1] and epoch_of(order(2), 2) != whole[2]
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr(carclf.training.data.dataset, "_place", lambda rank=rank: (rank, 2))
        assert len(order()) == 48
        parts.append(epoch_of(order(), 2))
    assert [number for pair in zip(*parts, strict=True) for number in pair] == whole[2]


def audit_of(table: pd.DataFrame, folder) -> None:
    """An audit's looks, with vectors that tell the classes apart but for one photo of each."""
    folder.mkdir()
    random = np.random.default_rng(3)
    numbers = np.unique(table["label"], return_inverse=True)[1]
    vectors = np.eye(8)[numbers] + random.normal(0, 0.1, (len(table), 8))
    lines = [json.dumps({"looks": 1, "model": "m"})]
    for digest, vector in zip(table[OWN], unit(vectors), strict=True):
        packed = base64.b64encode(np.asarray(vector, "<f2").tobytes()).decode()
        lines += [json.dumps({"id": digest, "status": "error"}), json.dumps({"id": digest, "vector": packed})]
    (folder / LOOKS).write_text("\n".join([*lines, '{"id": "torn', ""]))
    (folder / "audit.csv").write_text("")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Drawn photos, and an audit of them."""
    root = tmp_path_factory.mktemp("hard")
    files = sorted(draw_folders(root / "photos", each=8).rglob("*.jpg"))
    table = with_digests(pd.DataFrame([(str(file), file.parent.name) for file in files], columns=["file", "label"]))
    audit_of(table, root / "audit")
    return root, table


def hard_config(root, **changes):
    stages = [short_stage("head", sampling="hard"), short_stage("all", 3, sampling="balanced")]
    return short_config(root, **{"stages": stages, "difficulty": root / "audit", "deterministic": True} | changes)


def test_vectors_of_an_audit_are_known_by_content(photos, tmp_path):
    root, table = photos
    for name in ("audit", "audit/audit.csv", f"audit/{LOOKS}"):
        assert set(kept_vectors(root / name)) == set(table[OWN])
    with pytest.raises(UsageError, match="has no looks.jsonl"):
        kept_vectors(tmp_path)
    (tmp_path / LOOKS).write_text('{"looks": 1}\n{"id": "a", "vector": null}\n')
    with pytest.raises(UsageError, match="no vector"):
        kept_vectors(tmp_path)
    (tmp_path / LOOKS).write_text('{"looks": 1}\n{"id": "a", "vector": "####x"}\n')
    with pytest.raises(UsageError, match="can't be read"):
        kept_vectors(tmp_path)


def test_doubts_are_of_the_photos_to_train_on_and_kept_in_the_run(photos, tmp_path):
    root, table = photos
    split = ["val" if place % 8 == 0 else "train" for place in range(len(table))]
    table = table.assign(split=split)
    config = hard_config(root)
    found = with_doubts(config, tmp_path, table)
    assert found["doubt"].notna().tolist() == [one == "train" for one in split]
    kept = pd.read_csv(tmp_path / TABLE)
    assert len(kept) == 21 and kept["drawn"].between(1, HARDEST).all()
    # A resumed run takes what is kept, wherever the photos lie and the audit is.
    moved = table.assign(file="elsewhere/" + table["file"]).sample(frac=1, random_state=1)
    again = with_doubts(config.model_copy(update={"difficulty": tmp_path / "gone"}), tmp_path, moved)
    pd.testing.assert_series_equal(again["doubt"].sort_index(), found["doubt"])
    uniform = hard_config(root, stages=[short_stage("head")])
    assert "doubt" not in with_doubts(uniform, tmp_path, table)
    stranger = table.assign(sha256="0" * 16)
    with pytest.raises(UsageError, match="knows none of the 21 photos"):
        with_doubts(config, root, stranger)


def test_a_killed_run_draws_as_it_would_have(photos, tmp_path, monkeypatch, no_pictures):
    root, _ = photos
    whole = train(hard_config(root, output=tmp_path / "whole"))
    stages = json.loads((whole / "stages.json").read_text())
    assert [stage["sampling"] for stage in stages] == ["hard", "balanced"]
    monkeypatch.setattr(RunState, "fail", lambda self, error: None)
    real = EpochLog.on_train_epoch_end

    def killed(self, trainer, module):
        real(self, trainer, module)
        if trainer.current_epoch == 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(EpochLog, "on_train_epoch_end", killed)
        with pytest.raises(Killed):
            train(hard_config(root, output=tmp_path / "cut"))
    cut = train(resumed_config(tmp_path / "cut"))
    assert results(cut) == results(whole)
    ours, theirs = weights(cut), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (cut / TABLE).read_text() == (whole / TABLE).read_text()


def test_a_stage_says_how_it_samples_or_the_run_does():
    from carclf.runs.recipe import Stage

    stage = Stage(name="all")
    assert (stage.drawn("none"), stage.drawn("sampling")) == ("uniform", "balanced")
    assert Stage(name="all", sampling="uniform").drawn("sampling") == "uniform"
