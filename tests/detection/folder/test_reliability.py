"""What a folder run must survive: being killed, full and read-only disks, photos that change, folders that vanish."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from detection.common.errors import UsageError
from detection.images.read import load_image
from tests.fakes import FakeDetector, draw_car
from tests.folder_runs import ROOT, put, rows, run, tree

RUN = """
import sys, time
from pathlib import Path
from detection.cutout import CutoutStyle
from detection.folder import clean_folder
from tests.fakes import FakeDetector

print("ready", flush=True)
clean_folder(Path(sys.argv[1]), Path(sys.argv[2]), FakeDetector(), CutoutStyle(), progress=False)
"""


def many_photos(folder: Path, count: int) -> Path:
    random_numbers = random.Random(count)
    for number in range(count):
        left, top = random_numbers.randrange(4, 40), random_numbers.randrange(4, 30)
        image = draw_car((220, 20, number % 120), box=(left, top, left + 70, top + 50))
        put(folder / str(number % 7) / f"{number}.jpg", image if number % 11 else draw_car(box=(0, 0, 0, 0)))
    (folder / "bad.jpg").write_bytes(b"")
    return folder


def killed_at_random(source: Path, output: Path, kills: int, seed: int, longest: float) -> int:
    """Starts runs and kills them at random moments; returns how many were not done by then."""
    random_numbers, early = random.Random(seed), 0
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, "-c", RUN, source, output], cwd=ROOT, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(random_numbers.uniform(0, longest))
        process.send_signal(signal.SIGKILL)
        early += process.wait() == -signal.SIGKILL
        process.stdout.close()
        check_whole(output)
    return early


def check_whole(output: Path) -> None:
    """Whatever is there at any moment is whole, and every row is true."""
    for path in output.rglob("*.jpg"):
        load_image(path)
    journal = output / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True) if journal.exists() else []
    for line in lines[:-1] if lines and not lines[-1].endswith(b"\n") else lines:
        values = json.loads(line)
        if values["cells"][1]:
            assert (output / values["cells"][1]).stat().st_size == values["output_size"]
    if (output / "manifest.csv").exists():
        rows(output)


def check_same(output: Path, reference: Path, source: Path) -> None:
    """Files and rows of a run that was disturbed are those of one that was not."""
    photos = sum(path.is_file() for path in source.rglob("*"))
    names = [json.loads(line)["cells"][0] for line in (output / "journal.jsonl").read_bytes().splitlines()]
    assert len(names) == len(set(names)) == len(rows(output)) == photos
    assert tree(output) == tree(reference)


def test_killed_at_3_moments(tmp_path):
    source = many_photos(tmp_path / "in", 150)
    run(source, tmp_path / "reference")
    assert killed_at_random(source, tmp_path / "out", 3, seed=3, longest=0.3)
    run(source, tmp_path / "out")
    check_same(tmp_path / "out", tmp_path / "reference", source)


@pytest.mark.slow
def test_killed_at_20_moments_of_500_photos(tmp_path):
    source = many_photos(tmp_path / "in", 500)
    started = time.perf_counter()
    run(source, tmp_path / "reference")
    whole = time.perf_counter() - started
    early = killed_at_random(source, tmp_path / "out", 20, seed=20, longest=whole / 8)
    assert early >= 5  # or it was no test
    run(source, tmp_path / "out")
    check_same(tmp_path / "out", tmp_path / "reference", source)
    assert run(source, tmp_path / "out").processed == 0


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 kB; skips where none can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)


def noisy_photos(folder: Path, count: int) -> Path:
    """Photos whose cut-outs take some 20 kB each."""
    noise = np.random.default_rng(0).integers(0, 40, (96, 128, 3), np.uint8)
    for number in range(count):
        image = draw_car((200, 20, number), box=(4, 4, 124, 92))
        put(folder / f"{number:02d}.png", image + np.where(image[..., :1] == 128, 0, noise).astype(np.uint8))
    return folder


def test_a_full_disk_is_one_error_and_the_run_resumes(tmp_path, small_disk):
    source = noisy_photos(tmp_path / "in", 30)
    run(source, tmp_path / "reference")
    out = small_disk / "out"
    for _ in range(2):  # the second start finds the disk full from the beginning
        with pytest.raises(UsageError, match="can't be written .No space left.*resumes from there"):
            run(source, out)
        assert not list(out.rglob("*.tmp")) and not (out / "manifest.csv").exists()
        check_whole(out)
    done = len((out / "journal.jsonl").read_bytes().splitlines())
    assert 0 < done < 30
    remount(small_disk, "size=8m")
    assert run(source, out).processed <= 30 - done
    check_same(out, tmp_path / "reference", source)


def test_a_disk_without_room_for_a_row(tmp_path, small_disk):
    """Rows are longer than what is left of the disk's last page: a part of one must not stay."""
    source = noisy_photos(tmp_path / "in", 3)
    out = small_disk / "out"
    run(source, out)
    put(source / "new.png", draw_car())
    (small_disk / "ballast").write_bytes(b"")
    with open(small_disk / "ballast", "ab", buffering=0) as ballast, pytest.raises(OSError):
        while True:
            ballast.write(bytes(4096))
    before = (out / "journal.jsonl").read_bytes()
    with pytest.raises(UsageError, match="No space left"):
        run(source, out)
    assert (out / "journal.jsonl").read_bytes() == before
    (small_disk / "ballast").unlink()
    assert run(source, out).processed == 1 and len(rows(out)) == 4


def test_a_read_only_output(photos, tmp_path, small_disk):
    run(photos, small_disk / "out")
    put(photos / "new.png", draw_car())
    before = tree(small_disk)
    remount(small_disk, "ro")
    with pytest.raises(UsageError, match="can't be written .Read-only file system"):
        run(photos, small_disk / "out")
    with pytest.raises(UsageError, match="can't be written .Read-only file system"):
        run(photos, small_disk / "other")
    assert tree(small_disk) == before
    remount(small_disk, "rw")
    assert run(photos, small_disk / "out").processed == 1


class Meanwhile(FakeDetector):
    """Does something when it is first called."""

    def __init__(self, what):
        super().__init__()
        self.what = what

    def detect(self, images):
        if not self.calls:
            self.what()
        return super().detect(images)


def test_output_that_turns_read_only_while_the_run_goes_on(photos, tmp_path, small_disk):
    """A read-only disk is mounted over a folder of OUT: the run's own files would not let it be turned as a whole."""
    remount(small_disk, "ro")
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    cover = Meanwhile(lambda: subprocess.run(["mount", "--bind", small_disk, out / "sub"], check=True))
    try:
        with pytest.raises(UsageError, match="Read-only file system"):
            run(photos, out, detector=cover, batch_size=1)
    finally:
        subprocess.run(["umount", "-l", out / "sub"], check=True)
    assert run(photos, out).counts == {"ok": 2, "no_car": 1}


def test_a_photo_that_changes_after_it_was_read(photos, tmp_path):
    out = tmp_path / "out"
    later = Meanwhile(lambda: put(photos / "red.jpg", draw_car((20, 40, 220), box=(2, 2, 60, 60))))
    assert sum(run(photos, out, detector=later).counts.values()) == 3
    summary = run(photos, out)
    assert summary.processed == 1 and rows(out)["red.jpg"]["x2"] == "60.0"
    assert run(photos, out).processed == 0


def test_a_photo_that_changes_while_it_is_read_is_read_again(photos, tmp_path, monkeypatch):
    calls = []

    def load(path):
        image = load_image(path)
        if path.name == "red.jpg" and len(calls) < changes:
            calls.append(path)
            put(path, draw_car((220, 20, 20), box=(2, 2, 60 + len(calls), 60)))
        return image

    monkeypatch.setattr("detection.folder.flow.reader.load_image", load)
    changes = 1
    run(photos, tmp_path / "out")
    assert rows(tmp_path / "out")["red.jpg"]["x2"] == "61.0"
    changes = 99
    row = (run(photos, tmp_path / "out2"), rows(tmp_path / "out2")["red.jpg"])[1]
    assert row["status"] == "error" and row["reason"] == "'red.jpg' changed while it was read."
    changes = 0
    assert run(photos, tmp_path / "out2").processed == 1 and rows(tmp_path / "out2")["red.jpg"]["status"] == "ok"


def test_a_photo_that_vanishes_is_a_row(photos, tmp_path):
    put(photos / "z.png", draw_car())
    gone = Meanwhile((photos / "z.png").unlink)
    summary = run(photos, tmp_path / "out", detector=gone, batch_size=1, workers=1)
    assert sum(summary.counts.values()) == 4
    assert rows(tmp_path / "out")["z.png"]["status"] in ("unreadable", "ok")


def test_a_source_that_vanishes_stops_the_run(tmp_path):
    source = many_photos(tmp_path / "in", 60)
    run(source, tmp_path / "reference")
    away = Meanwhile(lambda: source.rename(tmp_path / "away"))
    with pytest.raises(UsageError, match="in' has vanished: the same command resumes"):
        run(source, tmp_path / "out", detector=away, batch_size=2)
    (tmp_path / "away").rename(source)
    assert run(source, tmp_path / "out").processed > 0
    check_same(tmp_path / "out", tmp_path / "reference", source)


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_an_output_that_vanishes_stops_the_run(tmp_path, how):
    source, out = many_photos(tmp_path / "in", 40), tmp_path / "out"
    vanish = (lambda: shutil.rmtree(out)) if how == "removed" else (lambda: out.rename(tmp_path / "away"))
    with pytest.raises(UsageError, match="out' has vanished"):
        run(source, out, detector=Meanwhile(vanish), batch_size=2)
    assert not out.exists()
    if how == "renamed":
        (tmp_path / "away").rename(out)
    assert run(source, out).exit_code == 3
    assert len(rows(out)) == 41


def test_two_runs_at_once_in_one_process(photos, tmp_path):
    running, go = threading.Event(), threading.Event()

    class Waiting(FakeDetector):
        def detect(self, images):
            running.set()
            go.wait(20)
            return super().detect(images)

    first = threading.Thread(target=run, args=(photos, tmp_path / "out"), kwargs={"detector": Waiting()})
    first.start()
    running.wait(20)
    with pytest.raises(UsageError, match="Another run"):
        run(photos, tmp_path / "out")
    go.set()
    first.join()
    assert len(rows(tmp_path / "out")) == 3 and run(photos, tmp_path / "out").processed == 0
