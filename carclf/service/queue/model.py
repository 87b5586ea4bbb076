"""Which model answers a queue: that of the first worker, until the last worker with it has gone.

RabbitMQ itself keeps it, so that no two can begin at once: a worker listens at a queue whose arguments hold its model.
Whoever names other arguments is refused, and the queue goes with its last listener. Nothing is ever sent there.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from carclf.service.queue.queues import declare_waiting, log

if TYPE_CHECKING:
    from faststream.rabbit import RabbitBroker

MODEL = "carclf.model"
LOOK = 1.0  # between two tries of a worker with another model, in seconds
TELL = 60.0  # and between two lines of its log
# A queue that a server had when it lost power has no listener to go with: it stays for this many seconds.
LEFTOVER = 10.0


class Claim:
    """The right of one worker to answer. waiting: whether workers with another model have it."""

    def __init__(self, model: str):
        self.model = model
        self.waiting = False

    async def hold(self, broker: RabbitBroker) -> None:
        """Returns when no worker answers with another model. The right ends with the connection."""
        if await self._try(broker) is None:
            return
        self.waiting = True
        seen = await declare_waiting(await (await broker.connect()).channel())
        try:
            await seen.consume(_nothing, no_ack=True)  # so web processes know that somebody waits
            told, other = 0.0, ""
            while (held := await self._try(broker)) is not None:
                now = asyncio.get_running_loop().time()
                if held != other or now - told > TELL:
                    told, other = now, held
                    log().error(
                        "workers with another model answer this queue (%s, this one has %s): this one takes photos "
                        "when the last of them has stopped",
                        held,
                        self.model,
                    )
                await asyncio.sleep(LOOK)
        finally:
            self.waiting = False
            await seen.channel.close()

    async def _try(self, broker: RabbitBroker) -> str | None:
        """The model of others that have the right; None when this worker has it now."""
        from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

        channel = await (await broker.connect()).channel()
        try:
            queue = await channel.declare_queue(
                MODEL,
                durable=True,
                auto_delete=True,
                arguments={
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": self.model,
                    "x-expires": int(LEFTOVER * 1000),
                },
                robust=False,  # a connection that was lost begins anew: others may have the right now
            )
            await queue.consume(_nothing, no_ack=True)
        except ChannelPreconditionFailed as error:
            found = re.search(r"current is (?:the value )?'([^']*)'", str(error))
            return found.group(1) if found else "unknown"
        except ChannelNotFoundEntity:  # the last of the others went in this very moment
            return ""
        return None


async def _nothing(message) -> None:
    pass
