"""`carclf worker`: takes photos from RabbitMQ, some at a time, and sends the answers back.

A photo is acknowledged only when its answer is safe, so that a worker may die at any moment: RabbitMQ hands what it
had to others. Among these photos may be the one that killed it. So photos that came back are taken alone, and not
before they are worked on: only a photo that kills its worker again and again runs out of retries, and none beside it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import time
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from carclf.service import queues
from carclf.service.answer import Answer
from carclf.service.answering import answer_of
from carclf.service.connection import Connection, Interrupted, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aio_pika.abc import AbstractIncomingMessage
    from faststream.rabbit import RabbitBroker
    from faststream.rabbit.message import RabbitMessage

    from carclf.pipeline import CarRecognizer

GATHER = 0.02  # photos that arrive within this time of the first one share its batch, in seconds
LOOK = 1.0  # between two looks for photos that came back, in seconds
PUBLISH = 30.0
KEEP = 300.0  # how long an answer waits for its web process, in seconds
# A batch that takes longer has hung: the process ends itself, and RabbitMQ hands the photos on.
STALLED = 900.0
ALIVE = 5.0  # between two touches of the file that tells that the worker lives, in seconds


class Worker:
    """One process with one recognizer.

    batch_size: photos that are taken at once. alive: a file that is touched every few seconds while the worker is
    connected, for health checks. Raises `UsageError` for an address that is none.
    """

    def __init__(
        self,
        url: str | None,
        recognizer: CarRecognizer,
        batch_size: int = 8,
        alive: Path | None = None,
        stalled: float = STALLED,
    ):
        self.url = queues.check_url(url)
        self.recognizer = recognizer
        self.batch_size = batch_size
        self.alive = alive
        self.stalled = stalled
        self.answered = 0
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._stopping = asyncio.Event()
        self._subscriber = None
        self._connection: Connection | None = None

    async def run(self) -> None:
        """Works until `stop`, or SIGTERM or SIGINT, and then finishes what it has taken."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread, or Windows
                loop.add_signal_handler(name, self.stop)
        self._connection = Connection(self.url, "carclf worker", self._prepare, self._forget)
        beating = asyncio.create_task(self._beat())
        try:
            if await self._until_stopped(self._connection.open()):
                queues.log().info("waiting for photos")
                await self._work()
                await self._finish()
        finally:
            beating.cancel()
            await self._connection.close()

    def stop(self) -> None:
        self._stopping.set()

    async def _work(self) -> None:
        while not self._stopping.is_set():
            if not self._connection.up.is_set():
                await self._until_stopped(self._connection.up.wait())
                continue
            if photo := await self._one_that_came_back():
                await self._answer([photo])
            elif batch := await self._batch(LOOK):
                await self._answer(batch)

    async def _finish(self) -> None:
        """Takes no more, and answers what it has."""
        with suppress(Exception):  # a lost connection: then it has nothing any more
            await self._subscriber.stop()
        while self._connection.up.is_set() and not self._arrived.empty():
            if batch := await self._batch(0):
                await self._answer(batch)

    async def _prepare(self, broker: RabbitBroker) -> None:
        from faststream import AckPolicy
        from faststream.rabbit import Channel

        # One batch is worked on while the next one arrives.
        channel = Channel(prefetch_count=2 * self.batch_size)
        self._subscriber = broker.subscriber(
            queues.photos_queue(), channel=channel, ack_policy=AckPolicy.MANUAL, no_reply=True
        )
        self._subscriber(self._take)

    async def _take(self, message: RabbitMessage) -> None:
        self._arrived.put_nowait(message.raw_message)

    def _forget(self) -> None:
        """What has arrived over a lost connection will arrive again."""
        while not self._arrived.empty():
            self._arrived.get_nowait()

    async def _batch(self, seconds: float) -> list[AbstractIncomingMessage]:
        """Photos that arrived, for the first of which it waits so long. Those that came back are put aside."""
        first = await self._next(seconds)
        if first is None:
            return []
        batch, until = [first], time.monotonic() + GATHER
        while len(batch) < self.batch_size and (more := await self._next(until - time.monotonic())):
            batch.append(more)
        suspects = [message for message in batch if queues.came_back(message)]
        await asyncio.gather(*(self._put_aside(message) for message in suspects))
        return [message for message in batch if message not in suspects]

    async def _next(self, seconds: float) -> AbstractIncomingMessage | None:
        if not self._arrived.empty():
            return self._arrived.get_nowait()
        if seconds <= 0:
            return None
        try:
            return await asyncio.wait_for(self._arrived.get(), seconds)
        except asyncio.TimeoutError:
            return None

    async def _one_that_came_back(self) -> AbstractIncomingMessage | None:
        """Taken only now: were it to wait in this process, it would pay for what other photos do to the process."""
        try:
            queue = await self._connection.broker.declare_queue(queues.photos_queue(queues.RETRY))
            return await queue.get(fail=False, timeout=PUBLISH)
        except Exception as error:
            queues.log().debug("no look at %s: %s", queues.RETRY, type(error).__name__)
            return None

    async def _put_aside(self, message: AbstractIncomingMessage) -> None:
        """To be worked on alone."""
        queues.log().warning("photo %s came back: it will be taken alone", message.correlation_id)
        try:
            await self._connection.publish(
                message.body,
                queues.RETRY,
                PUBLISH,
                headers={name: value for name, value in message.headers.items() if not name.startswith("x-")},
                correlation_id=message.correlation_id,
                reply_to=message.reply_to,
                content_type=message.content_type,
                expiration=message.expiration,
            )
        except (Refused, Interrupted, TimeoutError) as error:
            queues.log().warning("photo %s could not be put aside: %s", message.correlation_id, error)
            await _settle(message.nack())
        else:
            await _settle(message.ack())

    async def _answer(self, messages: Sequence[AbstractIncomingMessage]) -> None:
        known = []
        for message in messages:
            try:
                known.append((message, queues.PhotoHeaders.decode(message.headers)))
            except ValueError as error:
                queues.log().error("photo %s: %s", message.correlation_id, error)
                await _settle(message.reject(requeue=False))
        if not known:
            return
        try:
            answers = await asyncio.to_thread(self._recognize, known)
        except Exception as error:
            queues.log().error("the recognizer failed: %s", error, exc_info=error)
            if len(known) == 1:
                await _settle(known[0][0].reject(requeue=False))
            else:
                await asyncio.gather(*(self._put_aside(message) for message, _ in known))
            return
        await asyncio.gather(
            *(self._send(message, answer) for (message, _), answer in zip(known, answers, strict=True))
        )

    def _recognize(self, photos: list[tuple[AbstractIncomingMessage, queues.PhotoHeaders]]) -> list[Answer]:
        """Answers in the order of the photos."""
        from carclf.recognition.items import Item

        answers: dict[int, Answer] = {}
        numbered = sorted(enumerate(photos), key=lambda pair: pair[1][1].pictures)
        faulthandler.dump_traceback_later(self.stalled, exit=True)
        try:
            for pictures, group in groupby(numbered, key=lambda pair: pair[1][1].pictures):
                group = list(group)
                items = [Item(message.body, headers.name) for _, (message, headers) in group]
                found = self.recognizer.recognize_fully(items, pictures=pictures)
                for (number, (_, headers)), recognition in zip(group, found, strict=True):
                    answers[number] = answer_of(headers.name, recognition, pictures)
        finally:
            faulthandler.cancel_dump_traceback_later()
        return [answers[number] for number in range(len(photos))]

    async def _send(self, message: AbstractIncomingMessage, answer: Answer) -> None:
        """The photo is acknowledged when its answer is safe, or when nobody waits for it any more."""
        queue = message.reply_to or ""
        if not queue.startswith(queues.ANSWERS):  # nobody else is to be written to
            await _settle(message.reject(requeue=False))
            return
        try:
            await self._connection.publish(
                answer.model_dump_json().encode("utf-8"),
                queue,
                PUBLISH,
                correlation_id=message.correlation_id,
                content_type="application/json",
                expiration=KEEP,
            )
        except Refused as error:
            if not error.unroutable:
                await _settle(message.nack())
                return
            queues.log().info("nobody waits for photo %s any more", message.correlation_id)
        except (Interrupted, TimeoutError):
            return  # the connection is lost, and the photo comes back
        self.answered += 1
        await _settle(message.ack())

    async def _until_stopped(self, waiting) -> bool:
        """Waits for it; False when the worker is to stop before."""
        task, stopping = asyncio.ensure_future(waiting), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            return task.done()
        finally:
            for one in (task, stopping):
                one.cancel()
            await asyncio.gather(task, stopping, return_exceptions=True)

    async def _beat(self) -> None:
        while self.alive is not None:
            if self._connection.up.is_set():
                self.alive.touch()
            await asyncio.sleep(ALIVE)


async def _settle(settling) -> None:
    """Tells RabbitMQ what became of a photo. Where the connection is lost, it knows: the photo comes back."""
    from aio_pika.exceptions import CONNECTION_EXCEPTIONS

    with suppress(*CONNECTION_EXCEPTIONS):
        await settling
