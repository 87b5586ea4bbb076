"""Lines by their place, with and without the system calls that Windows lacks."""

import os
import threading

import pytest

from detection.common.files import FileInUse, move_over, replace_file
from detection.common.files.placed import PlacedFile


@pytest.fixture(params=["pread", "no pread"])
def system(request, monkeypatch):
    if request.param == "no pread":
        monkeypatch.delattr(os, "pread")


def test_threads_read_and_append_at_once(tmp_path, system):
    file = PlacedFile(tmp_path / "f", write=True)
    lines = [b"%06d\n" % number for number in range(400)]
    wrong = []

    def read():
        for _ in range(300):
            count = file.size // 7
            for number in (0, count // 2, count - 1):
                if count and file.read(7, 7 * number) != lines[number]:
                    wrong.append(number)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for line in lines:
        file.append(line)
    for thread in threads:
        thread.join()
    assert not wrong and (tmp_path / "f").read_bytes() == b"".join(lines)
    assert list(file.lines()) == lines and list(file.lines()) == lines
    file.cut(14)
    file.append(b"end\n")
    assert file.read(99, 7) == lines[1] + b"end\n" and file.read(9, 99) == b""
    file.close()
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.read(1, 0)


def in_use(times: int, real=os.replace):
    """os.replace as Windows has it while another program holds the target, so many times."""
    left = [times]

    def replace(source, target):
        if left[0]:
            left[0] -= 1
            error = PermissionError(13, "Access is denied")
            error.winerror = 5
            raise error
        real(source, target)

    return replace


def test_a_file_that_is_open_elsewhere_is_replaced_as_soon_as_it_is_closed(tmp_path, monkeypatch):
    path = tmp_path / "manifest.csv"
    path.write_bytes(b"old")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(os, "replace", in_use(3))
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    monkeypatch.setattr(os, "replace", in_use(99))
    with pytest.raises(FileInUse, match="manifest.csv' is open in another program.*close it there") as told:
        replace_file(path, b"newer")
    assert told.value.strerror == "it is open in another program" and isinstance(told.value, OSError)
    assert path.read_bytes() == b"new" and len(list(tmp_path.iterdir())) == 1


def test_what_no_waiting_mends_is_raised_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("waited"))
    with pytest.raises(FileNotFoundError):
        move_over(tmp_path / "none", tmp_path / "other")
