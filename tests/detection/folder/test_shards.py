"""Several machines that share a folder's photos, and the merging of what they wrote."""

from __future__ import annotations

import json
import shutil
import threading

import pytest

from detection.common.errors import UsageError
from detection.folder.merge import merge_shards
from detection.folder.shards import Shard, parse_shard
from tests.fakes import FakeDetector, draw_car
from tests.folder_runs import put, rows, run, tree


@pytest.fixture
def many(tmp_path):
    for number in range(30):
        put(
            tmp_path / "in" / str(number % 3) / f"{number}.png",
            draw_car((220, 20, number), box=(20 + number, 30, 90, 70)),
        )
    put(tmp_path / "in" / "grey.png", draw_car(box=(0, 0, 0, 0)))
    (tmp_path / "in" / "bad.jpg").write_bytes(b"")
    return tmp_path / "in"


@pytest.fixture
def reference(many, tmp_path):
    run(many, tmp_path / "reference")
    return tree(tmp_path / "reference")


def test_each_photo_is_in_one_shard():
    names = [f"folder/{number}.jpg" for number in range(4000)]
    parts = [[name for name in names if Shard(4, index).holds(name)] for index in (1, 2, 3, 4)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert all(900 < len(part) < 1100 for part in parts)
    assert all(Shard().holds(name) for name in names)
    for text in ("0/2", "3/2", "1", "a/b", "1/2/3", "-1/2", "1/999999999"):
        with pytest.raises(UsageError, match="is not a shard"):
            parse_shard(text)


def test_shards_of_one_output_merge_to_what_one_run_writes(many, tmp_path, reference):
    out = tmp_path / "out"
    done = [run(many, out, shard=f"{index}/3").processed for index in (3, 1, 2)]
    assert sum(done) == 32 and all(done)
    assert not (out / "manifest.csv").exists() and (out / "manifest-2-of-3.csv").is_file()
    summary = merge_shards([out])
    assert summary.counts == {"ok": 30, "no_car": 1, "unreadable": 1} and summary.exit_code == 3
    assert "merged from 3 shards" in str(summary)
    assert tree(out) == reference
    assert run(many, out).processed == 0  # it can be continued as one run
    with pytest.raises(UsageError, match="run without shards"):
        run(many, out, shard="1/3")
    with pytest.raises(UsageError, match="holds no results of shards"):
        merge_shards([out])


def test_shards_of_several_outputs_merge_into_a_new_one(many, tmp_path, reference):
    outs = [tmp_path / f"out{index}" for index in (1, 2, 3)]
    for index, out in enumerate(outs, 1):
        run(many, out, shard=f"{index}/3", save_detections=True)
    before = [tree(out) for out in outs]
    merge_shards([*outs, tmp_path / "whole"])
    found = tree(tmp_path / "whole")
    assert found.pop("detections.jsonl").count(b"\n") == 32
    assert found == reference and [tree(out) for out in outs] == before
    merge_shards([*reversed(outs)])  # into the first of them, which holds shard 1
    found = tree(outs[0])
    found.pop("detections.jsonl")
    assert found == reference


def test_all_vehicles_of_shards_merge(many, tmp_path):
    run(many, tmp_path / "reference", all_vehicles=True)
    for index in (1, 2):
        run(many, tmp_path / "out", shard=f"{index}/2", all_vehicles=True)
    merge_shards([tmp_path / "out"])
    assert tree(tmp_path / "out") == tree(tmp_path / "reference")


def test_shards_run_at_the_same_time_in_one_output(many, tmp_path, reference):
    threads = [
        threading.Thread(target=run, args=(many, tmp_path / "out"), kwargs={"shard": f"{index}/4"})
        for index in (1, 2, 3, 4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    merge_shards([tmp_path / "out"])
    assert tree(tmp_path / "out") == reference


def test_a_live_shards_temp_files_stay(many, tmp_path):
    out = tmp_path / "out"
    run(many, out, shard="1/2")
    (out / ".carclf-99-0.tmp").write_bytes(b"being written")
    run(many, out, shard="2/2")
    assert (out / ".carclf-99-0.tmp").exists()
    merge_shards([out])
    assert not (out / ".carclf-99-0.tmp").exists()


def test_what_is_missing_double_or_different_is_refused(many, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    run(many, one, shard="1/2")
    with pytest.raises(UsageError, match="The shards 2/2 are missing"):
        merge_shards([one])
    shutil.copytree(one, tmp_path / "copy")
    with pytest.raises(UsageError, match="The shard 1/2 is in '.*one' and in '.*copy'"):
        merge_shards([one, tmp_path / "copy"])
    run(many, two, shard="2/2", quality=80)
    with pytest.raises(UsageError, match="'.*one' was made with quality '95' and '.*two' with '80'"):
        merge_shards([one, two, tmp_path / "whole"])
    run(many, two, shard="2/2", restart=True)
    run(many, tmp_path / "third", shard="3/3")
    with pytest.raises(UsageError, match="Shards of 2 and of 3"):
        merge_shards([one, two, tmp_path / "third"])
    with pytest.raises(UsageError, match="holds no results of shards"):
        merge_shards([tmp_path / "nowhere"])
    manifest = (two / "manifest-2-of-2.csv").read_bytes()
    (two / "manifest-2-of-2.csv").unlink()
    with pytest.raises(UsageError, match="The shards 2/2 have not ended"):
        merge_shards([one, two, tmp_path / "whole"])
    (two / "manifest-2-of-2.csv").write_bytes(manifest)
    put(many / "new.png", draw_car())
    with pytest.raises(UsageError, match="1 photos of '.*in' have no row, the first is 'new.png' of shard ./2"):
        merge_shards([one, two, tmp_path / "whole"])
    (many / "new.png").unlink()
    lost = next(two.rglob("*.jpg"))
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(UsageError, match="is missing or not as shard 2/2 wrote it"):
        merge_shards([one, two, tmp_path / "whole"])
    lost.write_bytes(content)
    double = (one / "journal-1-of-2.jsonl").read_bytes().splitlines(keepends=True)[0]
    journal = (two / "journal-2-of-2.jsonl").read_bytes()
    (two / "journal-2-of-2.jsonl").write_bytes(journal + double)
    with pytest.raises(UsageError, match=r"has a row in two shards"):
        merge_shards([one, two, tmp_path / "whole"])
    assert not (tmp_path / "whole").exists()


def test_runs_with_another_number_of_shards_are_refused(many, tmp_path):
    run(many, tmp_path / "out", shard="1/2")
    with pytest.raises(UsageError, match="in 2 shards: pass --shard i/2"):
        run(many, tmp_path / "out", shard="1/3")
    with pytest.raises(UsageError, match="in 2 shards"):
        run(many, tmp_path / "out")
    for restart in (False, True):  # a shard that begins again may not change what the others were made with
        with pytest.raises(UsageError, match="made with quality"):
            run(many, tmp_path / "out", shard="2/2", quality=50, restart=restart)
    run(many, tmp_path / "out", shard="1/2", quality=50, restart=True)  # the only one so far may
    run(many, tmp_path / "out", shard="2/2", quality=50)
    merge_shards([tmp_path / "out"])


def test_of_shards_that_start_at_once_with_different_settings_one_is_refused(many, tmp_path, monkeypatch):
    from detection.folder.out import folder as outfolder

    checked, both = outfolder.check_output, threading.Barrier(2)

    def check(plan, settings):
        checked(plan, settings)
        both.wait(20)

    monkeypatch.setattr(outfolder, "check_output", check)
    refused = []

    def one(index: int) -> None:
        try:
            run(many, tmp_path / "out", shard=f"{index}/2", quality=50 + index)
        except UsageError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=one, args=(index,)) for index in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1 and "made with quality" in refused[0]


def test_a_running_shard_is_not_merged(many, tmp_path):
    out = tmp_path / "out"
    run(many, out, shard="1/2")
    run(many, out, shard="2/2")
    put(many / "new.png", draw_car())
    index = 1 if Shard(2, 1).holds("new.png") else 2

    class Merging(FakeDetector):
        def detect(self, images):
            with pytest.raises(UsageError, match="Another run"):
                merge_shards([out])
            return super().detect(images)

    assert run(many, out, shard=f"{index}/2", detector=Merging()).processed == 1
    merge_shards([out])


def test_a_merge_that_was_killed_at_its_end_goes_on(many, tmp_path, reference):
    out = tmp_path / "out"
    for index in (1, 2):
        run(many, out, shard=f"{index}/2")
    kept = (out / "journal-2-of-2.jsonl").read_bytes()
    merge_shards([out])
    (out / "journal-2-of-2.jsonl").write_bytes(kept)  # as if killed before its removal
    merge_shards([out])
    assert tree(out) == reference


def test_a_shard_whose_photos_are_few_may_be_empty(photos, tmp_path):
    for index in range(1, 9):
        summary = run(photos, tmp_path / "out", shard=f"{index}/8")
        assert summary.exit_code == 0
    assert merge_shards([tmp_path / "out"]).counts == {"ok": 2, "no_car": 1}
    assert len(rows(tmp_path / "out")) == 3


def test_merging_does_not_write_outside(many, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    run(many, one, shard="1/2")
    run(many, two, shard="2/2")
    (tmp_path / "evil.jpg").write_bytes(b"x" * 7)
    lines = [json.loads(line) for line in (two / "journal-2-of-2.jsonl").read_text().splitlines()]
    lines[0]["cells"][1], lines[0]["output_size"] = "../evil.jpg", 7
    (two / "journal-2-of-2.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "deep").mkdir()
    with pytest.raises(UsageError, match="would lie outside"):
        merge_shards([one, two, tmp_path / "deep" / "whole"])
    assert list((tmp_path / "deep").iterdir()) == [] or not (tmp_path / "deep" / "evil.jpg").exists()
