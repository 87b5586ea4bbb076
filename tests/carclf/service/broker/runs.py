"""What the tests with a real RabbitMQ share: their photos, web processes, and looks into the queues."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("faststream", reason="the queue is not installed: pip install 'carclf[queue]'")

from carclf.service.contract import Answer, Upload
from carclf.service.queue import queues
from carclf.service.queue.broker import BrokerBackend
from carclf.service.queue.connection import Connection
from tests.carclf.service.rabbitmq import Server
from tests.carclf.service.stand_ins import BLUE, RED, photo

PATIENCE = 120.0
COMMAND = "from carclf.cli import main; main()"
RED_FILE, BLUE_FILE = photo(RED), photo(BLUE)
LABELS = {RED_FILE: "Red Coupe 2011", BLUE_FILE: "Blue Sedan 2012"}


def uploads(count: int) -> list[Upload]:
    """Names that are all different, colours in turn."""
    return [Upload(f"{number}.jpg", (RED_FILE, BLUE_FILE)[number % 2]) for number in range(count)]


def check(answers: list[Answer], count: int) -> None:
    """Each photo of `uploads` has its one answer, and it is the right one."""
    assert Counter(answer.status for answer in answers) == {"ok": count}
    given = {upload.name: LABELS[upload.data] for upload in uploads(count)}
    assert [answer.file for answer in answers] == list(given)
    assert {answer.file: answer.label for answer in answers} == given


@asynccontextmanager
async def web(rabbit: Server, **settings):
    backend = BrokerBackend(rabbit.url, **({"timeout": PATIENCE} | settings))
    await backend.start()
    try:
        yield backend
    finally:
        await asyncio.wait_for(backend.stop(), 30)


@asynccontextmanager
async def connected(url: str):
    connection = Connection(url, "test", nothing)
    await asyncio.wait_for(connection.open(), PATIENCE)
    try:
        yield connection
    finally:
        await connection.close()


async def nothing(broker) -> None:
    pass


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.02)


async def stopped(process: subprocess.Popen) -> None:
    process.terminate()
    assert await asyncio.to_thread(process.wait, PATIENCE) == 0


async def revive(processes: list, worker: Callable, done: Callable[[], bool]) -> int:
    """Starts a new worker for each that died, as what runs them does; how many died."""
    deaths = 0
    while not done():
        for number, process in enumerate(processes):
            if process.poll() is not None:
                deaths += 1
                processes[number] = worker()
        await asyncio.sleep(0.05)
    return deaths


async def drop(backend: BrokerBackend) -> None:
    """The process is gone: its connection ends without a word, and it does not come back."""
    for task in backend._tasks:
        task.cancel()
    connection, backend._connection = backend._connection, None
    await connection.close()
    backend._tasks = []


async def lengths(url: str) -> dict[str, int]:
    async with connected(url) as connection:
        await asyncio.sleep(0.3)  # acknowledgements are on their way
        found = {}
        for queue in (queues.photos_queue(), queues.photos_queue(queues.RETRY), queues.dead_queue()):
            declared = await connection.broker.declare_queue(queue)
            found[queue.name] = (await declared.declare()).message_count
        return found


async def queue_is_gone(url: str, name: str) -> bool:
    import aio_pika

    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        try:
            await channel.declare_queue(name, passive=True)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return True
    return False


async def purge(url: str) -> None:
    async with connected(url) as connection:
        for queue in (queues.photos_queue(), queues.photos_queue(queues.RETRY), queues.dead_queue()):
            await (await connection.broker.declare_queue(queue)).purge()


def make_certificate(folder) -> str:
    """cert.pem and key.pem for localhost, valid for a day, signed by itself."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=test -addext subjectAltName=DNS:localhost"
    try:
        arguments = [*command.split(), "-keyout", "key.pem", "-out", "cert.pem"]
        subprocess.run(arguments, cwd=folder, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no certificate could be made: {error}")
    return str(folder / "cert.pem")
