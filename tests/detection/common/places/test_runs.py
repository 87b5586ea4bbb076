"""What else a folder run can do, from and to a place."""

from __future__ import annotations

import pytest

from detection.common.errors import UsageError
from detection.common.places.sink import results_at
from detection.folder import run as runs
from detection.folder.dry_run import dry_run
from detection.folder.merge import merge_shards
from detection.folder.options import CleanOptions
from tests.folder_runs import STYLE, rows, run, tree


@pytest.fixture
def memory():
    fsspec = pytest.importorskip("fsspec")
    return fsspec.filesystem("memory")


def _files(memory, folder) -> dict[str, bytes]:
    found = memory.find(folder)
    return {name[len(folder) + 1 :]: memory.cat_file(name) for name in found if not name.endswith("run.json")}


def test_a_place_can_be_watched(memory, cars, tmp_path, monkeypatch):
    names = iter(["car0.png", "car1.png", None, None, "car2.png", None, None])
    memory.pipe_file("/in/first.png", (cars / "car3.png").read_bytes())

    def sleep(seconds):
        try:
            name = next(names)
        except StopIteration:
            raise KeyboardInterrupt from None
        if name:
            memory.pipe_file(f"/in/{name}", (cars / name).read_bytes())

    monkeypatch.setattr(runs.time, "sleep", sleep)
    summary = run("memory://in", "memory://out", watch=0.01)
    assert summary.counts == {"ok": 4}
    made = _files(memory, "/out")
    assert {"car0.jpg", "car1.jpg", "car2.jpg", "first.jpg", "manifest.csv"} <= made.keys()


def test_contact_sheets_and_every_vehicle_in_a_place(memory, cars, tmp_path):
    options = {"contact_sheet": True, "all_vehicles": True}
    here, there = run(cars, tmp_path / "here", **options), run(cars, "memory://out", **options)
    made = _files(memory, "/out")
    assert made == tree(tmp_path / "here") and "contact-sheet/page-00001.jpg" in made
    assert here.counts == there.counts
    assert there.notes[-1] == "1 page to look at: memory://out/contact-sheet/index.html"


def test_shards_share_a_place_and_are_merged_here(memory, cars, tmp_path):
    for index in (1, 2):
        run(cars, "memory://out", shard=f"{index}/2")
    memory.get("/out", str(tmp_path / "out"), recursive=True)
    with pytest.raises(UsageError, match="can't be merged: only folders here"):
        merge_shards(["memory://out"])
    merge_shards([tmp_path / "out"])
    run(cars, tmp_path / "here")
    assert rows(tmp_path / "out") == rows(tmp_path / "here")


def test_a_dry_run_writes_nothing_there(memory, cars):
    text = str(dry_run(cars, "memory://out", STYLE, CleanOptions()))
    assert "8 photos" in text and "Would go to 'memory://out'" in text
    assert not memory.find("/out")


def test_what_is_in_the_way_is_told(memory, cars):
    memory.pipe_file("/out/car1.jpg", b"another's")
    with pytest.raises(UsageError, match="'memory://out/car1.jpg' is in the way"):
        run(cars, "memory://out")
    assert memory.cat_file("/out/car1.jpg") == b"another's"


def test_odd_keys_are_rows_or_told(memory, cars, tmp_path):
    data = (cars / "car0.png").read_bytes()
    for name in ("a b.png", "é ü.png", "q?x=1.png", "a#b.png", "x%20y.png", "[1].png", "line\nbreak.png", "con.png"):
        memory.pipe_file(f"/in/{name}", data)
    memory.store["/in/up/../away.png"] = memory.store["/in/a b.png"]
    memory.store["/in//nameless.png"] = memory.store["/in/a b.png"]
    summary = run("memory://in", tmp_path / "out")
    assert summary.counts == {"ok": 8} and len(list((tmp_path / "out").rglob("*.jpg"))) == 8
    assert summary.missed == 2 and summary.exit_code == 3
    assert run("memory://in", "memory://copy").counts == {"ok": 8}
    assert len([name for name in memory.find("/copy") if name.endswith(".jpg")]) == 8


def test_a_folder_of_results_goes_to_a_place_at_the_end(memory, tmp_path):
    with results_at("memory://figures") as folder:
        (folder / "below").mkdir()
        (folder / "below" / "metrics.json").write_text("{}")
        assert not memory.find("/figures")
    assert memory.cat_file("/figures/below/metrics.json") == b"{}"
    with results_at(tmp_path / "here") as folder:
        assert folder == tmp_path / "here"
