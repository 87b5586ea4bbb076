"""The addresses of the page: photos by their number, never by a path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response

from carclf.datasets.corrections.decision import CLASS, DECISIONS, MOST_LETTERS, Decision
from carclf.service.web.page import STATIC as SERVICE
from carclf.service.web.page import Files
from carclf.service.web.refusal import Refused, too_large
from carclf.tools.review.desk import views
from carclf.tools.review.desk.likeness import far_labels
from carclf.tools.review.web.room import ReviewRoom
from detection.common.files import escape_name

STATIC = Path(__file__).with_name("static")
MOST_ROWS, MOST_WISHES = 500, 500
_MOST_BYTES = 1_000_000
_SIDES = (640, 1280, 2048)
_LIKES = 12
_FIRST = 120  # rows that come with a view
_KEPT = {"Cache-Control": "private, max-age=86400"}
_CHANGED = {"Cache-Control": "no-cache"}


def _text(value: str) -> str:
    """A name as it may be shown and written: no control characters, single spaces."""
    return " ".join("".join(one if one.isprintable() else " " for one in value).split())


class _Person(BaseModel):
    model_config = ConfigDict(extra="forbid")
    by: str = Field(min_length=1, max_length=MOST_LETTERS)

    @field_validator("by")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not (plain := _text(value)):
            raise ValueError("say who you are")
        return plain


class _Wish(BaseModel):
    model_config = ConfigDict(extra="forbid")
    n: int = Field(ge=0)
    seen: str = Field("", max_length=64)
    id: str = Field(pattern=r"^[0-9a-f]{16,32}$")


class _Decide(_Person):
    decision: str = Field(pattern=f"^({'|'.join(DECISIONS)})$")
    new: str | None = Field(None, max_length=MOST_LETTERS)
    batch: str = Field("", max_length=64)
    items: list[_Wish] = Field(min_length=1, max_length=MOST_WISHES)


def make_router(room: ReviewRoom) -> APIRouter:
    router = APIRouter()
    desk, photos = room.desk, room.photos

    @router.api_route("/", methods=["GET", "HEAD"])
    def index() -> Response:
        return HTMLResponse((STATIC / "index.html").read_text(encoding="utf-8"), headers=_CHANGED)

    @router.get("/favicon.ico")
    def favicon() -> Response:
        return FileResponse(SERVICE / "icon.svg", media_type="image/svg+xml", headers=_KEPT)

    @router.get("/api/source")
    def source() -> Response:
        return JSONResponse(room.about())

    @router.get("/api/view")
    def view(
        show: str = "todo",
        issue: str = "",
        group: str = "",
        label: str = "",
        text: Annotated[str, Query(max_length=MOST_LETTERS)] = "",
        order: str = "",
        like: Annotated[int | None, Query(ge=0)] = None,
    ) -> Response:
        """The numbers of the photos in their order, and the rows of the first ones."""
        order = order or room.order
        if show not in views.SHOWS or order not in views.ORDERS:
            raise Refused(422, "There is no such filter or order.")
        if like is not None:
            number(like)
        seq = len(desk.changes)
        found = views.find(views.Query(show, issue, group, label, text, order, like), desk, room.likeness)
        first = [row(int(one)) for one in found[:_FIRST]]
        numbers = ",".join(map(str, found.tolist()))  # 50,000 of them in a few milliseconds
        return Response(
            f'{{"seq":{seq},"rows":{json.dumps(first)},"numbers":[{numbers}]}}', media_type="application/json"
        )

    @router.get("/api/rows")
    def rows(n: Annotated[str, Query(max_length=10 * MOST_ROWS)]) -> Response:
        try:
            wanted = [number(int(one)) for one in n.split(",")]
        except ValueError:
            raise Refused(422, "Name photos by their numbers, with commas between.") from None
        return JSONResponse([row(one) for one in wanted[:MOST_ROWS]])

    @router.get("/api/photo/{n}")
    def photo(n: int) -> Response:
        """All that is known of one photo, and its look-alikes that bear another label."""
        number(n)
        size = room.size(n)
        known = [] if not room.likeness.there else _likes(n)
        box = photos.box[n].tolist()
        return JSONResponse(
            row(n)
            | {
                "top": photos.best_of(n),
                "issues": [[one.name, round(one.score, 4), escape_name(one.text)] for one in photos.issues_of(n)],
                "split": photos.splits[n],
                "group": photos.groups[photos.group[n]] if photos.group[n] >= 0 else "",
                "size": size,
                "box": None if box[0] != box[0] else box,
                "outline": photos.outline(n),
                "suggestion": photos.suggestion_of(n),
                "history": [_told(one) for one in room.history(n)],
                "likes": known,
            }
        )

    @router.get("/thumb/{n}")
    def thumb(n: int) -> Response:
        return _jpeg(desk.cache.thumbnail(photos.files[number(n)]))

    @router.get("/photo/{n}")
    def large(n: int, side: int = 1280) -> Response:
        fitting = next((one for one in _SIDES if one >= side), _SIDES[-1])
        return _jpeg(desk.cache.photo(photos.files[number(n)], fitting))

    @router.get("/api/changes")
    def changes(since: Annotated[int, Query(ge=0)]) -> Response:
        """The photos whose state has changed since, for the pages of others; all of them are too many to name."""
        seq = len(desk.changes)
        new = list(dict.fromkeys(desk.changes[since:seq])) if since <= seq else []
        lost = since > seq or len(new) > MOST_ROWS  # the server has begun anew, or the page has slept
        return JSONResponse(
            {"seq": seq, "lost": lost, "rows": [] if lost else [row(one) for one in new]} | room.progress()
        )

    @router.post("/api/decide")
    async def decide(request: Request) -> Response:
        wanted = await _body(request, _Decide)
        new = None if wanted.new is None else _text(wanted.new)
        if wanted.decision == CLASS and not new:
            raise Refused(422, "Name the class.")
        for one in wanted.items:
            number(one.n)
        outcome = await run_in_threadpool(room.decide, wanted.by, [(one.n, one.seen, one.id) for one in wanted.items],
                                          wanted.decision, new, wanted.batch)  # fmt: skip
        return JSONResponse(
            {
                "saved": [row(one) for one in outcome.saved],
                "conflicts": [row(one) for one in outcome.conflicts],
                "gone": [[one, escape_name(why)] for one, why in outcome.gone.items()],
            }
            | room.progress()
        )

    @router.post("/api/undo")
    async def undo(request: Request) -> Response:
        wanted = await _body(request, _Person)
        undone = await run_in_threadpool(room.undo, wanted.by)
        return JSONResponse(
            {"undone": [row(one) for one in undone[:MOST_ROWS]], "count": len(undone)} | room.progress()
        )

    def number(n: int) -> int:
        if n < 0 or n >= len(photos):
            raise Refused(404, "There is no such photo.")
        return n

    def row(n: int) -> dict[str, Any]:
        state = desk.state(n)
        issues = photos.issues_of(n)
        worst = max(issues, key=lambda one: one.score, default=None)
        return {
            "n": n,
            "name": escape_name(photos.names[n]),
            "label": photos.class_of(n),
            "now": desk.label(n),
            "suspicion": round(float(photos.suspicion[n]), 4),
            "issue": "" if worst is None else worst.name,
            "why": "" if worst is None else escape_name(worst.text),
            "state": None if state is None else _told(state),
        }

    def _likes(n: int) -> list[dict[str, Any]]:
        likes = room.likeness.to(n)
        if likes is None:
            return []
        found = far_labels(likes, n, desk.label, _LIKES)
        return [{"n": one, "label": desk.label(one), "like": round(value, 3)} for one, value in found]

    return router


def static_files() -> Files:
    return Files(directory=STATIC)


def _told(one: Decision) -> dict[str, Any]:
    return {"id": one.id, "by": one.by, "time": one.time, "decision": one.decision, "new": one.new, "human": one.human}


def _jpeg(data: bytes) -> Response:
    if not data:
        raise Refused(404, "This photo can't be read.")
    return Response(data, media_type="image/jpeg", headers=_KEPT)


async def _body(request: Request, kind: type[Any]) -> Any:
    """The JSON of a request. Raises `Refused` with one sentence."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MOST_BYTES:
            raise too_large("That is too much at once.")
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = " ".join(str(part) for part in first["loc"])
        raise Refused(422, f"Wrong {where or 'JSON'}: {first['msg']}.") from None
