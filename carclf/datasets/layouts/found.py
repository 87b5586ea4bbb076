"""Where the photos lie that a list names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from carclf.datasets.labels import lost_note
from carclf.datasets.layouts.folders import read_manifest
from detection.common.errors import UsageError
from detection.common.places.address import scheme_of
from detection.common.places.faults import PlaceError
from detection.common.places.paths import path_of
from detection.common.places.place import Place
from detection.common.places.store import Store, usage

log = logging.getLogger("carclf")


def find_photos(listed: pd.DataFrame, roots: Sequence[Path], listing: str, keep_missing: bool = False) -> pd.DataFrame:
    """The list's table: the column file (absolute path) in the place of places.

    listed: column places (tuple of paths below a root, where to look, in this order), label and others.
    roots: folders to look in. If stage 1 wrote the first, its manifest says where its cut-outs lie; photos that it
    gave none for are left out with a warning, and boxes, which are of the whole photos, are dropped.
    listing: what to call the list in a message. keep_missing: a photo that is not there stays, with the first place.
    Raises `UsageError` when photos are not there.
    """
    if (roots[0] / "manifest.csv").is_file():
        listed = _from_manifest(listed, roots[0])
        found = list(listed["file"])
        listed = listed.drop(columns=["file", "box"], errors="ignore")
    else:
        found = [None] * len(listed)
    for root in roots:
        if isinstance(root, Place):
            root.store.names()  # lists it, or each photo is asked for
    found = _found(found, list(listed["places"]), roots)
    first = [places[0] for places in listed["places"]]
    missing = [name for name, file in zip(first, found, strict=True) if file is None]
    if missing and not keep_missing:
        raise UsageError(f"{len(missing)} of the {len(found)} photos that '{listing}' lists are not in '{roots[0]}', "
                         f"the first is '{missing[0]}': pass images=FOLDER, or take these lines out.")  # fmt: skip
    files = [str((file or _named(name, roots[0])).absolute()) for name, file in zip(first, found, strict=True)]
    table = listed.drop(columns="places").reset_index(drop=True)
    table.insert(0, "file", pd.Series(files, dtype=object))
    return table


def _named(name: str, root: Path) -> Path:
    return path_of(name) if scheme_of(name) else root / name


def _found(known: Sequence[Path | None], listed: Sequence[Sequence[str]], roots: Sequence[Path]) -> list[Path | None]:
    """Of each listed photo where it is, None where it is not."""
    if not any(scheme_of(places[0]) for places in listed):
        return [file or _find(places, roots) for file, places in zip(known, listed, strict=True)]
    with ThreadPoolExecutor(Store.threads, thread_name_prefix="carclf-look") as pool:
        return list(pool.map(lambda file, places: file or _find(places, roots), known, listed))


def _find(places: Sequence[str], roots: Sequence[Path]) -> Path | None:
    if scheme_of(places[0]):
        path = path_of(places[0])
        try:
            return path if path.is_file() else None
        except PlaceError as error:
            raise usage(f"'{path}' can't be read", error) from error
    return next((root / place for root in roots for place in places if (root / place).is_file()), None)


def _from_manifest(listed: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Adds the column file: stage 1 may have changed the suffix. Leaves out photos that it gave no cut-out for."""
    made = read_manifest(root)
    keys = [next((place for place in places if place in made), None) for places in listed["places"]]
    lost = pd.Series([key is not None and made[key] is None for key in keys], index=listed.index)
    if lost.any():
        log.warning("%d photos that stage 1 gave no cut-out for are left out.", lost.sum())
        kept = listed["label"][~lost]
        if note := lost_note(listed["label"], kept, "stage 1 gave no cut-out for any of their photos"):
            log.warning("%s", note)
    files = [made[key] if key is not None else None for key in keys]
    return listed.assign(file=pd.Series(files, index=listed.index, dtype=object))[~lost].reset_index(drop=True)
