"""One run at a time for a folder in a place, among all machines: a small object that its run renews.

Object stores have no locks, and not each of them takes a condition with a PUT. So each run writes a claim of its own,
and then lists all: of two runs at least one sees the other, and withdraws. A claim that nobody renews is of a run that
was killed, and is taken over.
"""

from __future__ import annotations

import errno
import hashlib
import json
import random
import re
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from detection.common.console import say
from detection.common.errors import UsageError
from detection.common.places.faults import PlaceError
from detection.common.places.place import Place
from detection.common.places.store import Entry, usage

RENEW = 10.0  # seconds between two renewals
# Seconds of looking without a renewal after which a run counts as killed: one whose requests fail waits up to 10 before
# it asks again.
STALE = 45.0
LOOK = 1.0
SLOW = 5.0  # seconds of one look from which on the place was failing
_CLAIM = re.compile("[0-9a-f]{16}")  # a server that is killed may leave a file of its own
OLD = 3600.0  # seconds by the clocks of both machines after which nobody need look


class Lease:
    """place: the root of the folder's store. part: of several runs that write there at a time, each its own. token: a
    file of this machine, which keeps the name of its claim, so that it never waits for its own killed run."""

    def __init__(self, place: Place, part: str, token: Path):
        self._place = place
        store: Any = place.store  # one that is written to: a `RemoteStore`
        self._store = store.below(f".carclf-parts/lock-{part.replace('/', '-') or 'all'}")
        self._token, self._name = token, _claim_of(token)
        self._ended = threading.Event()
        self._renewing: threading.Thread | None = None
        self._lost = False

    def take(self) -> None:
        """Returns when the folder is ours. Raises `UsageError` where another run has it, or nothing can be written."""
        try:
            while not self._claim():
                self._watch()
                time.sleep(random.uniform(0, LOOK))  # of two that withdraw, one is to come first
        except PlaceError as error:
            raise usage(f"OUT '{self._place}' can't be written", error) from error
        self._renewing = threading.Thread(target=self._renew, name="carclf-lease", daemon=True)
        self._renewing.start()

    def check(self) -> None:
        """Raises `UsageError` when another machine has taken over: this one did not renew its claim for too long."""
        if self._lost:
            raise UsageError(
                f"Another machine took over '{self._place}', as this run did not answer for {STALE:g} seconds: what is "
                "done is kept, and the other run goes on with it."
            )

    def release(self) -> None:
        self._ended.set()
        if self._renewing is not None:
            self._renewing.join(timeout=1.0)
        if not self._lost:
            with suppress(PlaceError, UsageError, OSError):
                self._store.remove(self._name)
                self._token.unlink(missing_ok=True)

    def _claim(self) -> bool:
        """Whether no other run had a claim when ours was there; else ours is withdrawn."""
        self._write(held=False)
        if self._others():
            self._store.remove(self._name)
            return False
        return True

    def _write(self, held: bool) -> None:
        told = {"host": socket.gethostname(), "held": held, "at": time.time(), "number": uuid.uuid4().hex}
        self._store.write(self._name, json.dumps(told).encode("ascii"))

    def _others(self) -> dict[str, Entry]:
        try:
            found = self._store.walk().entries
            return {entry.key: entry for entry in found if _CLAIM.fullmatch(entry.key) and entry.key != self._name}
        except PlaceError as error:
            if error.errno == errno.ENOENT:
                return {}
            raise

    def _watch(self) -> None:
        """Returns when the claims of others are gone, or were of killed runs. Raises `UsageError` when one is not."""
        first: dict[str, Entry] = {}
        told, begun = False, time.monotonic()
        while True:
            before = time.monotonic()
            others = self._others()
            now = time.monotonic()
            if now - before > SLOW:  # the place failed meanwhile, perhaps for the other run, too
                begun = now
            known = {name: self._read(name) for name in others if name not in first or first[name] != others[name]}
            for name, entry in others.items():
                if name in first and first[name] != entry and known[name].get("held"):
                    raise UsageError(
                        f"A run on '{known[name].get('host', 'another machine')}' writes to '{self._place}': wait for "
                        "it, choose another OUT, or give each machine a --shard."
                    )
            if any(first.get(name) != entry for name, entry in others.items()):
                begun = now
            first = others
            old = [name for name, said in known.items() if abs(time.time() - said.get("at", 0)) > OLD]
            killed = [*old] if now - begun < STALE else list(others)
            for name in killed:
                self._store.remove(name)
            if not set(others) - set(killed):
                return
            if not told:
                told = True
                say(f"Looking whether an earlier run still writes to '{self._place}', for up to {STALE:g} seconds")
            self._ended.wait(LOOK)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            said = json.loads(self._store.read(name))
        except PlaceError as error:
            if error.errno != errno.ENOENT:
                raise
            return {"at": time.time()}  # gone meanwhile
        except ValueError:  # nobody's claim
            return {}
        return said if isinstance(said, dict) else {}

    def _renew(self) -> None:
        wait = 0.0  # at once: from now on it is held
        while not self._ended.wait(wait):
            wait = RENEW
            with suppress(PlaceError, UsageError):  # the run itself tells what fails
                others = [name for name in self._others() if self._read(name).get("held")]
                # Both may have it, where this one renewed just as the other removed its claim: the first name stays.
                if self._store.ask(self._name) is None or any(name < self._name for name in others):
                    self._lost = True
                    self._store.remove(self._name)
                    return
                if not self._ended.is_set():
                    self._write(held=True)


def _claim_of(token: Path) -> str:
    """The name of this machine's claim, by a number that it keeps; another machine may have the same cache folder."""
    number = ""
    with suppress(OSError):
        number = token.read_text()
    if not number:
        number = uuid.uuid4().hex
        with suppress(OSError):
            token.write_text(number)
    return hashlib.sha256(f"{number} {socket.gethostname()}".encode()).hexdigest()[:16]
