"""The addresses of the service."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from carclf.recognition.prediction import UNREADABLE
from carclf.service.contract import Answer, Backend, Busy, Upload
from carclf.service.metrics import Metrics
from carclf.service.remote.fetch import Remote
from carclf.service.room import Holding, Room
from carclf.service.settings import ServiceSettings
from carclf.service.web.examples import PREDICT_BODY, PREDICT_RESPONSES, URL_BODY, URL_RESPONSES, problem
from carclf.service.web.keys import check_key
from carclf.service.web.refusal import RETRY_AFTER, Refused, busy, too_large
from carclf.service.web.uploads import Body, read_uploads
from carclf.service.web.urls import Urls
from detection.common.errors import UsageError
from detection.common.files import replace_file
from detection.images.read import declared_size
from detection.publishing.hiding.cover import hide_style

log = logging.getLogger(__name__)
NONE_READ = "None of the photos could be read: see the reason of each."


class Answers(BaseModel):
    """One answer per photo, in the order of the request. detail: only where none could be read."""

    answers: list[Answer]


class State(BaseModel):
    status: str


def make_router(
    backend: Backend, settings: ServiceSettings, metrics: Metrics, remote: Remote | None = None
) -> APIRouter:
    """remote: how URLs are fetched, where they are."""
    router = APIRouter()
    urls = Urls(settings, remote or Remote()) if settings.allow_urls else None
    key = Depends(check_key(settings.api_key))
    keyed: dict[int | str, dict[str, Any]] = (
        {} if settings.api_key is None else {401: problem("The API key is missing or wrong.")}
    )
    room = Room(settings.max_waiting_bytes)

    @router.post(
        "/predict",
        response_model=Answers,
        dependencies=[key],
        openapi_extra=PREDICT_BODY if urls is None else URL_BODY,
        responses=PREDICT_RESPONSES | ({} if urls is None else URL_RESPONSES) | keyed,
        summary="Name the cars in one or many photos",
    )
    async def predict(
        request: Request,
        pictures: Annotated[
            bool, Query(description="Answer with the car's outline and its cut-out, too, as a page needs them.")
        ] = False,
        hide: Annotated[
            str, Query(description="What is hidden in the cut-out, beside what the service always hides: plates.")
        ] = "",
    ) -> Response:
        """Takes photos as files of a multipart/form-data body, whatever the fields are called; gives one answer per
        photo, in their order. A photo that can't be read costs only its own answer."""
        hidden = to_hide(hide, settings)
        with room.holding() as holding:
            with metrics.stage("receive"):
                uploads = [replace(upload, hide=hidden) for upload in await received(request, holding)]
            await asyncio.to_thread(check_pixels, uploads, settings.max_pixels)
            if settings.save_uploads is not None:
                await asyncio.to_thread(save, uploads, settings.save_uploads)
            try:
                answers = await while_connected(request, backend.recognize(uploads, pictures), settings.answer_timeout)
            except Busy as error:
                raise busy(f"The service can't take the photos now ({error}): try again in some seconds.") from None
        for answer in answers:
            metrics.answers.labels(answer.status).inc()
        return response(answers)

    async def received(request: Request, holding: Holding) -> list[Upload]:
        if urls is not None and urls.named_by(request):
            return await urls.read(request, holding)
        return await read_uploads(request, settings, holding)

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz", response_model=State, summary="Whether the service runs")
    async def healthz() -> State:
        """For whatever restarts the service when it hangs."""
        return State(status="ok")

    @router.head("/readyz", include_in_schema=False)
    @router.get(
        "/readyz",
        response_model=State,
        summary="Whether photos can be answered now",
        responses={503: problem("Still loading, or stopping.", "The models are not loaded yet: try again.")},
    )
    async def readyz(request: Request) -> State:
        """For whatever routes requests here: 503 while the models load and while the service stops."""
        if request.app.state.stopping:
            raise busy("The service is stopping: try another one.")
        if not backend.ready():
            raise busy("Photos can't be answered yet: try again in some seconds.")
        return State(status="ready")

    @router.head("/metrics", dependencies=[key], include_in_schema=False)
    @router.get(
        "/metrics",
        dependencies=[key],
        summary="Figures for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **keyed},
    )
    async def figures() -> Response:
        metrics.ready.set(backend.ready())
        return Response(metrics.text(), media_type=metrics.content_type)

    return router


def to_hide(asked: str, settings: ServiceSettings) -> str:
    """What is hidden in pictures of a request's photos: names with commas. Raises `Refused`."""
    try:
        style = hide_style(asked) if asked else None
    except UsageError as error:
        raise Refused(422, str(error)) from None
    style = style if settings.hide is None else settings.hide.also(style)
    return "" if style is None else ",".join(style.what)


def response(answers: Sequence[Answer]) -> JSONResponse:
    """200; 422 when not one of the photos could be read: the same body then, and a `detail`."""
    body = {"answers": [answer.model_dump(mode="json") for answer in answers]}
    if all(answer.status == UNREADABLE for answer in answers):
        return JSONResponse({"detail": NONE_READ} | body, 422)
    return JSONResponse(body)


def check_pixels(uploads: Sequence[Upload], most: int) -> None:
    """Refuses what its header declares too large, before anybody begins to decode it. Raises `Refused`."""
    for upload in uploads:
        size = declared_size(upload.data)
        if size is not None and size[0] * size[1] > most:
            raise too_large(f"'{upload.name}' has more than {most / 1e6:.4g} megapixels: shrink it first.")


def save(uploads: Sequence[Upload], folder: Path) -> None:
    """Keeps uploads, named after their content: what a client calls them says nothing here."""
    for upload in uploads:
        path = folder / hashlib.sha256(upload.data).hexdigest()[:32]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                replace_file(path, upload.data)
        except OSError:  # the client has done nothing wrong, and gets its answer
            log.exception("an upload could not be saved")


async def while_connected(request: Request, work: Awaitable[list[Answer]], seconds: float) -> list[Answer]:
    """The result of `work`, which is cancelled when the client goes away or it takes too long. Raises `Refused`."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(Body(request).left())
    try:
        done, _ = await asyncio.wait({task, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    if task in done:
        return task.result()
    if gone in done:
        raise Refused(400, "The connection was closed before the answer.")
    raise Refused(503, f"No answer within {seconds:g} seconds: try again later.", {"Retry-After": str(RETRY_AFTER)})
