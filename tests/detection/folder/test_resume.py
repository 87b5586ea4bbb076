"""A folder run that was stopped, or is started again: it resumes, and never loses or doubles work."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from detection.common.errors import UsageError
from detection.cutout.cut import CutoutStyle
from tests.fakes import FakeDetector, draw_car
from tests.folder_runs import ROOT, STYLE, put, rows, run, times, tree

# pytest undoes the filter that detection.images.read sets when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data")


def test_a_finished_run_started_again_does_nothing(photos, tmp_path):
    (photos / "bad.jpg").write_bytes(b"")
    assert run(photos, tmp_path / "out").exit_code == 3
    before, detector = times(tmp_path / "out"), FakeDetector()
    summary = run(photos, tmp_path / "out", detector=detector)
    assert times(tmp_path / "out") == before and detector.calls == []
    assert (summary.exit_code, summary.processed) == (3, 0) and "nothing to do" in str(summary)


def test_what_has_changed_is_done_again(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    reference = tree(out)
    (out / "red.jpg").unlink()
    (out / "sub" / "blue.jpg").write_bytes(b"half")
    assert run(photos, out).processed == 2
    assert tree(out) == reference
    put(photos / "red.jpg", np.full((96, 128, 3), 128, np.uint8))
    put(photos / "new.png", draw_car())
    assert run(photos, out).counts == {"ok": 2, "no_car": 2}
    (photos / "new.png").unlink()
    summary = run(photos, out)
    assert list(rows(out)) == ["grey.jpg", "red.jpg", "sub/blue.png"]
    assert "new.png" in summary.notes[0] and (out / "new.jpg").exists()


def test_torn_and_damaged_journal(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    reference, journal = tree(out), (out / "journal.jsonl").read_bytes()
    lines = journal.splitlines(keepends=True)
    for content in (b"", journal[:-7], lines[0][:9], lines[0] + b"{}\n[1]\n\xff\n" + lines[2], b"".join(lines[:2])):
        (out / "journal.jsonl").write_bytes(content)
        (out / "manifest.csv").unlink()
        (out / ".carclf-99-0.tmp").write_bytes(b"half")
        (out / "sub" / ".carclf-99-1.tmp").write_bytes(b"half")
        run(photos, out)
        assert tree(out) == reference


SLOW = """
import signal, sys, time
from pathlib import Path
from detection.cutout import CutoutStyle
from detection.folder import clean_folder
from tests.fakes import FakeDetector

# Where the tests run in the background of a script, Ctrl-C is ignored and stays so in child processes.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Slow(FakeDetector):
    def detect(self, images):
        time.sleep(0.05)
        return super().detect(images)

clean_folder(Path(sys.argv[1]), Path(sys.argv[2]), Slow(), CutoutStyle(), batch_size=2)
"""


def start_slow(source: Path, output: Path, done: int) -> subprocess.Popen:
    """A run in a process of its own, given back when `done` photos or more are in its journal."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, source, output], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    journal = output / "journal.jsonl"
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= done):
        time.sleep(0.005)
    assert process.poll() is None, process.stderr.read()
    return process


@pytest.fixture
def many(tmp_path) -> Path:
    for number in range(40):
        image = draw_car((220, 20, 20 + number), box=(20 + number, 30, 90, 70))
        put(tmp_path / "in" / str(number % 3) / f"{number}.jpg", image)
    (tmp_path / "in" / "bad.jpg").write_bytes(b"")
    return tmp_path / "in"


def test_kill_9_and_again(many, tmp_path):
    run(many, tmp_path / "reference")
    out = tmp_path / "out"
    for done in (5, 20):
        process = start_slow(many, out, done)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (out / "manifest.csv").exists()
    summary = run(many, out)
    assert 0 < summary.processed <= 21
    assert tree(out) == tree(tmp_path / "reference")


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(many, tmp_path):
    process = start_slow(many, tmp_path / "out", 4)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode != 0
    assert "of 41 photos: the same command resumes from there" in stderr
    assert not list((tmp_path / "out").rglob("*.tmp"))
    run(many, tmp_path / "reference")
    run(many, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "reference")


def test_two_runs_at_once_are_refused(many, tmp_path):
    process = start_slow(many, tmp_path / "out", 1)
    try:
        with pytest.raises(UsageError, match="Another run"):
            run(many, tmp_path / "out")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "style, options, word",
    [
        (CutoutStyle(background="black"), {}, "background 'white'"),
        (STYLE, {"image_format": "png"}, "format 'jpg'"),
        (STYLE, {"quality": 80}, "quality '95'"),
        (STYLE, {"edge": "trained"}, "edge 'None'.* 'edge-[0-9a-f]{12}'"),
    ],
)
def test_other_settings_are_refused_until_restart(photos, tmp_path, style, options, word):
    out = tmp_path / "out"
    run(photos, out)
    before = tree(out)
    with pytest.raises(UsageError, match=f"{word}.*--restart"):
        run(photos, out, style, **options)
    assert tree(out) == before
    run(photos, out, style, restart=True, **options)
    run(photos, tmp_path / "fresh", style, **options)
    assert tree(out) == tree(tmp_path / "fresh")


def test_another_detector_or_source_is_refused(photos, tmp_path):
    out, other = tmp_path / "out", FakeDetector()
    run(photos, out)
    other.fingerprint = "fake-2"
    with pytest.raises(UsageError, match="fingerprint 'fake-1'"):
        run(photos, out, detector=other)
    other = shutil.copytree(photos, tmp_path / "copy")
    (other / "red.jpg").write_bytes((other / "grey.jpg").read_bytes())
    (other / "sub/blue.png").unlink()
    before = tree(out)
    with pytest.raises(UsageError, match=r"made with source .* where 2 of its 3 photos .*'red\.jpg'"):
        run(other, out)
    assert tree(out) == before
    (out / "settings.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        run(photos, out)


def test_the_same_photos_at_another_place_are_not_done_again(photos, tmp_path):
    """A folder that is mounted elsewhere; a copy with new times is done again, but taken."""
    out = tmp_path / "out"
    run(photos, out)
    (out / "red.jpg").unlink()
    moved, detector = photos.rename(tmp_path / "moved"), FakeDetector()
    assert run(moved, out, detector=detector).processed == sum(detector.calls) == 1
    assert json.loads((out / "settings.json").read_text())["source"] == str(moved)
    assert run(moved, out).processed == 0
    for path in moved.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    moved = moved.rename(tmp_path / "copied")
    assert run(moved, out).processed == 3
    (out / "journal.jsonl").write_bytes(b"")
    assert run(moved.rename(tmp_path / "again"), out).processed == 3, "nothing was known of any"


def test_photos_of_one_size_with_other_times_may_be_others(tmp_path):
    for number in range(3):
        put(tmp_path / f"one/{number}.png", draw_car())
        put(tmp_path / f"two/{number}.png", draw_car())
        os.utime(tmp_path / f"two/{number}.png", (1e9, 1e9))
    run(tmp_path / "one", tmp_path / "out")
    with pytest.raises(UsageError, match="may be others"):
        run(tmp_path / "two", tmp_path / "out")


def test_out_of_a_newer_carclf_is_refused(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    path = out / "settings.json"
    settings = json.loads(path.read_text())
    assert settings["written_by"] == json.loads((out / "run.json").read_text())["written_by"]
    path.write_text(json.dumps(settings | {"new": 1, "written_by": {"carclf": "0.9.0", "format": 2}}))
    with pytest.raises(UsageError, match=r"written by carclf 0\.9\.0, which is newer than this"):
        run(photos, out)
    path.write_text(json.dumps({key: value for key, value in settings.items() if key != "written_by"}))
    assert run(photos, out).processed == 0, "as of version 0.4"


def test_restart_removes_nothing_outside_out(photos, tmp_path):
    out, precious = tmp_path / "out", tmp_path / "precious.txt"
    run(photos, out)
    precious.write_text("mine")
    lines = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    lines[0]["cells"][1] = "../precious.txt"
    (out / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(photos, out, restart=True)
    assert precious.read_text() == "mine"
