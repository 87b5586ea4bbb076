"""What lies in RabbitMQ: the queues, the form of the messages, and the address. Web and workers both declare it.

web --> carclf.photos --> worker --> carclf.answers.<web> --> web
             |  came back once: maybe it killed its worker
             v
        carclf.photos.retry --> one photo alone --> ...
             |  killed that one, too, or failed
             v
        carclf.dead --> carclf.photos.dead, and to the web process that waits for an answer
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from detection.common.errors import UsageError

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage, AbstractQueue, AbstractRobustChannel
    from faststream.rabbit import RabbitBroker, RabbitQueue


PHOTOS = "carclf.photos"
RETRY = "carclf.photos.retry"
DEAD = "carclf.photos.dead"
DEAD_EXCHANGE = "carclf.dead"
ANSWERS = "carclf.answers."
WAITING = "carclf.model.waiting"

# A RabbitMQ of version 4 takes messages of 16 MiB unless told otherwise.
MAX_BYTES = 15 * 1024 * 1024
# Photos that wait at most, in all: beyond that web processes say that they are busy.
MAX_LENGTH, MAX_LENGTH_BYTES = 10_000, 4 * 1024**3
# How often a photo comes back from a worker that died while it held this photo alone, before it is given up.
RETRIES = 2
# Of the first queue, where a photo comes back with others that are not to blame. Only a net: workers move it on.
RETURNS = 20
DEAD_LENGTH, DEAD_DAYS = 1_000, 14

FORMAT = 1
_FORMAT, _NAME, _WEB, _PICTURES = "carclf-format", "carclf-name", "carclf-web", "carclf-pictures"
_HIDE = "carclf-hide"
MODEL_HEADER = "carclf-model"  # of photos and of answers
_NAME_LENGTH = 200
_REASON = "x-first-death-reason"  # set by RabbitMQ
_DEADLY = ("delivery_limit", "rejected")  # not "expired": nobody waits for that photo any more

_DEAD_REASONS = {
    "expired": "no worker had time for the photo before it expired",
    "delivery_limit": "the workers stopped at this photo every time; it was put aside",
    "rejected": "the recognizer failed at this photo; it was put aside",
}


@dataclass(frozen=True)
class PhotoHeaders:
    """What goes with the bytes of a photo. web: the id of the process that waits for the answer. model: what answered
    that process last; "" when it does not know, as in messages of version 0.4. hide: of the `Upload`."""

    name: str
    web: str
    pictures: bool = False
    model: str = ""
    hide: str = ""

    def encode(self) -> dict[str, Any]:
        """Headers of a message. The name is for people who look at dead letters: it is shortened, and always text."""
        name = self.name[:_NAME_LENGTH].encode("utf-8", "replace").decode("utf-8")
        said = {_FORMAT: FORMAT, _NAME: name, _WEB: self.web, _PICTURES: self.pictures, MODEL_HEADER: self.model}
        return said | ({_HIDE: self.hide} if self.hide else {})

    @classmethod
    def decode(cls, headers: dict[str, Any]) -> PhotoHeaders:
        """Raises ValueError when another version, or somebody else, has written them."""
        if headers.get(_FORMAT) != FORMAT or not isinstance(headers.get(_WEB), str):
            raise ValueError("the message is not of a form that this version of carclf knows")
        name, model = str(headers.get(_NAME, "")), str(headers.get(MODEL_HEADER, ""))
        return cls(name, headers[_WEB], bool(headers.get(_PICTURES)), model, str(headers.get(_HIDE, "")))


def death_of(headers: dict[str, Any]) -> str | None:
    """Why RabbitMQ gave this photo up, in a sentence; None of a message that is no dead letter."""
    reason = headers.get(_REASON)
    return None if reason is None else _DEAD_REASONS.get(str(reason), f"the queue gave the photo up ({reason})")


def answers_queue(web: str, seconds: float) -> RabbitQueue:
    """The queue of one web process. It outlives a short loss of the connection and `seconds` without a listener."""
    from faststream.rabbit import RabbitQueue

    return RabbitQueue(ANSWERS + web, durable=True, arguments={"x-expires": int(seconds * 1000)})


def photos_queue(name: str = PHOTOS) -> RabbitQueue:
    """`PHOTOS` or `RETRY`: quorum queues, as only these count how often a message came back."""
    from faststream.rabbit import QueueType, RabbitQueue

    return RabbitQueue(
        name,
        queue_type=QueueType.QUORUM,
        durable=True,
        arguments={
            "x-delivery-limit": RETRIES if name == RETRY else RETURNS,
            "x-max-length": MAX_LENGTH,
            "x-max-length-bytes": MAX_LENGTH_BYTES,
            "x-overflow": "reject-publish",
            "x-dead-letter-exchange": DEAD_EXCHANGE,
        },
    )


def dead_queue() -> RabbitQueue:
    """Where photos that were given up stay for people to look at: the newest of some days."""
    from faststream.rabbit import QueueType, RabbitQueue

    return RabbitQueue(
        DEAD,
        queue_type=QueueType.QUORUM,
        durable=True,
        arguments={
            "x-max-length": DEAD_LENGTH,
            "x-message-ttl": DEAD_DAYS * 24 * 3600 * 1000,
            "x-delivery-limit": 1_000_000,  # looking at them must not use them up, as it would by default
        },
    )


async def declare(broker: RabbitBroker) -> None:
    """Makes what all share, where it is not there yet."""
    from faststream.rabbit import ExchangeType, RabbitExchange

    exchange = await broker.declare_exchange(RabbitExchange(DEAD_EXCHANGE, type=ExchangeType.HEADERS))
    dead = await broker.declare_queue(dead_queue())
    for reason in _DEADLY:
        # `all-with-x`: as headers that begin with x- do not count otherwise (RabbitMQ 3.10 or newer)
        await dead.bind(exchange, routing_key=reason, arguments={"x-match": "all-with-x", _REASON: reason})
    for name in (PHOTOS, RETRY):
        await broker.declare_queue(photos_queue(name))


async def declare_waiting(channel: AbstractRobustChannel) -> AbstractQueue:
    """Where workers listen that have another model than those that answer: nothing is sent there."""
    return await channel.declare_queue(WAITING, durable=True, arguments={"x-expires": 60_000}, robust=False)


async def declare_answers(broker: RabbitBroker, web: str, seconds: float) -> None:
    """The queue of a web process, which also gets its dead letters: no photo stays without an answer."""
    from faststream.rabbit import ExchangeType, RabbitExchange

    exchange = await broker.declare_exchange(RabbitExchange(DEAD_EXCHANGE, type=ExchangeType.HEADERS))
    queue = await broker.declare_queue(answers_queue(web, seconds))
    await queue.bind(exchange, routing_key=web, arguments={"x-match": "all", _WEB: web})


def came_back(message: AbstractIncomingMessage) -> bool:
    """Whether a worker has had this photo before and did not answer."""
    return bool(message.redelivered)


def check_url(url: str | None) -> str:
    """The address of a RabbitMQ server. Raises `UsageError`, which never shows the password."""
    example = "give one like amqp://user:password@host:5672/, or set CARCLF_BROKER"
    if not url:
        raise UsageError(f"No address of a RabbitMQ server is given: {example}.")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("amqp", "amqps") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"'{redact(url)}' is not the address of a RabbitMQ server: {example}.")
    return url


def virtual_host(url: str) -> str:
    """The name of the virtual host in a checked address, as RabbitMQ gets it."""
    return unquote(urlsplit(url).path[1:]) or "/"


def redact(url: str) -> str:
    """The address without password and options, for logs and messages."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        host, user = parts.hostname or "", parts.username
    except ValueError:
        return "..."
    if not parts.scheme or not host:
        return "..."  # whatever it is, a password may be anywhere in it
    who = f"{user}:***@" if parts.password is not None else f"{user}@" if user else ""
    return f"{parts.scheme}://{who}{host}{port}{parts.path}"


def log() -> logging.Logger:
    return logging.getLogger("carclf.queue")
