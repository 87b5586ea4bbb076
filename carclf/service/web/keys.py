"""The optional API key."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated

from fastapi import Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr
from starlette.requests import Request

from carclf.service.web.refusal import Refused
from carclf.service.web.uploads import Body

_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The service's API key.")
_BEARER = HTTPBearer(auto_error=False, description="The same key as a bearer token.")


def check_key(key: SecretStr | None) -> Callable:
    """A dependency that raises `Refused` without the key; with None it asks for nothing."""
    if key is None:

        async def everybody() -> None:
            pass

        return everybody
    wanted = key.get_secret_value().encode("latin-1")

    async def holder(
        request: Request,
        header: Annotated[str | None, Security(_HEADER)],
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    ) -> None:
        given = header if header is not None else bearer.credentials if bearer is not None else ""
        # In constant time: how long it takes must not tell how much of a guess is right.
        if hmac.compare_digest(given.encode("latin-1", "replace"), wanted):
            return
        await Body(request).drain()
        said = "That is not the API key" if given else "This service wants an API key"
        raise Refused(
            401, f"{said}: send it in the header X-API-Key, or as a bearer token.", {"WWW-Authenticate": "Bearer"}
        )

    return holder
