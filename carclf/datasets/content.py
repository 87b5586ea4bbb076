"""Photos known by their content: under another name, in another place, or cut out anew from the same source."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from carclf.datasets.splits import read_split
from detection.common.machine import usable_cores
from detection.common.places.paths import path_of
from detection.folder.out.manifest import read_manifest
from detection.masks.parts import DIGEST, file_digest

OWN, SOURCE = DIGEST, "source_sha256"
EXTRA = "extra.csv"  # photos that a run trained on by pseudo-labels
_STAGES = "stages"  # the folder of a run that holds the model of each stage


def with_digests(table: pd.DataFrame) -> pd.DataFrame:
    """Adds the columns sha256, of each `file`, and source_sha256, of the photo that it was cut out of.

    The source is the table's column photo where it has one, else what the manifest of a cleaned folder says. Empty
    where there is none, or it can't be read. Values: the first 16 hexadecimal digits.
    """
    files = table["file"].tolist()
    sources = table["photo"].tolist() if "photo" in table else _sources(files)
    return table.assign(**{OWN: content_digests(files), SOURCE: content_digests(sources)})


@dataclass(frozen=True)
class KnownPhotos:
    """The photos of a training by content; sides: digest -> train, val or test (train where a copy was trained on)."""

    sides: Mapping[str, str]

    @classmethod
    def of(cls, split: pd.DataFrame) -> KnownPhotos:
        """split: as in a run's split.csv, with digests."""
        sides: dict[str, str] = {}
        for own, source, side in zip(split[OWN], split[SOURCE], split["split"], strict=True):
            for digest in filter(None, (own, source)):
                if sides.get(digest) != "train":
                    sides[digest] = side
        return cls(sides)

    def trained_on(self, files: Sequence[str]) -> list[bool]:
        """Of each file, whether it, or the photo that it was cut out of, was trained on."""
        pairs = zip(content_digests(files), content_digests(_sources(files)), strict=True)
        return ["train" in (self.sides.get(own), self.sides.get(source)) for own, source in pairs]


def known_photos(weights: Path) -> KnownPhotos | None:
    """Those of the run that a classifier's file lies in; None where that is not known, as of a bundled one.

    A run of carclf 0.4.0 noted no digests: they are those of its files that are still there.
    """
    split = run_split(weights)
    return None if split is None else KnownPhotos.of(pd.concat([split, _extra(_run(weights))], ignore_index=True))


def run_split(weights: Path) -> pd.DataFrame | None:
    """The split.csv of the run that a classifier's file lies in, with digests; None where there is none."""
    try:
        split = read_split(_run(weights) / "split.csv")
    except (OSError, ValueError):
        return None
    if not {"file", "label", "split"} <= set(split):
        return None
    split = split if {OWN, SOURCE} <= set(split) else with_digests(split)
    return split if (split[OWN] != "").any() else None


def _run(weights: Path) -> Path:
    return weights.parent.parent if weights.parent.name == _STAGES else weights.parent


def _extra(run: Path) -> pd.DataFrame:
    """The photos without labels that a run trained on, as rows of its split."""
    columns = [OWN, SOURCE, "split"]
    try:
        rows = pd.read_csv(run / EXTRA, dtype={OWN: str, SOURCE: str}, keep_default_na=False)
        return rows[rows["weight"] > 0].assign(split="train")[columns]
    except (OSError, ValueError, KeyError):
        return pd.DataFrame(columns=columns)


def content_digests(files: Sequence[str | None]) -> list[str]:
    """The first 16 hexadecimal digits of each file's SHA-256; empty for none, or one that can't be read."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(_digest, files))


def _digest(file: str | None) -> str:
    try:
        return file_digest(file) if file else ""
    except (OSError, ValueError):
        return ""


def _sources(files: Sequence[str]) -> list[str | None]:
    cleaned = CutOuts()
    return [cleaned.source(path_of(file)) for file in files]


class CutOuts:
    """Folders that stage 1 wrote, each read once: which photo a cut-out comes from."""

    def __init__(self) -> None:
        self._homes: dict[Path, Path | None] = {}
        self._made: dict[Path, dict[str, str]] = {}

    def source(self, file: Path) -> str | None:
        """The photo that a file was cut out of; None where no folder above it says so."""
        home = self._home(file.parent)
        return None if home is None else self._made[home].get(file.relative_to(home).as_posix())

    def _home(self, folder: Path) -> Path | None:
        """The nearest folder, this or above it, with a manifest."""
        if folder not in self._homes:
            if (folder / "manifest.csv").is_file():
                self._made[folder] = _outputs(folder)
                self._homes[folder] = folder
            else:
                self._homes[folder] = None if folder == folder.parent else self._home(folder.parent)
        return self._homes[folder]


def _outputs(folder: Path) -> dict[str, str]:
    """The source of each cut-out by its path below the folder; nothing where the folder does not say it."""
    try:
        root = json.loads((folder / "settings.json").read_text(encoding="utf-8"))["source"]
        rows = read_manifest(folder / "manifest.csv")
        return {row["output"]: os.path.join(root, row["source"]) for row in rows if row["output"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
