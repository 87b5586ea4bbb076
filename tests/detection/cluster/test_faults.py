"""What dies on a cluster costs time, and nothing else: each photo once, and the bytes of a local run."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter

import pytest

from detection.cluster.connect import Cluster
from detection.cluster.crew import KILLED
from detection.folder.run import clean_folder
from tests.clusters import draw_photos, driver, far, kill_a_worker, loader, local, nodes
from tests.folder_runs import ROOT, STYLE, rows, tree

pytest.importorskip("ray", reason="no Ray here: install the extra dev")
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_network():
    """In place of the one of all tests: Ray's nodes meet at this machine's own address, not at loopback's."""


@pytest.fixture(scope="module")
def three():
    """A cluster of three nodes; what a test removes it adds again."""
    with nodes(3) as made:
        yield made


@pytest.fixture
def notes(tmp_path):
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


def test_workers_and_nodes_die_at_many_moments(three, tmp_path, notes):
    source = draw_photos(tmp_path / "in", 120)
    expected = local(source, tmp_path / "reference")
    seen = []

    def strike(done, total):
        seen.append(done)
        if done % 17 == 5:
            kill_a_worker(notes)
        if done == 60:
            three.remove()
        if done == 80:
            three.add()

    far(source, tmp_path / "out", loader(notes), Cluster(address=three.address), progress=strike)
    assert seen == list(range(1, 123))
    assert tree(tmp_path / "out") == expected


def test_twenty_deaths_over_500_photos(three, tmp_path, notes):
    """13 workers, 4 nodes and 3 drivers die, each later in the run than the one before."""
    source, out = draw_photos(tmp_path / "in", 500), tmp_path / "out"
    expected = local(source, tmp_path / "reference")
    journal, struck = out / "journal.jsonl", []

    def done():
        return journal.read_bytes().count(b"\n") if journal.is_file() else 0

    def strike(kind, running):
        """Whether anybody died before the driver ended."""
        while kind == "worker" and not kill_a_worker(notes):  # the next ones are about to begin
            if running.poll() is not None:
                return False
            time.sleep(0.1)
        struck.append((kind, done()))
        if kind == "node":
            three.remove()
            three.add()
        return True

    moments = [(22 * number, "node" if number % 5 == 3 else "worker") for number in range(20) if number % 6 != 5]
    for last in (5, 11, 17, None):
        death = 22 * last if last else 0
        running = subprocess.Popen(driver(source, out, three.address, death, notes), cwd=ROOT)
        while moments and (not death or moments[0][0] < death):
            while running.poll() is None and done() < moments[0][0]:
                time.sleep(0.05)
            if running.poll() is not None or not strike(moments[0][1], running):
                break
            moments.pop(0)
        assert running.wait() == (-signal.SIGKILL if death else 0)
        struck += [("driver", done())] if death else []
    print("500 photos; who died after so many rows:", *(f"{kind} {number}" for kind, number in struck), sep="\n  ")
    died = Counter(kind for kind, _ in struck)
    assert died["driver"] == 3 and died["node"] == 4 and died["worker"] >= 12  # the run may end before the last one
    found = rows(out)
    assert sorted(found) == sorted(rows(tmp_path / "reference")) and len(found) == 502
    # Where a worker was killed twice while it tried the same photo by itself, the photo is blamed, and tried again.
    blamed = [name for name, row in found.items() if row["reason"] == KILLED]
    print("blamed:", blamed)
    assert len(blamed) <= 3
    if blamed:
        far(source, out, loader(notes), Cluster(address=three.address), retry_failed=True)
    assert tree(out) == expected


def test_a_photo_that_kills_its_worker_is_a_row(three, tmp_path):
    source = draw_photos(tmp_path / "in", 60, killers=(7, 41))
    summary = far(source, tmp_path / "out", loader(), Cluster(address=three.address))
    found = rows(tmp_path / "out")
    assert len(found) == 62 and summary.counts == {"ok": 58, "no_car": 1, "unreadable": 1, "error": 2}
    assert [name for name, row in found.items() if row["reason"] == KILLED] == ["007.png", "041.png"]
    # Without what killed them, they are photos like others.
    expected = local(source, tmp_path / "reference", deadly=False)
    far(source, tmp_path / "out", loader(deadly=False), Cluster(address=three.address), retry_failed=True)
    assert tree(tmp_path / "out") == expected


@pytest.mark.parametrize("last", ["ray", "local"])
def test_the_driver_dies_and_either_engine_ends_the_run(three, tmp_path, last):
    source, out = draw_photos(tmp_path / "in", 60), tmp_path / "out"
    expected = local(source, tmp_path / "reference")
    for moment in (1, 12, 30):
        command = driver(source, out, three.address, moment)
        assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == -signal.SIGKILL
    cluster = Cluster(address=three.address) if last == "ray" else None
    summary = clean_folder(source, out, loader(), STYLE, progress=False, cluster=cluster)
    assert summary.processed == 32  # of 62, where the last driver died after 30
    assert tree(out) == expected
