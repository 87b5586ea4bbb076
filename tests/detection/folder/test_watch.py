"""A folder that keeps filling."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from detection.common.errors import UsageError
from tests.fakes import FakeDetector, draw_car
from tests.folder_runs import ROOT, put, rows, run


@pytest.fixture
def script(monkeypatch):
    """What happens between two looks: a list of functions; after the last one comes Ctrl-C."""
    steps = []

    def sleep(seconds):
        assert seconds == 0.5
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    monkeypatch.setattr("detection.folder.run.time.sleep", sleep)
    return steps


def nothing():
    pass


def test_photos_are_done_as_they_come(tmp_path, script):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    seen = []
    script += [
        nothing,  # IN is empty
        lambda: put(source / "a.png", draw_car()),
        nothing,
        lambda: seen.append(list(rows(out))),
        lambda: put(source / "new" / "b.jpg", draw_car()),
        nothing,
        nothing,
    ]
    summary = run(source, out, watch=0.5)
    assert seen == [["a.png"]]
    assert (summary.counts, summary.processed, summary.exit_code) == ({"ok": 2}, 2, 0)
    assert list(rows(out)) == ["a.png", "new/b.jpg"]
    assert run(source, out).processed == 0


def test_a_file_that_still_grows_waits(tmp_path, script, photos):
    out = tmp_path / "out"
    data, growing = (photos / "red.jpg").read_bytes(), photos / "growing.jpg"
    script += [
        lambda: growing.write_bytes(data[:100]),
        lambda: growing.write_bytes(data[:500]),
        lambda: growing.write_bytes(data),
        lambda: growing.write_bytes(data + b"\0"),
        nothing,
        nothing,
    ]
    summary = run(photos, out, watch=0.5)
    assert (summary.counts, summary.processed) == ({"ok": 3, "no_car": 1}, 4)
    assert rows(out)["growing.jpg"]["status"] == "ok"


def test_a_photo_that_changes_later_is_done_again(tmp_path, script, photos):
    script += [nothing, lambda: put(photos / "grey.jpg", draw_car()), nothing, nothing]
    summary = run(photos, tmp_path / "out", watch=0.5)
    assert summary.processed == 4 and summary.counts == {"ok": 3}


def test_bad_photos_and_clashes_do_not_end_it(tmp_path, script, photos, capfd):
    script += [
        lambda: (photos / "bad.jpg").write_bytes(b""),
        lambda: put(photos / "red.png", draw_car()),  # would become red.jpg, too
        nothing,
        lambda: (photos / "red.png").rename(photos / "red 2.png"),
        nothing,
        nothing,
    ]
    summary = run(photos, tmp_path / "out", watch=0.5, retry_failed=True)
    assert summary.counts == {"ok": 3, "no_car": 1, "unreadable": 1} and summary.exit_code == 3
    assert summary.processed == 6  # red.png got a row; a failed one is not tried again at each look
    assert rows(tmp_path / "out")["red.jpg"]["status"] == "ok" and "red.png" not in rows(tmp_path / "out")
    assert capfd.readouterr().err.count("would both become 'red.jpg'") == 1


def test_a_clash_gets_a_row_and_later_photos_are_done(tmp_path, script, photos):
    script += [
        nothing,
        lambda: put(photos / "red.png", draw_car()),
        lambda: put(photos / "later.png", draw_car()),
        nothing,
        nothing,
    ]
    summary = run(photos, tmp_path / "out", watch=0.5)
    made = rows(tmp_path / "out")
    assert made["red.png"]["status"] == "error" and "would both become" in made["red.png"]["reason"]
    assert made["later.png"]["status"] == made["red.jpg"]["status"] == "ok" and summary.exit_code == 3


def test_failed_photos_are_tried_again_once(tmp_path, script, photos):
    class Broken(FakeDetector):
        def detect(self, images):
            self.calls.append(len(images))
            raise RuntimeError("not now")

    out, detector = tmp_path / "out", Broken()
    assert run(photos, out, detector=detector).counts == {"error": 3}
    script += [nothing] * 4
    again = Broken()
    run(photos, out, detector=again, watch=0.5, retry_failed=True)
    assert len(again.calls) == len(detector.calls)
    script += [nothing] * 4
    assert run(photos, out, watch=0.5).processed == 0


def test_photos_that_are_taken_away_keep_their_rows_while_it_goes_on(tmp_path, script, photos):
    script += [nothing, (photos / "red.jpg").unlink, nothing]
    assert run(photos, tmp_path / "out", watch=0.5).counts == {"ok": 2, "no_car": 1}
    assert "red.jpg" in rows(tmp_path / "out") and (tmp_path / "out" / "red.jpg").exists()


def test_a_folder_that_vanishes_ends_it_with_its_manifest(tmp_path, script, photos):
    script += [nothing, lambda: photos.rename(tmp_path / "away"), nothing]
    with pytest.raises(UsageError, match="There is no folder"):
        run(photos, tmp_path / "out", watch=0.5)
    assert len(rows(tmp_path / "out")) == 3


WATCH = """
import signal, sys
from pathlib import Path
from detection.cutout import CutoutStyle
from detection.folder import clean_folder
from tests.fakes import FakeDetector

# Where the tests run in the background of a script, Ctrl-C is ignored and stays so in child processes.
signal.signal(signal.SIGINT, signal.default_int_handler)

print(clean_folder(Path(sys.argv[1]), Path(sys.argv[2]), FakeDetector(), CutoutStyle(), watch=0.05, progress=False))
"""


def test_ctrl_c_ends_a_watching_process_cleanly(tmp_path, photos):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", WATCH, photos, out], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not (out / "manifest.csv").exists() and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0 and stderr == ""
    assert stdout.startswith("3 photos: 2 ok, 1 no_car (3 now at ") and len(rows(out)) == 3
