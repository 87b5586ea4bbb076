"""One connection to RabbitMQ: made with patience, made again when it is lost."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from carclf.service.queue.queues import check_url, declare, declare_waiting, log, redact, virtual_host
from detection.common.errors import UsageError, need

if TYPE_CHECKING:
    from aio_pika.abc import AbstractRobustConnection, AbstractRobustQueue
    from faststream.rabbit import RabbitBroker, RabbitQueue
    from faststream.rabbit.utils import RabbitClientProperties


FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # between attempts of the first connection, in seconds
RECONNECT = 2.0  # and of later ones
CONNECT_TIMEOUT = 10.0
BLOCKED_LOOK = 0.2  # between two looks whether RabbitMQ still reads what is published, in seconds
HEARTBEAT = 20  # a machine that is gone without a word is noticed after about three of these, in seconds


class PublishRefused(Exception):
    """RabbitMQ did not take a message: the queue is full, or (`unroutable`) there is no such queue."""

    def __init__(self, unroutable: bool):
        super().__init__("there is no such queue" if unroutable else "the queue is full")
        self.unroutable = unroutable


class Blocked(Exception):
    """RabbitMQ takes no messages: it is short of memory or disk. It may still take this one when that is over."""


class Interrupted(Exception):
    """Nobody knows whether RabbitMQ has the message: send it again."""


class Connection:
    """`broker` publishes, subscribes and declares; `up` is set while it can.

    prepare: makes subscribers of a broker before it starts, called again for each attempt. name: for RabbitMQ's lists.
    lost: called when the connection is gone.
    """

    def __init__(
        self,
        url: str | None,
        name: str,
        prepare: Callable[[RabbitBroker], Awaitable[None]],
        lost: Callable[[], None] = lambda: None,
    ):
        self.url = check_url(url)
        self.name = name
        self.up = asyncio.Event()
        self.broker: RabbitBroker | None = None
        self._link: AbstractRobustConnection | None = None
        self._prepare = prepare
        self._lost = lost
        need(("faststream", "aio_pika"), "The queue", extra="")

    async def open(self) -> None:
        """Returns when it is there, however long that takes. Raises `UsageError` where waiting would not help."""
        from aio_pika.exceptions import CONNECTION_EXCEPTIONS, AuthenticationError, ProbableAuthenticationError

        pause = FIRST_PAUSE
        while True:
            broker = self._make()
            try:
                await self._connect(broker)
                await declare(broker)
                await self._prepare(broker)
                await broker.start()
            except (AuthenticationError, ProbableAuthenticationError) as error:
                await self._discard(broker)
                raise UsageError(
                    f"The RabbitMQ at {redact(self.url)} refuses this user: check name, password and virtual host."
                ) from error
            except (*CONNECTION_EXCEPTIONS, asyncio.TimeoutError) as error:
                await self._discard(broker)
                if _closed_at_the_door(error):
                    raise UsageError(
                        f"The RabbitMQ at {redact(self.url)} has no virtual host '{virtual_host(self.url)}', or does "
                        "not let this user in: create it, or name another one at the end of the address."
                    ) from error
                if _precondition(error):
                    raise UsageError(
                        f"The queues at {redact(self.url)} were made with other settings by another version: "
                        f"empty and delete them, or use another virtual host. ({str(error)[:200]})"
                    ) from error
                log().warning(
                    "no connection to %s (%s); trying again in %.1f s", redact(self.url), type(error).__name__, pause
                )
                # Many processes that lost the same server must not all come back in the same instant.
                await asyncio.sleep(pause * random.uniform(0.75, 1.25))
                pause = min(2 * pause, LONGEST_PAUSE)
            except BaseException:
                await self._discard(broker)
                raise
            else:
                self.broker = broker
                self.up.set()
                log().info("connected to %s", redact(self.url))
                return

    async def publish(self, body: bytes, queue: str, seconds: float, patient: bool = True, **options) -> None:
        """Returns when RabbitMQ has the message safe, on disk where that is the queue's way.

        options: of `RabbitBroker.publish`. patient: waits while RabbitMQ takes no messages. Raises `PublishRefused`,
        `Interrupted`, TimeoutError after `seconds`; `Blocked` unless patient.
        """
        from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError, PublishError

        if self.broker is None:
            raise Interrupted
        # In a task of its own: when a connection goes, the futures of its messages are cancelled, which must not look
        # as if the caller was.
        sending = asyncio.ensure_future(self.broker.publish(body, queue=queue, persist=True, **options))
        until = time.monotonic() + seconds
        try:
            while not sending.done() and (left := until - time.monotonic()) > 0:
                if self.blocked and not patient:
                    raise Blocked
                await asyncio.wait([sending], timeout=min(left, BLOCKED_LOOK))
        finally:
            if not sending.done():
                sending.cancel()
        if not sending.done():
            raise TimeoutError
        if sending.cancelled():
            raise Interrupted
        error = sending.exception()
        if isinstance(error, DeliveryError):
            raise PublishRefused(isinstance(error, PublishError)) from error
        if isinstance(error, CONNECTION_EXCEPTIONS):
            raise Interrupted from error
        if error is not None:
            raise error

    @property
    def blocked(self) -> bool:
        """Whether RabbitMQ has said that it takes no messages. It says so after the first one that it does not take."""
        if self._link is None or not self.up.is_set() or self._link.transport is None:
            return False
        # aiormq tells only those who wait: whoever need not wait here is not blocked.
        waiting = self._link.transport.connection.ready()
        try:
            waiting.send(None)
        except StopIteration:
            return False
        waiting.close()
        return True

    async def declare_queue(self, queue: RabbitQueue) -> AbstractRobustQueue:
        """Raises `Interrupted` before there is a connection; and what aio-pika raises."""
        if self.broker is None:
            raise Interrupted
        return await self.broker.declare_queue(queue)

    async def others_wait(self) -> bool:
        """Whether workers wait because those that answer have another model. Raises what aio-pika raises."""
        if self.broker is None:
            return False
        async with (await self.broker.connect()).channel() as channel:
            return ((await declare_waiting(channel)).declaration_result.consumer_count or 0) > 0

    async def close(self) -> None:
        self.up.clear()
        if self.broker is not None:
            await self._discard(self.broker)
            self.broker = None

    def _make(self) -> RabbitBroker:
        from faststream.rabbit import Channel, RabbitBroker
        from yarl import URL

        url = URL(self.url)
        if "heartbeat" not in url.query:
            url = url.update_query(heartbeat=HEARTBEAT)
        # Names of a connection are RabbitMQ's own, which FastStream passes on but does not list.
        properties = cast("RabbitClientProperties", {"connection_name": self.name})
        return RabbitBroker(
            url,
            timeout=CONNECT_TIMEOUT,
            reconnect_interval=RECONNECT,
            client_properties=properties,
            # With confirms: a photo is sent when RabbitMQ has it safe, and one that fits nowhere is an error.
            default_channel=Channel(publisher_confirms=True, on_return_raises=True),
            on_close=[self._on_close],
            on_reconnected=[self._on_reconnected],
            logger=None,  # it would write a line per photo
            apply_types=False,
            decoder=_whole,
        )

    async def _connect(self, broker: RabbitBroker) -> None:
        """Connects, and can be cancelled. aio-pika's own attempt can't: it would keep trying for ever."""
        connecting = asyncio.ensure_future(broker.connect())
        try:
            self._link = await asyncio.shield(connecting)
        except asyncio.CancelledError:
            await asyncio.wait([connecting], timeout=CONNECT_TIMEOUT + 1)
            if connecting.done() and not connecting.cancelled() and connecting.exception() is None:
                self._link = connecting.result()
            raise

    async def _discard(self, broker: RabbitBroker) -> None:
        """Closes the connection. A broker without its connection is not stopped: it would wait for it."""
        link, self._link = self._link, None
        if link is None:
            return
        closings: list[Callable[[], Awaitable[Any]]] = (
            [broker.stop, link.close] if link.connected.is_set() else [link.close]
        )
        for closing in closings:
            try:
                await asyncio.wait_for(closing(), CONNECT_TIMEOUT)
            except Exception as error:
                log().debug("while closing: %s", type(error).__name__)

    def _on_close(self, *_) -> None:
        if self.up.is_set():
            log().warning("lost the connection to %s", redact(self.url))
        self.up.clear()
        self._lost()

    def _on_reconnected(self, *_) -> None:
        if self.broker is not None:
            self.up.set()
            log().info("connected to %s again", redact(self.url))


async def _whole(message):
    """Handlers get the message itself: its bytes are no text to be decoded."""
    return message


def _closed_at_the_door(error: BaseException) -> bool:
    """Whether RabbitMQ knows the user and closed the connection when it was asked for the virtual host."""
    from aiormq.exceptions import ConnectionNotAllowed, InvalidFrameError

    return isinstance(error, ConnectionNotAllowed) or (isinstance(error, InvalidFrameError) and "OpenOk" in str(error))


def _precondition(error: BaseException) -> bool:
    from aio_pika.exceptions import ChannelPreconditionFailed

    return isinstance(error, ChannelPreconditionFailed)
