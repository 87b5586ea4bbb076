"""A backend that has no models: it hands photos to `carclf worker` processes through RabbitMQ."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

import anyio
from pydantic import ValidationError

from carclf.recognition.prediction import ERROR
from carclf.service.contract import Answer, Busy, Upload
from carclf.service.queue import queues
from carclf.service.queue.connection import Blocked, Connection, Interrupted, PublishRefused

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage
    from faststream.rabbit import RabbitBroker
    from faststream.rabbit.message import RabbitMessage
    from faststream.rabbit.subscriber import RabbitSubscriber


TIMEOUT = 120.0
MAX_WAITING = 1_000  # photos of this process that wait at once: they are in its memory
CHANGES = 3  # of the workers' model that one request bears
STARTING = 5.0  # a server that is not there yet holds up the start of the service no longer than this, in seconds
LOOK = 2.0  # between two looks for workers, in seconds
LINGER = 60.0  # how long answers wait for a web process that lost its connection, in seconds
_NO_SERVER = "the queue can't be reached at the moment"
_BLOCKED = "the queue takes no photos: its server is short of memory or disk"
NOWHERE = "carclf.nowhere"  # no queue has this name


class BrokerBackend:
    """See `carclf.service.contract.Backend`.

    url: amqp://user:password@host:5672/ or amqps://...; never logged with the password.
    timeout: how long a photo may wait for its answer, in seconds; afterwards no worker takes it any more.
    max_waiting: photos of this process that wait at once; more are `Busy`.
    max_bytes: of one photo; a larger one is answered as `unreadable`.
    linger: how long answers are kept for this process while its connection is lost, in seconds.
    Raises `UsageError` for an address that is none.
    """

    def __init__(
        self,
        url: str | None,
        timeout: float = TIMEOUT,
        max_waiting: int = MAX_WAITING,
        max_bytes: int = queues.MAX_BYTES,
        linger: float = LINGER,
    ):
        self.url = queues.check_url(url)
        self.timeout = timeout
        self.max_waiting = max_waiting
        self.max_bytes = max_bytes
        self.linger = linger
        self.id = uuid.uuid4().hex
        self.model = ""
        self._waiting: dict[str, asyncio.Future[tuple[Answer, str]]] = {}
        self._others = False  # whether workers with another model wait
        self._told_of_old = False
        self._workers = 0
        self._subscriber: RabbitSubscriber | None = None
        self._connection: Connection | None = None
        self._tasks: list[asyncio.Task] = []
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Connects. A server that can't be reached yet is no error: `ready` is false until it can be."""
        self._connection = Connection(self.url, f"carclf web {self.id[:8]}", self._prepare, self._lost)
        opening = asyncio.create_task(self._connection.open())
        self._tasks = [opening, asyncio.create_task(self._watch(opening))]
        done, _ = await asyncio.wait([opening], timeout=STARTING)
        if done and (error := opening.exception()):
            await self.stop()
            raise error
        if done:
            await self._look()

    async def stop(self) -> None:
        """Waits for the answers that are still to come, as far as they come in time."""
        if self._waiting:
            await asyncio.wait(list(self._waiting.values()), timeout=self.timeout)
        # Not in the midst of a look: an interrupted question closes the channel that all share.
        self._stopping.set()
        if self._connected():
            await asyncio.wait(self._tasks, timeout=STARTING)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._connection is not None:
            if self._connection.up.is_set():
                await self._forget_queue(self._connection)
            await self._connection.close()
            self._connection = None

    def ready(self) -> bool:
        """Connected, at least one worker listens, and RabbitMQ takes messages."""
        return self._connected() and self._workers > 0 and not self._blocked()

    async def recognize(self, uploads: Sequence[Upload], pictures: bool = False) -> list[Answer]:
        """See `Backend`. A photo without an answer in time, or at which workers died, is an `error`.

        All photos of a request are answered by one model: where it changed meanwhile, the older answers are asked for
        again.
        """
        if not self._connected():
            raise Busy(_NO_SERVER)
        if self._blocked():
            raise Busy(_BLOCKED)
        if len(self._waiting) + len(uploads) > self.max_waiting:
            raise Busy("too many photos wait already")
        until = time.monotonic() + self.timeout
        found = await self._ask(uploads, pictures, until)
        for _ in range(CHANGES):
            if len({model for _, model in found if model}) < 2:
                return [answer for answer, _ in found]
            older = [number for number, (_, model) in enumerate(found) if model not in ("", self.model)]
            again = await self._ask([uploads[number] for number in older], pictures, until)
            for number, answered in zip(older, again, strict=True):
                found[number] = answered
        queues.log().error("workers with different models answer the photos of one request: it is refused")
        raise Busy("the workers do not all have the same model")

    async def _ask(self, uploads: Sequence[Upload], pictures: bool, until: float) -> list[tuple[Answer, str]]:
        answering = [asyncio.create_task(self._recognize(upload, pictures, until)) for upload in uploads]
        try:
            return list(await asyncio.gather(*answering))
        finally:
            for task in answering:
                task.cancel()

    async def _recognize(self, upload: Upload, pictures: bool, until: float) -> tuple[Answer, str]:
        """The answer, and the model that gave it; "" when none did."""
        if len(upload.data) > self.max_bytes:
            limit = self.max_bytes / 1024**2
            reason = f"the photo has more than {limit:.0f} MB"
            return Answer(file=upload.name, status="unreadable", reason=reason), ""
        ticket = uuid.uuid4().hex
        waiting = self._waiting[ticket] = asyncio.get_running_loop().create_future()
        try:
            headers = queues.PhotoHeaders(upload.name, self.id, pictures, self.model, upload.hide)
            await self._send(upload, headers.encode(), ticket, until)
            with anyio.fail_after(_left(until)):
                answer, model = await waiting
        except TimeoutError:
            reason = f"no answer came within {self.timeout:.0f} seconds"
            return Answer(file=upload.name, status=ERROR, reason=reason), ""
        finally:
            self._waiting.pop(ticket, None)
        if upload.hide and answer.cutout is not None and answer.hidden is None:
            queues.log().error("a worker of an older version hides nothing: its picture is not passed on; update it")
            answer = answer.model_copy(update={"cutout": None})
        return answer.model_copy(update={"file": upload.name}), model

    async def _send(self, upload: Upload, headers: dict, ticket: str, until: float) -> None:
        """Returns when RabbitMQ has the photo safe. What was interrupted is sent again: the ticket tells twins apart.

        Raises `Busy` when the queue is full, TimeoutError.
        """
        while (connection := self._connection) is not None:
            with anyio.fail_after(_left(until)):
                await connection.up.wait()
            try:
                await connection.publish(
                    upload.data,
                    queues.PHOTOS,
                    _left(until),
                    patient=False,
                    headers=headers,
                    correlation_id=ticket,
                    reply_to=queues.ANSWERS + self.id,
                    content_type="application/octet-stream",
                    expiration=_left(until),
                )
                return
            except PublishRefused as error:
                raise Busy(str(error)) from error
            except Blocked as error:
                raise Busy(_BLOCKED) from error
            except Interrupted:
                await asyncio.sleep(0.1)
        raise Busy(_NO_SERVER)

    async def _prepare(self, broker: RabbitBroker) -> None:
        from faststream import AckPolicy

        await queues.declare_answers(broker, self.id, self.linger)
        queue = queues.answers_queue(self.id, self.linger)
        subscriber = broker.subscriber(queue, ack_policy=AckPolicy.ACK, no_reply=True)
        subscriber(self._take)
        self._subscriber = subscriber

    async def _take(self, message: RabbitMessage) -> None:
        """An answer, or one of this process's photos as a dead letter. The second one to a photo is not waited for."""
        waiting = self._waiting.get(message.correlation_id)
        if waiting is not None and not waiting.done():
            raw = message.raw_message
            dead = queues.death_of(raw.headers) is not None
            model = "" if dead else str(raw.headers.get(queues.MODEL_HEADER, ""))
            if not dead:
                self._note(model)
            waiting.set_result((_answer_in(raw), model))

    def _note(self, model: str) -> None:
        """Tells which model answers, each time that it is another one."""
        if model == self.model:
            return
        if not model:
            if not self._told_of_old:
                self._told_of_old = True
                queues.log().error("a worker of an older version answers, too, and its model is not known: update it")
            return
        if self.model:
            queues.log().warning("the model was changed: workers answer with %s now, before with %s", model, self.model)
        else:
            queues.log().info("workers answer with model %s", model)
        self.model = model

    def _connected(self) -> bool:
        return self._connection is not None and self._connection.up.is_set()

    def _blocked(self) -> bool:
        return self._connection is not None and self._connection.blocked

    def _lost(self) -> None:
        self._workers = 0

    async def _watch(self, opening: asyncio.Task) -> None:
        """Knows how many workers listen."""
        await asyncio.wait([opening])
        if error := opening.exception():
            queues.log().error("%s", error)
            return
        while not self._stopping.is_set():
            if self._connected():
                await self._look()
            with anyio.move_on_after(LOOK):
                await self._stopping.wait()

    async def _look(self) -> None:
        if self._connection is None:
            self._workers = 0
            return
        try:
            queue = await self._connection.declare_queue(queues.photos_queue())
            self._workers = (await queue.declare()).consumer_count or 0
            others = await self._connection.others_wait()
            if others and not self._others:
                queues.log().error(
                    "workers with another model wait: they answer when the last worker with the present model stops"
                )
            self._others = others
            # RabbitMQ says that it is short of memory or disk only to those who publish: so do, before a photo must.
            await self._connection.publish(b"", NOWHERE, LOOK, patient=False, mandatory=False)
        except Blocked:
            queues.log().warning("RabbitMQ is short of memory or disk: photos are refused until that is over")
        except Exception as error:
            self._workers = 0
            queues.log().debug("no look for workers: %s", type(error).__name__)

    async def _forget_queue(self, connection: Connection) -> None:
        try:
            queue = await connection.declare_queue(queues.answers_queue(self.id, self.linger))
            with anyio.fail_after(STARTING):
                if self._subscriber is not None:
                    await self._subscriber.stop()
                await queue.delete(if_unused=False, if_empty=False)
        except Exception as error:  # it expires by itself
            queues.log().debug("the queue for answers stays: %s", type(error).__name__)


def _answer_in(message: AbstractIncomingMessage) -> Answer:
    """The answer in a message. The name of the photo is known here, and set later."""
    if death := queues.death_of(message.headers):
        return Answer(file="", status=ERROR, reason=death)
    try:
        return Answer.model_validate_json(message.body)
    except ValidationError:
        return Answer(file="", status=ERROR, reason="the worker's answer can't be read: is it of another version?")


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.001)
