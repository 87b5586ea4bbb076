"""What a source of bytes promises to the download, and how it says that it can't."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Answer:
    """The answer of a server. status: 200 for all, 206 for the bytes from the offset that was asked for, or 416.

    headers: by names in lower case. chunks: the bytes as they come; raises `Passing` when the connection ends early.
    """

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]
    close: Callable[[], object]


class Source(Protocol):
    """name: what is fetched, without anything that is a secret; it goes into messages and into the folder.

    key: tells sources of one name apart, and tells nobody more than that.
    """

    name: str
    key: str

    def open(self, headers: Mapping[str, str]) -> Answer:
        """Asks for the bytes. headers: Range and If-Range, or none.

        Raises `Passing` where another try may go well, and `UsageError` where none will.
        """
        ...


class Passing(Exception):
    """What may be over in a while. The message is a sentence without its end: what is wrong.

    after: seconds that the server asks to wait, None if it says nothing. waited: whether it was waited for already, as
    requests to places are.
    """

    def __init__(self, said: str, after: float | None = None, waited: bool = False):
        super().__init__(said)
        self.after, self.waited = after, waited


def wait_of(headers: Mapping[str, str]) -> float | None:
    """The seconds of a Retry-After; None without one, or where it is a date."""
    value = headers.get("retry-after", "")
    return float(value) if value.isdecimal() and len(value) < 7 else None
