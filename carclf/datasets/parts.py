"""The parts of a data set, kept as a list of content hashes: fit trains, choose chooses, report is looked at once.

A list is a csv of `sha256,part`: the first 16 hexadecimal digits of the SHA-256 of each file, as in a run's split.csv.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from carclf.datasets.content import OWN, SOURCE, with_digests
from carclf.datasets.splits import choose_split
from detection.common.errors import UsageError
from detection.masks.parts import CHOOSE, FIT, PARTS, REPORT, read_parts

log = logging.getLogger("carclf")

# The words of splits; not among those of `split_named`, which folders are told by: a class may be called Fit.
SIDES = {FIT: "train", CHOOSE: "val", REPORT: "test"}


def with_parts(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table with its digests and the split of a list: fit is train, choose is val, report is test.

    A cut-out is known by the photo that it comes from. Photos that the list does not name are left out, with a warning:
    a part that is looked at once must not gain photos by chance. Raises `UsageError` where it names none of them.
    """
    parts = read_parts(path)
    table = table if {OWN, SOURCE} <= set(table) else with_digests(table)
    found = [parts.get(source) or parts.get(own) for own, source in zip(table[OWN], table[SOURCE], strict=True)]
    named = pd.Series([part is not None for part in found], table.index, dtype=bool)
    if not named.any():
        raise UsageError(f"'{path}' names none of the {len(table)} photos: it is a list of other photos, or of photos "
                         "that were saved again.")  # fmt: skip
    if not named.all():
        log.warning("%d photos are not in '%s' and are left out, the first is '%s'.",
                    (~named).sum(), path, table["file"][~named].iloc[0])  # fmt: skip
    split = [SIDES[part] for part in found if part is not None]
    return table[named].assign(split=split).reset_index(drop=True)


def choose_part(table: pd.DataFrame, name: str, path: Path | None = None) -> pd.DataFrame:
    """`choose_split`, perhaps by a list of parts; `fit`, `choose` and `report` stand for train, val and test."""
    return choose_split(table if path is None else with_parts(table, path), SIDES.get(name, name))


def assign_parts(
    photos: pd.DataFrame,
    shares: Mapping[str, float],
    known: Mapping[str, str] | None = None,
    seed: int = 1,
    rest: str = FIT,
) -> dict[str, str]:
    """Digest -> part, of each photo; those of one group get one part.

    photos: columns sha256, label and group (what belongs together: copies, photos of one car, of one advert).
    shares: part -> share of the photos of each label, in the order in which they are served; the other photos, at least
    one group of a label, go to `rest`. known: parts that are given; they stay, and new photos of their groups follow.
    Where those of one group lie in several parts, a new one goes where it is trained on least: report, choose, fit.
    The order in which groups are taken depends on seed and content alone, so the same photos give the same parts
    wherever they lie, and photos that are added move no other.
    """
    photos = photos[photos[OWN] != ""].drop_duplicates(OWN)  # a file that can't be read has no digest
    parts = {digest: known[digest] for digest in photos[OWN] if known and digest in known}
    groups = dict(list(photos.groupby("group")))
    label_of = {key: sorted(rows["label"])[0] for key, rows in groups.items()}
    side: dict[object, str] = {}
    for key, rows in groups.items():
        there = {parts[digest] for digest in rows[OWN] if digest in parts}
        if there:
            side[key] = max(there, key=PARTS.index)
    for label in sorted(set(label_of.values())):
        mine = sorted((key for key in groups if label_of[key] == label), key=lambda key: _place(groups[key][OWN], seed))
        total = sum(len(groups[key]) for key in mine)
        free = [key for key in mine if key not in side]
        has_rest = any(side.get(key) == rest for key in mine)
        for part, share in shares.items():
            wanted = max(1, round(share * total)) - sum(len(groups[key]) for key in mine if side.get(key) == part)
            for key in list(free):
                if len(free) == 1 and not has_rest:
                    break
                if 0 < len(groups[key]) <= wanted:
                    side[key] = part
                    wanted -= len(groups[key])
                    free.remove(key)
        side |= dict.fromkeys(free, rest)
    for key, rows in groups.items():
        parts |= {digest: side[key] for digest in rows[OWN] if digest not in parts}
    return parts


def _place(digests: Iterable[str], seed: int) -> str:
    return hashlib.sha256(f"{seed}:{min(digests)}".encode()).hexdigest()
