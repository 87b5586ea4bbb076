"""A real RabbitMQ that is wrong, full, short of memory or serves another model: what is said, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

pytest.importorskip("faststream", reason="the queue is not installed: pip install 'carclf[queue]'")

from carclf.service.contract import Busy, Upload
from carclf.service.queue import queues
from carclf.service.queue.broker import BrokerBackend
from carclf.service.queue.connection import Connection
from detection.common.errors import UsageError
from tests.carclf.service.broker.runs import (
    COMMAND,
    PATIENCE,
    check,
    connected,
    lengths,
    make_certificate,
    nothing,
    stopped,
    until,
    uploads,
    web,
)
from tests.carclf.service.rabbitmq import start_server
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def test_what_is_too_much_is_refused(rabbit):
    async def run():
        async with web(rabbit, max_waiting=2, max_bytes=1000) as backend:
            with pytest.raises(Busy):
                await backend.recognize(uploads(3))
            large = await backend.recognize([Upload("large.jpg", bytes(1001))])
            assert [(answer.file, answer.status) for answer in large] == [("large.jpg", "unreadable")]

    asyncio.run(run())


def test_a_wrong_password_is_said_once_without_it(rabbit):
    async def run():
        with pytest.raises(UsageError, match=r"guest:\*\*\*@127.0.0.1") as caught:
            await BrokerBackend(rabbit.url.replace("guest:guest", "guest:hidden")).start()
        assert "hidden" not in str(caught.value)

    asyncio.run(run())


def test_dead_letters_are_listed_in_flat_memory(rabbit, tmp_path):
    body = os.urandom(5_000_000)

    async def fill(first: int, end: int) -> None:
        async with connected(rabbit.url) as connection:
            for number in range(first, end):
                headers = {"carclf-name": f"{number}.png", "x-first-death-reason": "rejected"}
                await connection.publish(body + bytes([number]), queues.DEAD, PATIENCE, headers=headers)

    def listed(count: int, *options: str) -> int:
        """The names of all, each once; gives the peak of the resident memory, in bytes."""
        code = (
            "import resource, carclf.cli; carclf.cli.app(standalone_mode=False);"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        arguments = [sys.executable, "-c", code, "dead-letters", "--broker", rabbit.url, *options]
        process = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
        *lines, peak = process.stdout.splitlines()
        found = [line.split("\t")[1:3] for line in lines]
        # A list gives the letters back, and RabbitMQ may still be putting them in order when the next one begins.
        assert sorted(found) == sorted(["5000001", f"{number}.png"] for number in range(count))
        return int(peak) * 1024

    asyncio.run(fill(0, 5))
    few = listed(5)
    asyncio.run(fill(5, 60))
    many = listed(60)
    assert many < few + 40_000_000, f"{few / 1e6:.0f} MB for 5 letters, {many / 1e6:.0f} MB for 60"
    listed(60, "--save", str(tmp_path / "dead"), "--remove")
    assert len(list((tmp_path / "dead").glob("*.png"))) == 60
    listed(0)


@pytest.mark.parametrize("command", ["worker", "serve", "dead-letters"])
def test_a_virtual_host_that_is_not_there_is_named(rabbit, command):
    arguments = [command, "--broker", rabbit.url + "no%2Fsuch", *(["--port", "0"] if command == "serve" else [])]
    process = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert process.returncode == 2
    assert "has no virtual host 'no/such'" in process.stderr.splitlines()[-1]
    assert "Traceback" not in process.stderr


def test_a_rollout_of_another_model_loses_nothing_and_mixes_nothing(rabbit, worker, tmp_path, caplog):
    log = (tmp_path / "log").open("w+")

    async def run():
        async with web(rabbit) as backend:
            old = worker(0.1)
            await until(backend.ready)
            check(await backend.recognize(uploads(2)), 2)
            before = backend.model
            new = worker(0.1, threshold=0.95, stderr=log)
            await until(lambda: "with another model" in (tmp_path / "log").read_text())
            await until(lambda: "workers with another model wait" in caplog.text)
            check(await backend.recognize(uploads(10)), 10)  # by the old one alone
            one_by_one = [asyncio.create_task(backend.recognize([photo])) for photo in uploads(60)]
            together = asyncio.create_task(backend.recognize(uploads(30)))
            await until(lambda: len(backend._waiting) < 70)
            await stopped(old)
            statuses = [answer.status for answer in await together]
            assert set(statuses) == {"unknown"}, "one request has answers of two models"
            singles = Counter(answer.status for (answer,) in await asyncio.gather(*one_by_one))
            assert sum(singles.values()) == 60 and set(singles) <= {"ok", "unknown"}
            assert before != backend.model
            assert await lengths(rabbit.url) == {queues.PHOTOS: 0, queues.RETRY: 0, queues.DEAD: 0}
            # and back again, by a worker that is killed
            again = worker()
            await until(lambda: backend._others)
            new.kill()
            await until(lambda: not backend._others)
            check(await backend.recognize(uploads(4)), 4)
            assert backend.model == before
            await stopped(again)

    asyncio.run(run())
    assert "the model was changed" in caplog.text


def test_a_worker_that_comes_back_after_another_model_has_taken_over_waits(rabbit, worker):
    async def run():
        async with web(rabbit) as backend:
            first = worker()
            await until(backend.ready)
            check(await backend.recognize(uploads(2)), 2)
            first.send_signal(signal.SIGSTOP)  # it does not notice what comes now
            worker(threshold=0.95)
            await until(lambda: backend._others)
            await asyncio.to_thread(rabbit.control, "close_all_connections", "test")
            await until(lambda: backend.ready() and not backend._others)
            answers = await backend.recognize(uploads(3))
            assert {answer.status for answer in answers} == {"unknown"}
            first.send_signal(signal.SIGCONT)
            await until(lambda: backend._others)
            answers = await backend.recognize(uploads(6))
            assert {answer.status for answer in answers} == {"unknown"}

    asyncio.run(run())


def test_a_server_short_of_memory_is_told_at_once_and_loses_nothing(rabbit, worker):
    async def run():
        async with web(rabbit) as backend:
            worker(0.2)
            await until(backend.ready)
            waiting = asyncio.create_task(backend.recognize(uploads(20)))
            await until(lambda: len(backend._waiting) < 18)
            try:
                await asyncio.to_thread(rabbit.control, "set_vm_memory_high_watermark", "absolute", "1MB")
                await until(lambda: not backend.ready())  # though no photo has tried it
                with pytest.raises(Busy, match="short of memory or disk"):
                    await asyncio.wait_for(backend.recognize(uploads(1)), 2)
            finally:
                await asyncio.to_thread(rabbit.control, "set_vm_memory_high_watermark", "0.4")
            check(await waiting, 20)
            await until(backend.ready)
            check(await backend.recognize(uploads(2)), 2)

    asyncio.run(run())


def test_a_photo_that_meets_the_alarm_is_refused_in_place_of_waiting(rabbit, worker, monkeypatch):
    monkeypatch.setattr("carclf.service.queue.broker.LOOK", 3600.0)  # the photo is the first to notice

    async def run():
        async with web(rabbit) as backend:
            worker()
            await until(lambda: backend._connected())
            try:
                await asyncio.to_thread(rabbit.control, "set_vm_memory_high_watermark", "absolute", "1MB")
                with pytest.raises(Busy, match="short of memory or disk"):
                    await asyncio.wait_for(backend.recognize(uploads(3)), 10)
            finally:
                await asyncio.to_thread(rabbit.control, "set_vm_memory_high_watermark", "0.4")
            await until(lambda: not backend._blocked())
            check(await backend.recognize(uploads(2)), 2)

    asyncio.run(run())


def test_tls_with_a_server_that_is_known(tmp_path):
    (tmp_path / "keys").mkdir()
    certificate = make_certificate(tmp_path / "keys")
    (tmp_path / "node").mkdir()
    server = start_server(tmp_path / "node", tls=tmp_path / "keys")

    async def run():
        url = f"amqps://guest:guest@localhost:{server.tls_port}/"
        async with connected(f"{url}?cafile={certificate}") as connection:
            assert connection.up.is_set()
        with pytest.raises(asyncio.TimeoutError):  # whoever that is, it does not get the password
            await asyncio.wait_for(Connection(url, "test", nothing).open(), 3)

    try:
        asyncio.run(run())
    finally:
        server.end()
