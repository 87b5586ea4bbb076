"""`carclf worker`: takes photos from RabbitMQ, some at a time, and sends the answers back.

A photo is acknowledged only when its answer is safe, so that a worker may die at any moment: RabbitMQ hands what it
had to others. Among these photos may be the one that killed it. So a photo that came back is taken alone, and only when
work on it begins: then a photo that kills its worker again and again runs out of retries, and no other photo with it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from carclf.recognition.prediction import ERROR
from carclf.service.contract import Answer, Backend, Upload
from carclf.service.queue import queues
from carclf.service.queue.connection import Connection, Interrupted, PublishRefused
from carclf.service.queue.model import Claim
from detection.common.errors import UsageError

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage
    from faststream.rabbit import RabbitBroker
    from faststream.rabbit.message import RabbitMessage
    from faststream.rabbit.subscriber import RabbitSubscriber

    from carclf.service.settings import ServiceSettings


GATHER = 0.02  # photos that arrive within this time of the first one share its batch, in seconds
LOOK = 1.0  # between two looks for photos that came back, in seconds
PUBLISH = 30.0
KEEP = 300.0  # how long an answer waits for its web process, in seconds
BATCHES = 2  # at a time: one is decoded while the models look at the other
# A batch that takes longer has hung: the process ends itself, and RabbitMQ hands the photos on.
STALLED = 900.0
ALIVE = 5.0  # between two touches of the file that tells that the worker lives, in seconds


class Worker:
    """One process with one backend that recognizes by itself.

    batch_size: photos that are taken at once. alive: a file that is touched every few seconds while the worker is
    connected, for health checks. stalled: seconds after which a batch that is not done counts as hung.
    Raises `UsageError` for an address that is none.
    """

    def __init__(
        self,
        url: str | None,
        backend: Backend,
        batch_size: int = 8,
        alive: Path | None = None,
        stalled: float = STALLED,
    ):
        self.url = queues.check_url(url)
        self.backend = backend
        self.batch_size = batch_size
        self.alive = alive
        self.stalled = max(stalled, 1.5 * ALIVE)  # the timer is set again at every beat
        self.answered = 0
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._running: set[asyncio.Task] = set()
        self._since: dict[object, float] = {}  # when the models got what they work on
        self._stopping = asyncio.Event()
        self._subscriber: RabbitSubscriber | None = None
        self._claim: Claim  # made by `run`, when the model is known
        self._held = False  # whether this worker's model is the one that answers
        self._others: set[str] = set()
        self._connection: Connection  # made by `run`, which all else is called from

    async def run(self) -> None:
        """Works until `stop`, or SIGTERM or SIGINT, and then finishes what it has taken."""
        loop = asyncio.get_running_loop()
        self._connection = Connection(self.url, "carclf worker", self._prepare, self._forget)
        await self.backend.start()  # the models first: no photo is to wait for them
        self._claim = Claim(self.backend.model)
        queues.log().info("this worker's model is %s", self.backend.model)
        for name in (signal.SIGTERM, signal.SIGINT):
            with suppress(RuntimeError, ValueError):  # not the main thread
                try:
                    loop.add_signal_handler(name, self.stop)
                except NotImplementedError:  # Windows
                    signal.signal(name, lambda *_: loop.call_soon_threadsafe(self.stop))
        beating = asyncio.create_task(self._beat())
        try:
            if await self._until_stopped(self._connection.open()):
                queues.log().info("waiting for photos")
                await self._work()
                await self._finish()
        finally:
            beating.cancel()
            faulthandler.cancel_dump_traceback_later()
            await self._connection.close()
            await self.backend.stop()

    def stop(self) -> None:
        self._stopping.set()

    async def _work(self) -> None:
        while not self._stopping.is_set():
            if not self._held:  # all begins anew: another model may have taken over
                await self._connection.close()
                await self._until_stopped(self._connection.open())
            elif await self._some_came_back():
                await self._idle()
                if photo := await self._one_that_came_back():
                    await self._answer([photo], alone=True)
            elif batch := await self._batch(LOOK):
                await self._begin(batch)

    async def _begin(self, batch: list[AbstractIncomingMessage]) -> None:
        """Returns when there is room for another batch."""
        task = asyncio.create_task(self._answer(batch))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        if len(self._running) >= BATCHES:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def _idle(self) -> None:
        while self._running:
            await asyncio.wait(self._running)

    async def _finish(self) -> None:
        """Takes no more, and answers what it has."""
        if self._subscriber is not None:
            with suppress(Exception):  # a lost connection: then it has nothing any more
                await self._subscriber.stop()
        while self._connection.up.is_set() and not self._arrived.empty():
            if batch := await self._batch(0):
                await self._begin(batch)
        await self._idle()

    async def _prepare(self, broker: RabbitBroker) -> None:
        from faststream import AckPolicy
        from faststream.rabbit import Channel

        channel = Channel(prefetch_count=BATCHES * self.batch_size)
        subscriber = broker.subscriber(
            queues.photos_queue(), channel=channel, ack_policy=AckPolicy.MANUAL, no_reply=True
        )
        subscriber(self._take)
        self._subscriber = subscriber
        await self._claim.hold(broker)
        self._held = True

    async def _take(self, message: RabbitMessage) -> None:
        self._arrived.put_nowait(message.raw_message)

    def _forget(self) -> None:
        """What has arrived over a lost connection will arrive again."""
        self._held = False
        while not self._arrived.empty():
            self._arrived.get_nowait()

    async def _batch(self, seconds: float) -> list[AbstractIncomingMessage]:
        """A batch of photos; none if the first takes longer than `seconds`. Those that came back are put aside."""
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

    async def _some_came_back(self) -> bool:
        """Whether photos wait to be taken alone. Takes none: it would lose a retry if another killed this process."""
        try:
            queue = await self._connection.declare_queue(queues.photos_queue(queues.RETRY))
            return ((await queue.declare(timeout=PUBLISH)).message_count or 0) > 0
        except Exception as error:
            queues.log().debug("no look at %s: %s", queues.RETRY, type(error).__name__)
            return False

    async def _one_that_came_back(self) -> AbstractIncomingMessage | None:
        try:
            queue = await self._connection.declare_queue(queues.photos_queue(queues.RETRY))
            return await queue.get(fail=False, timeout=PUBLISH)
        except Exception as error:
            queues.log().debug("nothing from %s: %s", queues.RETRY, type(error).__name__)
            return None

    async def _put_aside(self, message: AbstractIncomingMessage) -> None:
        """Moves a photo to `RETRY`, from which some worker takes it alone."""
        queues.log().warning("photo %s is put aside, to be taken alone", message.correlation_id)
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
        except (PublishRefused, Interrupted, TimeoutError) as error:
            queues.log().warning("photo %s could not be put aside: %s", message.correlation_id, error)
            await _settle(message.reject(requeue=True))
        else:
            await _settle(message.ack())

    async def _answer(self, messages: Sequence[AbstractIncomingMessage], alone: bool = False) -> None:
        known = []
        for message in messages:
            try:
                known.append((message, queues.PhotoHeaders.decode(message.headers)))
                self._compare(known[-1][1].model)
            except ValueError as error:
                queues.log().error("photo %s: %s", message.correlation_id, error)
                await _settle(message.reject(requeue=False))
        try:
            answers = await self._recognize(known)
        except Exception as error:  # a photo that nobody settles would wait as long as this process lives
            queues.log().error("the recognizer failed: %s", type(error).__name__, exc_info=error)
            answers = [Answer(file=headers.name, status=ERROR) for _, headers in known]
        await asyncio.gather(
            *(self._hand_over(message, answer, alone) for (message, _), answer in zip(known, answers, strict=True))
        )

    def _compare(self, model: str) -> None:
        """A photo is answered by whichever model has the queue; that it was sent to another one is told once."""
        if model not in ("", self.backend.model, *self._others):
            self._others.add(model)
            queues.log().warning(
                "photos sent when model %s answered are answered with %s: the model was changed",
                model,
                self.backend.model,
            )

    async def _recognize(self, photos: list[tuple[AbstractIncomingMessage, queues.PhotoHeaders]]) -> list[Answer]:
        """Answers in the order of the photos."""
        groups = {
            pictures: [number for number, (_, headers) in enumerate(photos) if headers.pictures == pictures]
            for pictures in (False, True)
        }
        uploads = [Upload(headers.name, message.body, headers.hide) for message, headers in photos]
        mark = object()
        self._since[mark] = time.monotonic()
        try:
            found = await asyncio.gather(
                *(
                    self.backend.recognize([uploads[number] for number in numbers], pictures)
                    for pictures, numbers in groups.items()
                    if numbers
                )
            )
        finally:
            del self._since[mark]
        numbers = [number for numbers in groups.values() for number in numbers]
        answers = dict(zip(numbers, (answer for group in found for answer in group), strict=True))
        return [answers[number] for number in range(len(photos))]

    async def _hand_over(self, message: AbstractIncomingMessage, answer: Answer, alone: bool) -> None:
        if answer.status != ERROR:
            await self._send(message, answer)
        elif alone:
            await _settle(message.reject(requeue=False))  # a dead letter, of which the web process is told, too
        else:
            await self._put_aside(message)

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
                headers={queues.MODEL_HEADER: self.backend.model},
                expiration=KEEP,
            )
        except PublishRefused as error:
            if not error.unroutable:
                await _settle(message.reject(requeue=True))
                return
            queues.log().info("nobody waits for photo %s any more", message.correlation_id)
        except (Interrupted, TimeoutError):
            await _settle(message.reject(requeue=True))  # unless the connection is lost: then it comes back anyway
            return
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
        """Shows that all goes well. When that ends, the timer ends this process, whatever it hangs in."""
        while True:
            now = time.monotonic()
            if all(now - since < self.stalled for since in self._since.values()):
                faulthandler.dump_traceback_later(self.stalled, exit=True)
            if self.alive is not None and (self._connection.up.is_set() or self._claim.waiting):
                with suppress(OSError):
                    self.alive.touch()
            await asyncio.sleep(ALIVE)


def run_worker(
    url: str, settings: ServiceSettings, make: Callable[[ServiceSettings], Backend], alive: Path | None = None
) -> int:
    """A worker with the backend that a service of one process has, until it is told to stop. Raises `UsageError`.

    make: gives the backend. Returns how many photos it has answered.
    """
    from detection.common.console import log_to_stderr

    log_to_stderr()
    if alive is not None:
        try:
            alive.touch()
            alive.unlink()
        except OSError as error:
            raise UsageError(f"The file '{alive}' can't be written: {error.strerror or error}.") from error

    async def run() -> int:
        worker = Worker(url, make(settings), settings.batch_size, alive)
        await worker.run()
        return worker.answered

    return asyncio.run(run())


async def _settle(settling) -> None:
    """Tells RabbitMQ what became of a photo. Where the connection is lost, it knows: the photo comes back."""
    from aio_pika.exceptions import CONNECTION_EXCEPTIONS

    with suppress(*CONNECTION_EXCEPTIONS):
        await settling
