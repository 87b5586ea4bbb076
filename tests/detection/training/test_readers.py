"""Batches from reader processes arrive whole, however little shared memory there is, and a dead reader is told."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from detection.training import readers
from detection.training.readers import Packed, ReaderError, ignore_interrupts, possible_workers, reader_deaths_told

ROOT = Path(__file__).resolve().parents[3]


class Pictures(Dataset):
    """Of 300,000 bytes each, as the detector's training has them. One of them may be the end of its reader."""

    def __init__(self, last: int = -1):
        self.last = last

    def __len__(self):
        return 24

    def __getitem__(self, index):
        if index == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        # Colours last in memory, which must survive.
        return {"image": torch.full((250, 400, 3), index, dtype=torch.uint8).permute(2, 0, 1), "label": index}


def batches(workers: int, last: int = -1) -> list:
    loader = DataLoader(
        Pictures(last),
        batch_size=4,
        num_workers=workers,
        collate_fn=Packed(list),
        prefetch_factor=4 if workers else None,
        worker_init_fn=ignore_interrupts,
    )
    with reader_deaths_told():
        return list(loader)


def check(found: list) -> None:
    pictures = [one for batch in found for one in batch]
    assert [one["label"] for one in pictures] == list(range(24))
    for expected, one in zip(Pictures(), pictures, strict=False):
        assert torch.equal(one["image"], expected["image"]) and one["image"].stride() == expected["image"].stride()


@pytest.mark.parametrize("room", [0, 10**9])
def test_batches_arrive_whole_on_both_ways(room, monkeypatch, capsys):
    monkeypatch.setattr(readers, "_room", lambda: room)
    readers._say_once.cache_clear()
    for _ in range(2):
        check(batches(1))
    assert capsys.readouterr().err.count("--shm-size=1g") == (0 if room else 1)


def test_a_reader_that_is_killed_ends_the_training_with_a_sentence():
    with pytest.raises(ReaderError, match=r"ended from outside.*workers=1.*--shm-size=1g"):
        batches(1, last=6)
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL, "nothing is raised for it later"
    check(batches(1))
    assert callable(signal.getsignal(signal.SIGCHLD)), "the next loader watches its readers again"


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="no memory"), reader_deaths_told():
        raise RuntimeError("no memory")


def test_a_reader_that_dies_while_it_hands_a_batch_over_is_told(monkeypatch):
    def gone(*_given, **_named):
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr("multiprocessing.connection.Client", gone)
    with pytest.raises(ReaderError, match=r"ended from outside, as happens"):
        batches(1)
    with pytest.raises(ConnectionResetError), reader_deaths_told():
        gone()  # of another connection


def test_no_readers_need_no_locks():
    assert possible_workers(0) == 0 and possible_workers(2) == 2


# Nothing at all; enough for the locks, but for no batch; enough for a few batches.
@pytest.mark.slow
@pytest.mark.parametrize("size", ["8k", "1m", "5m"])
def test_a_small_shared_memory_is_enough(size):
    mount = f"mount -t tmpfs -o size={size} tmpfs /dev/shm"
    inside = shutil.which("unshare") and ["unshare", "-rm", "sh", "-c"]
    if not inside or subprocess.run([*inside, mount], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a /dev/shm of their own")
    code = (
        "from detection.training.readers import possible_workers\n"
        "from tests.detection.training.test_readers import batches, check\n"
        "check(batches(possible_workers(2)))"
    )
    run = [*inside, f'{mount} && exec "$0" -c "$1"', sys.executable, code]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.count("--shm-size=1g") == 1 or size == "5m"
