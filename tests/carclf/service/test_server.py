"""The process: how it starts, what it says when it can't, and how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from carclf.service import server
from detection.common.errors import UsageError
from tests.carclf.service.processes import ROOT, Server, stand_in
from tests.carclf.service.stand_ins import as_files, photo


def wait_until(true, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def status(address: str, path: str) -> int:
    try:
        return httpx.get(address + path, timeout=10).status_code
    except httpx.TransportError:
        return 0


def test_it_is_alive_at_once_ready_later_and_ends_after_what_it_has_taken():
    with stand_in(seconds=1.5, loading=2) as one:
        wait_until(lambda: status(one.address, "/healthz") == 200)
        assert status(one.address, "/readyz") == 503
        wait_until(lambda: status(one.address, "/readyz") == 200)
        answers = []
        asking = threading.Thread(target=lambda: answers.append(
            httpx.post(f"{one.address}/predict", files=as_files(photo()), timeout=30)
        ))  # fmt: skip
        asking.start()
        time.sleep(0.5)
        one.process.send_signal(signal.SIGTERM)
        asking.join(30)
        assert answers[0].json()["answers"][0]["status"] == "ok"
        assert one.end() == 0
        assert status(one.address, "/healthz") == 0
        assert "Traceback" not in one.log


def test_a_model_that_can_not_be_loaded_ends_it_with_one_sentence():
    with stand_in(loading=-1) as one:
        assert one.end() == 2
        assert "Traceback" not in one.log
        assert one.lines[-1] == "The stand-in can't be loaded: its time is up.\n"


@pytest.mark.slow
def test_a_model_that_is_not_there_ends_the_command_with_one_sentence():
    with Server("-m", "carclf.cli", "serve", "--port", "0", "--model", "nothing") as one:
        assert one.end() == 2
        assert "Traceback" not in one.log
        assert one.lines[-1].startswith("There is no model 'nothing'")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "99999"], "port"),
        (["--threshold", "7"], "threshold"),
        (["--max-files", "100"], "queue_length"),
        (["--api-key-file", "nothing"], "can't be read"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments, says):
    from typer.testing import CliRunner

    from carclf.cli import app

    answer = CliRunner().invoke(app, ["serve", *arguments])
    assert answer.exit_code == 2
    assert says in answer.stderr and answer.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_told_before_models_are_loaded():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"Port {port} of '127.0.0.1' can't be used: .*--port"):
            server.bound("127.0.0.1", port)


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UsageError, match="The web service needs uvicorn, which is not installed: run `pip install .`"):
        server.check_installed()


def test_neither_help_nor_the_command_line_loads_the_service():
    code = (
        "import sys, carclf.cli; heavy = {'fastapi', 'uvicorn', 'torch', 'cv2'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
