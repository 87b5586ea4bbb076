"""One run per file: the lock ends with the process that has it, and no child of it keeps it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from detection.common.files.locks import Lock, NoLocks

TAKES = "import sys, pathlib; from detection.common.files.locks import Lock; lock = Lock(pathlib.Path(sys.argv[1])); "


def test_one_has_it_until_it_gives_it_up(tmp_path):
    first, second = Lock.beside(tmp_path / "rows"), Lock.beside(tmp_path / "rows")
    assert first.take() and not second.take()
    second.release()  # it has nothing to give up
    assert not second.take()
    first.release()
    assert second.take() and len(list(tmp_path.iterdir())) == 1
    second.release()
    assert not list(tmp_path.iterdir())
    second.release()


def test_it_ends_with_a_killed_process_though_its_child_lives_on(tmp_path):
    code = TAKES + "lock.take(); import os; os.fork() or print(os.getpid(), flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child = int(process.stdout.readline())
    try:
        assert not Lock(tmp_path / "lock").take(), "the parent has it"
        process.kill()
        process.wait()
        os.kill(child, 0)  # it lives
        again = Lock(tmp_path / "lock")
        assert again.take(), "the child has kept it"
        again.release()
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()
    assert not list(tmp_path.iterdir())


def _released(lock):
    lock.release()
    return lock.take()


def test_a_forked_child_does_not_give_up_what_its_parent_has(tmp_path):
    lock = Lock(tmp_path / "lock")
    assert lock.take()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_released, (lock,)) is False
    assert not Lock(tmp_path / "lock").take()
    lock.release()


def test_who_waits_gets_it_though_its_file_was_removed_meanwhile(tmp_path):
    first, order = Lock(tmp_path / "lock"), []
    assert first.take()

    def work(number: int) -> None:
        lock = Lock(tmp_path / "lock")
        assert lock.take(wait=True)
        order.extend([number, number])
        lock.release()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    assert not order
    first.release()
    for thread in threads:
        thread.join()
    assert order[::2] == order[1::2] and sorted(order[::2]) == [0, 1, 2]


def test_a_place_that_takes_no_lock_is_told(tmp_path, monkeypatch):
    with pytest.raises(NoLocks):
        Lock(tmp_path / "no" / "lock").take()
    lock = Lock.beside(tmp_path / ("é" * 120))
    assert lock.take() and len(os.fsencode(lock.path.name)) < 255
    lock.release()
    monkeypatch.setitem(sys.modules, "fcntl", None)
    assert Lock(Path(tmp_path, "lock")).take(), "a Python without locks refuses nothing"
