"""What can go wrong with a place, told in a few words, and what of it passes by itself and is tried again."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TypeVar

from detection.common.console import say
from detection.common.places.address import without_secrets

Result = TypeVar("Result")

PATIENCE = 120.0  # seconds that a fault may last before it is told
FIRST_PATIENCE = 10.0  # the same for a place that has not answered yet: its address may be wrong
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 10.0
_THROTTLED = (429, 503)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_PASSING_ERRNO = (
    *(errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.EAGAIN),
    *(errno.EBUSY, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EINTR, errno.EIO),
)
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
# By name, so that no library has to be imported to ask.
_PASSING_NAMES = (
    *("ClientConnectionError", "ClientConnectorError", "ServerDisconnectedError", "ClientPayloadError"),
    *("ClientOSError", "ServerTimeoutError", "FSTimeoutError", "IncompleteReadError", "EndpointConnectionError"),
    *("ConnectionClosedError", "HTTPClientError", "ReadTimeoutError", "ConnectTimeoutError", "IncompleteRead"),
    *("ResponseStreamingError", "ServiceRequestError", "ServiceResponseError", "SSHException", "EOFError"),
    *(
        "TransportError",
        "ContentLengthError",
        "BadHttpMessage",
        "TimeoutError",
    ),  # asyncio has one of its own, up to Python 3.10
)
# Kinds of the passing ones that do not pass.
_LASTING_NAMES = ("AuthenticationException", "BadHostKeyException", "ContentTypeError", "InvalidURL")
_WORDS = {
    401: "the credentials were refused",
    403: "access is denied",
    404: "it is not there",
    405: "the server does not allow this",
    410: "it is gone",
    416: "it has changed",
    429: "the server asks for fewer requests",
    503: "the server asks to wait",
    507: "there is no room",
}


class PlaceError(OSError):
    """A place, or one photo there, can't be read or written; `strerror` says why, without secrets, in a few words.

    passing: whether it was a fault that might pass by itself, and did not within our patience.
    """

    def __init__(self, number: int, reason: str, passing: bool = False):
        super().__init__(number, reason)
        self.passing = passing


class Short(OSError):
    """Fewer or more bytes came than the place had told."""


class Health:
    """How a place answers: what is common to all threads that ask it."""

    def __init__(self, name: str):
        self._name = name
        self._lock = threading.Lock()
        self._answered = False
        self._failing_since: float | None = None
        self._told: set[int] = set()
        self._abandoned = threading.Event()

    def answered(self) -> None:
        self._answered, self._failing_since = True, None

    def failed(self, status: int) -> None:
        """Notes a fault that may pass; that a server asks for fewer requests is said once."""
        with self._lock:
            if self._failing_since is None:
                self._failing_since = time.monotonic()
            if status not in _THROTTLED or self._told:
                return
            self._told.add(status)
        say(f"'{self._name}' asks for fewer requests (HTTP {status}): they are sent again, more slowly.")

    @property
    def failing(self) -> bool:
        """Whether nothing was answered since a fault."""
        return self._failing_since is not None

    def left(self, start: float) -> float:
        """Seconds for which a request that was begun at `start` may still be tried: a place that answers nobody is
        given up for all, and one request that alone fails by itself."""
        if self._abandoned.is_set():
            return 0.0
        patience = environment_patience()
        patience = patience if self._answered else min(patience, FIRST_PATIENCE)
        since = self._failing_since
        return patience - (time.monotonic() - (start if since is None else min(start, since)))

    def wait(self, seconds: float) -> None:
        self._abandoned.wait(seconds)

    def abandon(self, really: bool = True) -> None:
        """Nothing is waited for any more: the run ends."""
        if really:
            self._abandoned.set()
        else:
            self._abandoned.clear()


def persist(work: Callable[[], Result], health: Health) -> Result:
    """What `work` returns; faults that pass are waited for, ever longer, as long as `health` allows.

    Raises `PlaceError`.
    """
    start = time.monotonic()
    for wait in _waits():
        try:
            result = work()
        except PlaceError:
            raise
        except Exception as error:
            if not isinstance(error, (OSError, *_library_errors(error))):
                raise
            if not is_passing(error):
                health.answered()
                raise as_place_error(error) from error
            health.failed(status_of(error))
            left = health.left(start)
            if left <= 0:
                raise as_place_error(error) from error
            health.wait(min(wait, max(left, 0.01)))
        else:
            health.answered()
            return result
    raise AssertionError("the waits never end")


def _waits() -> Iterator[float]:
    wait = _FIRST_WAIT
    while True:
        yield wait * random.uniform(0.5, 1.0)  # many threads must not come back in the same moment
        wait = min(2 * wait, _LONGEST_WAIT)


def is_passing(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    status = status_of(error)
    if status:
        return status in _PASSING
    for one in _chain(error):
        if isinstance(one, _LASTING):
            return False
        if isinstance(one, (Short, ConnectionError, TimeoutError)):
            return True
        if isinstance(one, OSError) and one.errno in _PASSING_ERRNO:
            return True
        if _passes(one):
            return True
    return False


def _passes(error: BaseException) -> bool:
    names = [kind.__name__ for kind in type(error).__mro__]
    return any(name in _PASSING_NAMES for name in names) and not any(name in _LASTING_NAMES for name in names)


def status_of(error: BaseException) -> int:
    """The HTTP status in an error of any of the libraries, 0 for none."""
    for one in _chain(error):
        if _passes(one):  # aiohttp gives a broken connection the code 400
            return 0
        response = getattr(one, "response", None)
        told = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
        values = (getattr(one, name, None) for name in ("status", "status_code", "code"))
        for value in chain([told], values):
            if isinstance(value, (int, str)) and str(value).isdigit() and 400 <= int(value) < 600:
                return int(value)
    return 0


def as_place_error(error: BaseException) -> PlaceError:
    """The error with its reason in a few words."""
    if isinstance(error, PlaceError):
        return error
    status, passing = status_of(error), is_passing(error)
    number = next((one.errno for one in _chain(error) if isinstance(one, OSError) and one.errno), 0) or errno.EIO
    if isinstance(error, FileNotFoundError) or status == 404:
        number = errno.ENOENT
    elif isinstance(error, PermissionError) or status in (401, 403):
        number = errno.EACCES
    return PlaceError(number, _reason(error, status, number), passing)


def _reason(error: BaseException, status: int, number: int) -> str:
    code = next(filter(None, map(_code, _chain(error))), "")
    if code:  # of S3: says more than the status
        known = {"NoSuchBucket": "there is no such bucket", "AccessDenied": "access is denied"}
        detail = known.get(code) or f"{_words(status)} ({code})"
        return detail
    if status:
        return f"{_words(status)} (HTTP {status})"
    if number == errno.ENOENT:
        return "it is not there"
    if number == errno.EACCES:
        return "access is denied"
    if isinstance(error, Short):
        return str(error.args[0] if error.args else error)
    text = " ".join(without_secrets(str(error)).split()).rstrip(".")[:200]
    if "credentials" in text.lower() or type(error).__name__ in ("NoCredentialsError", "AuthenticationException"):
        return f"no credentials fit ({text or type(error).__name__})"
    return text or type(error).__name__


def _words(status: int) -> str:
    return _WORDS.get(status) or ("the server failed" if status >= 500 else "the server refused")


def _code(error: BaseException) -> str:
    """The word that S3 has for a fault, empty for other errors."""
    response = getattr(error, "response", None)
    code = str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
    return "" if code.isdigit() else code


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while error is not None and seen < 6:
        yield error
        error, seen = error.__cause__ or error.__context__, seen + 1


def _library_errors(error: BaseException) -> tuple[type[BaseException], ...]:
    """Errors of the libraries that are no OSError; a fault of ours is none of them."""
    home = type(error).__module__.partition(".")[0]
    known = (
        "asyncio",
        "aiohttp",
        "botocore",
        "aiobotocore",
        "s3fs",
        "gcsfs",
        "google",
        "adlfs",
        "azure",
        "paramiko",
        "fsspec",
    )
    return (type(error),) if home in known or isinstance(error, EOFError) else ()


def environment_patience() -> float:
    """Seconds that a fault may last, by `CARCLF_PATIENCE` or as it is usual."""
    try:
        return max(0.0, float(os.environ["CARCLF_PATIENCE"]))
    except (KeyError, ValueError):
        return PATIENCE
