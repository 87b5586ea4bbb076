"""Web processes and workers against a real RabbitMQ: what is lost, and when? Nothing, whoever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from typer.testing import CliRunner

pytest.importorskip("faststream", reason="the queue is not installed: pip install 'carclf[queue]'")

from carclf.cli import app
from carclf.service.contract import Answer, Busy, Upload
from carclf.service.queue import queues
from carclf.service.queue.broker import BrokerBackend
from carclf.service.queue.connection import Connection
from detection.common.errors import UsageError
from tests.carclf.service.queue_worker import FAILING, HANGING, POISON
from tests.carclf.service.rabbitmq import Server, start_server
from tests.carclf.service.stand_ins import BLUE, RED, photo
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

PATIENCE = 120.0
_COMMAND = "from carclf.cli import main; main()"
RED_FILE, BLUE_FILE = photo(RED), photo(BLUE)
LABELS = {RED_FILE: "Red Coupe 2011", BLUE_FILE: "Blue Sedan 2012"}


@pytest.fixture(scope="session")
def node(tmp_path_factory) -> Iterator[Server]:
    server = start_server(tmp_path_factory.mktemp("rabbitmq"))
    yield server
    server.end()


@pytest.fixture
def rabbit(node) -> Server:
    """A running server whose queues are empty."""
    asyncio.run(_purge(node.url))
    return node


@pytest.fixture
def worker(rabbit) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts a worker process; `seconds` a batch, hung after `stalled`; another `threshold` is another model."""
    processes = []

    def start(seconds: float = 0.0, stalled: float = 900.0, threshold: float = 0.5, **popen) -> subprocess.Popen:
        module = "tests.carclf.service.queue_worker"
        command = [sys.executable, "-m", module, rabbit.url, str(seconds), str(stalled), str(threshold)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, **popen)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_a_round_trip(rabbit, worker):
    async def run():
        async with web(rabbit) as backend:
            assert not backend.ready()  # nobody would answer
            process = worker()
            await until(backend.ready)
            answers = await backend.recognize(uploads(3))
            check(answers, 3)
            strange = [Upload("../x.jpg", b"no photo"), Upload("\udcff", RED_FILE), Upload("", photo((128, 128, 128)))]
            answers = await backend.recognize(strange, pictures=True)
            assert [answer.status for answer in answers] == ["unreadable", "ok", "no_car"]
            assert [answer.file for answer in answers] == [upload.name for upload in strange]
            assert answers[1].outline and answers[1].cutout.startswith("data:image/")
            assert (answers[1].width, answers[1].height) == (128, 96)
            hiding = Upload("a.jpg", RED_FILE, "plates")
            (answer,) = await backend.recognize([hiding], pictures=True)
            assert answer.hidden == [] and answer.cutout  # it was looked for, and there is none
            await stopped(process)
            await until(lambda: not backend.ready())

    asyncio.run(run())


def test_a_worker_killed_in_the_midst_of_200_photos_loses_none(rabbit, worker):
    async def run():
        async with web(rabbit) as backend:
            processes = [worker(0.3) for _ in range(3)]
            await until(backend.ready)
            waiting = asyncio.create_task(backend.recognize(uploads(200)))
            await until(lambda: 20 < len(backend._waiting) < 180)
            processes[0].kill()
            await until(lambda: len(backend._waiting) < 140)
            processes.append(worker(0.0))
            answers = await waiting
            assert processes[0].wait() == -signal.SIGKILL
            check(answers, 200)
            assert await lengths(rabbit.url) == {queues.PHOTOS: 0, queues.RETRY: 0, queues.DEAD: 0}

    asyncio.run(run())


def test_a_worker_that_is_told_to_stop_answers_what_it_has_taken(rabbit, worker):
    async def run():
        async with web(rabbit) as backend:
            first = worker(0.5)
            await until(backend.ready)
            waiting = asyncio.create_task(backend.recognize(uploads(16)))
            await until(lambda: len(backend._waiting) < 16)
            await stopped(first)  # with exit code 0
            worker()
            check(await waiting, 16)
            # nothing has come back: a photo that did would have been taken alone
            assert (await asyncio.to_thread(first.wait)) == 0

    asyncio.run(run())


def test_a_photo_that_kills_workers_is_put_aside_and_none_beside_it(rabbit, worker, tmp_path):
    deadly, failing = Upload("deadly.png", photo(POISON, format="PNG")), Upload("bad.png", photo(FAILING, format="PNG"))

    async def run():
        async with web(rabbit) as backend:
            processes = [worker(), worker()]
            await until(backend.ready)
            photos = uploads(10)
            waiting = asyncio.create_task(backend.recognize([*photos[:4], deadly, *photos[4:7], failing, *photos[7:]]))
            deaths = await revive(processes, worker, waiting.done)
            answers = await waiting
            check(answers[:4] + answers[5:8] + answers[9:], 10)
            assert (answers[4].file, answers[4].status) == ("deadly.png", "error")
            assert "workers stopped" in answers[4].reason
            assert (answers[8].file, answers[8].status) == ("bad.png", "error")
            assert "secret" not in answers[8].reason
            # at most once with others, and then alone as often as the retry queue allows
            assert queues.RETRIES < deaths <= 2 + queues.RETRIES
            assert all(process.poll() is None for process in processes)
            assert await lengths(rabbit.url) == {queues.PHOTOS: 0, queues.RETRY: 0, queues.DEAD: 2}

    asyncio.run(run())
    look = ["dead-letters", "--broker", rabbit.url]
    for arguments in (look, [*look, "--save", str(tmp_path / "dead")], [*look, "--remove"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        assert {line.split("\t")[2] for line in result.stdout.splitlines()} == {"bad.png", "deadly.png"}
    assert {file.read_bytes() for file in (tmp_path / "dead").glob("*.png")} == {deadly.data, failing.data}
    assert CliRunner().invoke(app, look).stdout == ""


def test_a_worker_that_hangs_ends_itself_and_its_photo_goes_to_others(rabbit, worker):
    async def run():
        async with web(rabbit) as backend:
            process = worker(stalled=8.0)
            await until(backend.ready)
            hanging = [Upload("hang.png", photo(HANGING, format="PNG"))]
            waiting = asyncio.create_task(backend.recognize(hanging))
            assert await asyncio.to_thread(process.wait, PATIENCE) == 1
            assert sum((await lengths(rabbit.url)).values()) == 1
            waiting.cancel()

    asyncio.run(run())


def test_a_server_that_loses_power_loses_no_photo(rabbit, worker):
    async def run():
        async with web(rabbit) as backend:
            worker(0.3)
            await until(backend.ready)
            waiting = asyncio.create_task(backend.recognize(uploads(40)))
            await until(lambda: len(backend._waiting) < 36)
            rabbit.stop()
            await until(lambda: not backend.ready())
            with pytest.raises(Busy):
                await backend.recognize(uploads(1))
            await asyncio.to_thread(rabbit.start)
            check(await waiting, 40)
            await until(backend.ready)
            check(await backend.recognize(uploads(2)), 2)

    asyncio.run(run())


def test_web_processes_get_their_own_answers_and_leave_nothing(rabbit, worker):
    async def run():
        async with web(rabbit) as one, web(rabbit, linger=1.0) as other, web(rabbit, timeout=60.0) as third:
            lost = asyncio.create_task(other.recognize(uploads(8)))  # before there is a worker
            await until(lambda: len(other._waiting) == 8)
            await asyncio.sleep(0.5)
            await drop(other)
            lost.cancel()
            worker()
            await until(one.ready)
            mine = uploads(12)
            answers = await asyncio.gather(one.recognize(mine), third.recognize(list(reversed(mine))))
            check(answers[0], 12)
            check(list(reversed(answers[1])), 12)
            await asyncio.sleep(2.5)
            assert await queue_is_gone(rabbit.url, queues.ANSWERS + other.id)
        assert await queue_is_gone(rabbit.url, queues.ANSWERS + one.id)
        assert await lengths(rabbit.url) == {queues.PHOTOS: 0, queues.RETRY: 0, queues.DEAD: 0}

    asyncio.run(run())


def test_no_worker_takes_a_photo_that_nobody_waits_for(rabbit, worker):
    async def run():
        async with web(rabbit, timeout=1.0) as backend:
            answers = await backend.recognize(uploads(3))
            assert [answer.status for answer in answers] == ["error"] * 3
            await asyncio.sleep(1)
            # and none of them is a dead letter that somebody should look at
            assert await lengths(rabbit.url) == {queues.PHOTOS: 0, queues.RETRY: 0, queues.DEAD: 0}

    asyncio.run(run())


def test_the_second_answer_to_a_photo_is_dropped(rabbit):
    """As after a worker died between sending an answer and acknowledging the photo."""

    async def run():
        async with web(rabbit) as backend, connected(rabbit.url) as connection:
            waiting = asyncio.create_task(backend.recognize(uploads(1)))
            await until(lambda: len(backend._waiting) == 1)
            ticket = next(iter(backend._waiting))
            for label in ("first", "second"):
                body = Answer(file="", status="ok", label=label).model_dump_json().encode()
                await connection.publish(body, queues.ANSWERS + backend.id, 5, correlation_id=ticket)
            assert [answer.label for answer in await waiting] == ["first"]
            garbage = asyncio.create_task(backend.recognize(uploads(1)))
            await until(lambda: len(backend._waiting) == 1)
            ticket = next(iter(backend._waiting))
            await connection.publish(b"\x80\x04nonsense", queues.ANSWERS + backend.id, 5, correlation_id=ticket)
            assert [answer.status for answer in await garbage] == ["error"]

    asyncio.run(run())


def test_messages_of_somebody_else_are_put_aside(rabbit, worker):
    async def run():
        async with web(rabbit) as backend, connected(rabbit.url) as connection:
            await connection.publish(b"what?", queues.PHOTOS, 5, reply_to="amq.somewhere")
            worker()
            await until(backend.ready)
            check(await backend.recognize(uploads(1)), 1)
            assert (await lengths(rabbit.url))[queues.DEAD] == 1

    asyncio.run(run())


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
        [sys.executable, "-c", _COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
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
            await asyncio.wait_for(Connection(url, "test", _nothing).open(), 3)

    try:
        asyncio.run(run())
    finally:
        server.end()


# what the tests share


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
    connection = Connection(url, "test", _nothing)
    await asyncio.wait_for(connection.open(), PATIENCE)
    try:
        yield connection
    finally:
        await connection.close()


async def _nothing(broker) -> None:
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


async def _purge(url: str) -> None:
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
