"""Web processes and workers against a real RabbitMQ: what is lost, and when? Nothing, whoever dies."""

from __future__ import annotations

import asyncio
import signal

import pytest
from typer.testing import CliRunner

pytest.importorskip("faststream", reason="the queue is not installed: pip install 'carclf[queue]'")

from carclf.cli import app
from carclf.service.contract import Answer, Busy, Upload
from carclf.service.queue import queues
from tests.carclf.service.broker.runs import (
    PATIENCE,
    RED_FILE,
    check,
    connected,
    drop,
    lengths,
    queue_is_gone,
    revive,
    stopped,
    until,
    uploads,
    web,
)
from tests.carclf.service.queue_worker import FAILING, HANGING, POISON
from tests.carclf.service.stand_ins import photo

pytestmark = pytest.mark.slow


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
