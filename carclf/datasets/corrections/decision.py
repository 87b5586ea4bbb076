"""One decision about one photo, as a line of a journal."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, Final

ACCEPT: Final = "accept"
CLASS: Final = "class"
NO_CAR: Final = "no_car"
LATER: Final = "later"
UNDO: Final = "undo"
DECISIONS = (ACCEPT, CLASS, NO_CAR, LATER)
MOST_LETTERS = 200  # of a name, whoever writes it


@dataclass(frozen=True)
class Decision:
    """A line. id: no two have the same. time: UTC, ISO 8601. by: who. human: False for a program.

    decision: `accept`, the label is right; `class`, another one is; `no_car`, the photo shows no car; `later`,
    somebody has looked and is not sure; `undo`, of the line `undoes`.
    file: as the journal's source calls it. sha256, source_sha256: the first 16 hexadecimal digits of the photo's
    content, and of the photo that it was cut out of (empty where it is none).
    old: the label in force before; new: the one from now on; None for none. batch: what was decided at once shares it.
    """

    id: str
    time: str
    by: str
    decision: str
    file: str
    sha256: str
    source_sha256: str = ""
    old: str | None = None
    new: str | None = None
    human: bool = True
    batch: str = ""
    undoes: str = ""

    def row(self) -> dict[str, Any]:
        """What is written; empty values are left out."""
        return {
            key: value
            for key, value in asdict(self).items()
            if value != "" and not (value is None and key != "new") and not (key == "human" and value)
        }

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Decision | None:
        """None for a row that is none, or one that this version does not know."""
        texts = ("id", "time", "by", "decision", "file", "sha256")
        more = ("source_sha256", "batch", "undoes")
        if any(not isinstance(row.get(key), str) for key in texts):
            return None
        if any(not isinstance(row.get(key, ""), str) for key in more) or row["decision"] not in (*DECISIONS, UNDO):
            return None
        if any(not isinstance(row.get(key), str | None) for key in ("old", "new")):
            return None
        if row["decision"] in (ACCEPT, CLASS) and not row.get("new"):
            return None
        return cls(
            **{key: row[key] for key in texts},
            **{key: row.get(key, "") for key in more},
            old=row.get("old"),
            new=row.get("new"),
            human=row.get("human", True) is not False,
        )


def new_id() -> str:
    """96 bits by chance."""
    return secrets.token_hex(12)


def now() -> str:
    """UTC in milliseconds.

    >>> len(now()), now()[-1]
    (24, 'Z')
    """
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class History:
    """The decisions about one photo, oldest first."""

    def __init__(self) -> None:
        self._standing: list[Decision] = []

    def add(self, decision: Decision) -> None:
        if decision.decision == UNDO:
            self._standing = [one for one in self._standing if one.id != decision.undoes]
        else:
            self._standing.append(decision)

    @property
    def standing(self) -> tuple[Decision, ...]:
        """Those that were not undone."""
        return tuple(self._standing)

    @property
    def in_force(self) -> Decision | None:
        """The last one of a human; where no human has decided, the last one of a program; None where all is undone."""
        humans = [one for one in self._standing if one.human]
        found = humans or self._standing
        return found[-1] if found else None

    def without(self, id: str) -> Decision | None:
        """What would be in force if that line were undone."""
        other = History()
        other._standing = [one for one in self._standing if one.id != id]
        return other.in_force
