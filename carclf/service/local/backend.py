"""Photos recognized in this process: decoded in threads, pooled into batches or shared out, answered by the models."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from carclf.recognition.chain.item import Item
from carclf.recognition.prediction import ERROR, UNREADABLE
from carclf.service.contract import Answer, Busy, Upload
from carclf.service.local.batching import Batcher
from carclf.service.local.render import to_answer
from carclf.service.room import Room
from detection.common.stream import try_batch
from detection.images.read import ImageError, declared_size, decode_image
from detection.publishing.hiding.cover import HideStyle, hide_style
from detection.publishing.hiding.private import hide_settings

if TYPE_CHECKING:
    from carclf.recognition.prediction import Recognition
    from carclf.recognition.recognizer import CarRecognizer
    from carclf.service.metrics import Metrics
    from carclf.service.settings import ServiceSettings


log = logging.getLogger(__name__)
_HELPERS = 2  # threads that decode photos and encode pictures
# Decoded photos in memory at a time, whatever is in the queue: 192 MB. A larger one goes alone.
_DECODED_PIXELS = 64_000_000


@dataclass(frozen=True, eq=False)
class UploadedPhoto:
    """A decoded photo on its way to the models: RGB uint8 HxWx3, and the (width, height) that it was sent with.

    hide: what is to be hidden in its pictures; None without any.
    """

    image: np.ndarray
    size: tuple[int, int]
    hide: HideStyle | None


class LocalBackend:
    """A `Backend` with a recognizer of its own.

    load: makes the recognizer; it is called in the thread that will use it, since torch's threads are set by thread.
    side_by_side: photos that are recognized at a time, each alone in a thread; more than one only for recognizers
        that bear it, in place of batches.
    """

    def __init__(
        self,
        load: Callable[[], CarRecognizer],
        settings: ServiceSettings,
        metrics: Metrics | None = None,
        side_by_side: int = 1,
    ):
        self.settings = settings
        self._side_by_side = side_by_side
        self.metrics = metrics
        self._load = load
        self.model = ""
        self._recognizer: CarRecognizer | None = None
        self._thread = ThreadPoolExecutor(side_by_side, thread_name_prefix="carclf-models")
        self._helpers = ThreadPoolExecutor(_HELPERS, thread_name_prefix="carclf-helper")
        self._room = Room(_DECODED_PIXELS)
        self._taken = 0
        self._decoding = 0
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._batcher: Batcher | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        recognizer = await loop.run_in_executor(self._thread, self._load)
        self._batcher = Batcher(
            partial(self._recognize_batch, recognizer),
            self.settings.batch_size if self._side_by_side == 1 else 1,
            self.settings.batch_wait,
            expected=lambda: self._decoding,
            seen=self._seen,
            thread=self._thread,
            side_by_side=self._side_by_side,
        )
        self._batcher.start()
        self.model = self._fingerprint(recognizer)
        self._recognizer = recognizer

    async def stop(self) -> None:
        """Answers what it has taken, for `stop_timeout` seconds at most."""
        self._stopping = True
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._idle.wait(), self.settings.stop_timeout)
        if self._batcher is not None:
            await self._batcher.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._helpers.shutdown(wait=False, cancel_futures=True)

    def ready(self) -> bool:
        return self._recognizer is not None and not self._stopping

    async def recognize(self, uploads: Sequence[Upload], pictures: bool = False) -> list[Answer]:
        batcher = self._batcher
        if batcher is None or not self.ready():
            raise Busy("the models are not loaded yet" if self._recognizer is None else "the service is stopping")
        if self._taken + len(uploads) > self.settings.queue_length:
            raise Busy(f"{self._taken} photos wait already")
        self._count(len(uploads))
        try:
            return await _all([self._answer(batcher, upload, pictures) for upload in uploads])
        finally:
            self._count(-len(uploads))

    def _fingerprint(self, recognizer: CarRecognizer) -> str:
        """First the weights of the classifier, then all else; the export of the same weights has the same."""
        limits: dict[str, Any] = {"max_pixels": self.settings.max_pixels, "max_side": self.settings.max_side}
        limits |= {"colour": recognizer.tells_colour}
        limits |= {} if self.settings.hide is None else {"hide": hide_settings(self.settings.hide)}
        text = json.dumps(recognizer.settings | limits, sort_keys=True)
        return f"{recognizer.classifier.fingerprint}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    async def _answer(self, batcher: Batcher, upload: Upload, pictures: bool) -> Answer:
        """The answer for one photo; if it fails, the others are answered all the same."""
        try:
            size = await self._in_helper(declared_size, upload.data)
            async with self._room.waiting(size[0] * size[1] if size else 0):
                photo = await self._decode(upload, size, pictures)
                recognition = await batcher.submit(photo)
                with self._timed("render"):
                    return await self._in_helper(to_answer, recognition, upload.name, photo.size, pictures)
        except ImageError as error:
            return Answer(file=upload.name, status=UNREADABLE, reason=str(error))
        except Exception:
            log.exception("a photo of %d bytes failed", len(upload.data))
            return Answer(file=upload.name, status=ERROR, reason="the models failed")

    async def _decode(self, upload: Upload, size: tuple[int, int] | None, pictures: bool) -> UploadedPhoto:
        self._decoding += 1
        try:
            with self._timed("decode"):
                image = await self._in_helper(self._decode_now, upload)
        finally:
            self._decoding -= 1
        hide = self._hide(upload) if pictures else None
        return UploadedPhoto(image, seen_size(image, size, self.settings.max_side), hide)

    def _hide(self, upload: Upload) -> HideStyle | None:
        """What is to be hidden in pictures of a photo: what the settings say, in their style, and what was asked."""
        always, asked = self.settings.hide, hide_style(upload.hide) if upload.hide else None
        return asked if always is None else always.also(asked)

    def _decode_now(self, upload: Upload) -> np.ndarray:
        settings = self.settings
        return decode_image(upload.data, upload.name, max_side=settings.max_side, max_pixels=settings.max_pixels)

    def _recognize_batch(self, recognizer: CarRecognizer, photos: list[UploadedPhoto]) -> list[Recognition | Exception]:
        """Runs in a thread of the models. A photo that makes the whole batch fail costs only its own answer."""
        results = try_batch(partial(self._recognize_some, recognizer), photos)
        for result in results:
            if not isinstance(result, Exception) and result.prediction.status == ERROR:
                log.error("a photo failed: %s", result.prediction.reason)
        return results

    def _recognize_some(self, recognizer: CarRecognizer, photos: list[UploadedPhoto]) -> list[Recognition]:
        items = [Item(photo.image, "", hide=photo.hide) for photo in photos]
        # Outlines need the mask, and every answer the photo's size: pictures are kept for all of a batch or none.
        return list(recognizer.recognize_fully(items, pictures=True))

    def _count(self, change: int) -> None:
        self._taken += change
        if self._taken:
            self._idle.clear()
        else:
            self._idle.set()
        if self.metrics is not None:
            self.metrics.waiting.set(self._taken)

    def _seen(self, waited: list[float], worked: float) -> None:
        if self.metrics is None:
            return
        self.metrics.batch_photos.observe(len(waited))
        self.metrics.stage_seconds.labels("models").observe(worked)
        for seconds in waited:
            self.metrics.stage_seconds.labels("queue").observe(seconds)

    def _timed(self, stage: str):
        return contextlib.nullcontext() if self.metrics is None else self.metrics.stage(stage)

    async def _in_helper(self, function: Callable, *arguments):
        return await asyncio.get_running_loop().run_in_executor(self._helpers, function, *arguments)


def seen_size(image: np.ndarray, declared: tuple[int, int] | None, max_side: int) -> tuple[int, int]:
    """Width and height of the photo that `image` was decoded from, EXIF turned.

    image: at most `max_side` pixels per side. declared: (width, height) in the file's header, before the turn.
    """
    height, width = image.shape[:2]
    if declared is None or max(declared) <= max_side:
        return width, height
    turned = (declared[0] > declared[1]) != (width > height)
    return (declared[1], declared[0]) if turned else declared


async def _all(work: list) -> list:
    """`gather` that leaves nothing running behind when it is cancelled."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
