"""A run on a cluster from and to S3: the workers read and write there."""

from __future__ import annotations

import pytest

from detection.cluster.connect import Cluster
from tests.clusters import draw_photos, far, loader
from tests.folder_runs import ROOT, run, tree

pytest.importorskip("ray", reason="no Ray here: install the extra dev")


@pytest.fixture(autouse=True)
def no_network():
    """In place of the one of all tests: Ray's nodes meet at this machine's own address, not at loopback's."""


@pytest.mark.slow
def test_workers_read_and_write_in_a_place(s3, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_worker_niceness", "0")
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
    books = ("journal.jsonl", "settings.json")  # they know the photos' stamps, and where they lie
    there = tree(s3.folder / s3.bucket / "out")
    expected = tree(tmp_path / "reference")
    assert {name: data for name, data in there.items() if name not in books} == {
        name: data for name, data in expected.items() if name not in books
    }
    assert run(f"{place}/in", f"{place}/out", detector=loader()).processed == 0
