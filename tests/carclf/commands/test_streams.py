"""Standard streams that are closed, full or of another encoding: a sentence or none, and the documented exit code."""

import os
import shlex
import subprocess
import sys

import pytest

from tests.conftest import ROOT

CARCLF = f"{shlex.quote(sys.executable)} -m carclf"


def shell(command, **variables):
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, capture_output=True, env=os.environ | variables
    )


def test_python_m_carclf_is_the_command():
    done = shell(f"{CARCLF} --version")
    assert done.returncode == 0 and done.stdout.startswith(b"carclf ") and done.stderr == b""
    assert b"Usage: carclf " in shell(f"{CARCLF} --help").stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
@pytest.mark.parametrize("verb", ["--version", "--help", "models", "models --format json"])
def test_a_full_stdout_is_one_sentence(verb):
    done = shell(f"{CARCLF} {verb} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "Standard output can't be written: No space left on device. What is in files is kept.\n"
    )


@pytest.mark.slow
def test_closed_streams_stop_nothing(tmp_path):
    assert shell(f"{CARCLF} models <&-").stdout == shell(f"{CARCLF} models").stdout != b""
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        done = shell(f"{CARCLF} models {closed}")
        assert (done.returncode, done.stderr) == (0, b""), closed
    done = shell(f"{CARCLF} predict no.jpg >&-")
    assert done.returncode == 2 and done.stderr.startswith(b"Standard output is closed: name a file")
    assert done.stderr.count(b"\n") == 1


def test_a_full_stderr_changes_no_exit_code():
    assert shell(f"{CARCLF} predict no.jpg 2> /dev/full").returncode == 2
    assert shell(f"{CARCLF} predict no.jpg 2>&-").returncode == 2


def test_a_reader_that_leaves_is_no_fault():
    done = shell(f"{CARCLF} --help | true")
    assert done.returncode in (0, 1) and done.stderr == b""


def test_other_locales_take_every_character(tmp_path):
    folder = tmp_path / "車"
    for variables in ({"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONUTF8": "0", "LC_ALL": "POSIX"}):
        done = shell(f"{CARCLF} predict {shlex.quote(str(folder))}", **variables)
        assert done.returncode == 2 and b"does not exist" in done.stderr and b"Traceback" not in done.stderr


WRITES = """
import os, sys
from detection.common.console import prepare_streams
prepare_streams()
print(os.fsdecode(b"caf\\xe9"), "\u8eca")
"""


def test_names_go_out_as_they_are_on_disk():
    def written(encoding):
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        return subprocess.run([sys.executable, "-c", WRITES], cwd=ROOT, capture_output=True, env=environment).stdout

    assert written("utf-8") == b"caf\xe9 \xe8\xbb\x8a\n"
    assert written("ascii") == b"caf\\udce9 \\u8eca\n"
