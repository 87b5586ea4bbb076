"""A download that survives being cut: what has come is kept, and the next try asks for the rest."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from carclf.tools.fetch.source import Answer, Passing, Source
from detection.common.console import LINE_SECONDS, say
from detection.common.errors import UsageError
from detection.common.files import write_json

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each further try that brought nothing
LONGEST = 120.0  # a server that asks to wait longer is left to the user
_CHUNK = 1 << 20


class Part:
    """The file of a download, and beside it what tells whether the server still has the same.

    path: of the file. most: bytes that it may have.
    """

    def __init__(self, path: Path, source: Source, most: int):
        self.path, self.source, self.most = path, source, most
        self._note = path.with_name(f"{path.name}.json")
        self._known: dict[str, str | int] = {}

    def fetch(self) -> None:
        """Returns when the file is whole and, where the server tells its digest, checked.

        Raises `UsageError`; what has come by then stays for the next call.
        """
        self._known = self._read_note()
        tries = 0
        while True:
            before = self._size()
            try:
                if self._once():
                    return
                raise Passing("the connection was closed before the end")
            except Passing as error:
                tries = 0 if self._size() > before else tries
                self._pause(error, tries)
                tries += 1
            except OSError as error:
                raise UsageError(f"'{self.path}' can't be written: {error.strerror or error}.") from error

    def _pause(self, error: Passing, tries: int) -> None:
        if tries >= len(PAUSES) or (error.after or 0) > LONGEST or error.waited:
            kept = self._size()
            when = f" in {error.after:.0f} seconds" if error.after else " later"
            more = f"; {kept:,} bytes are kept" if kept else ""
            raise UsageError(
                f"{self.source.name} can't be fetched now: {error}. Run the same command again{when}{more}."
            ) from None
        wait = max(PAUSES[tries], error.after or 0)
        say(f"{error}: trying again in {wait:g} s")
        time.sleep(wait)

    def _once(self) -> bool:
        """One request. Whether all is there now."""
        size = self._size()
        validator = self._known.get("validator")
        if not validator:
            size = 0
        elif size == self._known.get("length"):
            return self._checked()
        answer = self.source.open({"Range": f"bytes={size}-", "If-Range": str(validator)} if size else {})
        try:
            if answer.status == 200:  # all of it: nothing was asked for, or the server has another file by now
                size = 0
                self._begin(answer.headers)
            elif not self._continues(answer, size):
                self._forget()
                raise Passing("the server has another file than before")
            self._take(answer, size)
        finally:
            answer.close()
        length = self._known.get("length")
        return (length is None or self._size() == length) and self._checked()

    def _continues(self, answer: Answer, size: int) -> bool:
        """Whether its bytes are those that lack."""
        span, _, whole = answer.headers.get("content-range", "").partition("/")
        return answer.status == 206 and span.startswith(f"bytes {size}-") and whole == str(self._known.get("length"))

    def _begin(self, headers: Mapping[str, str]) -> None:
        """Notes what is coming, before the first byte of it. Raises `UsageError` for too much."""
        if headers.get("content-type", "").lower().startswith("text/html"):
            raise UsageError(
                f"{self.source.name} gives a web page and no archive: name the address of the file itself."
            )
        packed = headers.get("content-encoding", "identity").lower() not in ("", "identity")
        length = headers.get("content-length", "")
        known: dict[str, str | int] = {"source": self.source.name}
        if length.isdecimal() and not packed:
            known["length"] = int(length)
            self._check_size(int(length))
            tag = headers.get("etag", "")
            strong = tag if tag and not tag.startswith("W/") else headers.get("last-modified", "")
            if strong:
                known["validator"] = strong
        for one in headers.get("x-goog-hash", "").split(","):
            name, _, value = one.strip().partition("=")
            if name == "md5" and value:
                known["md5"] = value
        self.path.unlink(missing_ok=True)
        write_json(self._note, known)
        self._known = known

    def _check_size(self, length: int) -> None:
        if length > self.most:
            raise UsageError(
                f"{self.source.name} has {length / 1e9:.1f} GB, more than the {self.most / 1e9:g} GB allowed: "
                "raise --max-gb if you want it."
            )
        free = shutil.disk_usage(self.path.parent).free
        if length > free:
            raise UsageError(
                f"{self.source.name} has {length / 1e9:.1f} GB, but '{self.path.parent}' has {free / 1e9:.1f} GB free: "
                "make room."
            )

    def _take(self, answer: Answer, size: int) -> None:
        total, told = self._known.get("length"), time.monotonic()
        with open(self.path, "ab" if size else "wb") as file:
            for chunk in answer.chunks:
                size += len(chunk)
                if size > self.most:
                    self._check_size(size)
                if isinstance(total, int) and size > total:
                    raise Passing("the server sent more than it said")
                file.write(chunk)
                if time.monotonic() - told >= LINE_SECONDS / 6:
                    told = time.monotonic()
                    say(f"{size / 1e6:,.0f} MB" + (f" of {total / 1e6:,.0f} MB" if isinstance(total, int) else ""))

    def _checked(self) -> bool:
        """True; raises `UsageError`, and keeps nothing, where the digest is another than the server said."""
        wanted = self._known.get("md5")
        if wanted:
            digest = hashlib.md5(usedforsecurity=False)
            with open(self.path, "rb") as file:
                while block := file.read(_CHUNK):
                    digest.update(block)
            if base64.b64encode(digest.digest()).decode() != wanted:
                self._forget()
                raise UsageError(f"{self.source.name} was damaged on its way: run the same command again.")
        return True

    def _read_note(self) -> dict[str, str | int]:
        with suppress(OSError, ValueError):
            known = json.loads(self._note.read_text(encoding="utf-8"))
            if isinstance(known, dict) and known.get("source") == self.source.name:
                return known
        self._forget()
        return {}

    def _forget(self) -> None:
        self._known = {}
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0
