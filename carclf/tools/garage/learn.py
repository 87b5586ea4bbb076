"""`carclf learn`: classes of one's own from a few photos each, beside those of a base classifier."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from carclf.classifier.catalogue import find_model
from carclf.classifier.contract import unit
from carclf.classifier.garage.classifier import check_base
from carclf.classifier.garage.discriminant import fit
from carclf.classifier.garage.file import (
    MOST_CLASSES,
    MOST_PHOTOS,
    Garage,
    GarageInfo,
    LearntPhoto,
    is_garage,
    read_garage,
    read_garage_info,
    write_garage,
)
from carclf.classifier.garage.prior import Prior
from carclf.datasets import read_table
from carclf.datasets.corrections.apply import APPLIED, Corrections, apply_corrections
from carclf.datasets.labels import look_alike
from carclf.datasets.layouts.csv_file import read_csv_text
from carclf.datasets.names import names
from carclf.recognition.prediction import FAILED, Recognition
from carclf.recognition.recognizer import CarRecognizer
from carclf.weights import BUNDLED, DEFAULT
from detection.common.console import Track, untracked
from detection.common.errors import UsageError
from detection.common.files import check_output, read_name, user_path, write_table
from detection.common.places.address import scheme_of, without_secrets
from detection.common.tally import counted
from detection.images.duplicates import difference_hash

_GROUPED = ("group", "class", "file")
LEARNT, COPY, LEFT_OUT = "learnt", "copy", "left_out"
_BITS, _COSINE = 4, 0.985  # a copy differs in at most so many bits of its hash, and its vector comes so near


@dataclass(eq=False)
class Learning:
    """What came of it. rows: one per photo: file, class, status, reason. notes: sentences to tell. classes: photos of
    each learnt class, by its name."""

    rows: list[dict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    classes: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        return sum(row["status"] in FAILED for row in self.rows)


@dataclass(eq=False)
class _Photos:
    """What a garage knows, while it grows; the lists run side by side."""

    classes: list[str] = field(default_factory=list)
    photos: list[LearntPhoto] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)
    sure: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, garage: Garage) -> _Photos:
        info = garage.info
        return cls(list(info.classes), list(info.photos), list(garage.vectors), [float(one) for one in garage.sure])

    def number(self, name: str) -> int:
        """Of a class, which is added where it is new."""
        if name not in self.classes:
            self.classes.append(name)
        return self.classes.index(name)

    def count(self, name: str) -> int:
        return sum(self.classes[photo.number] == name for photo in self.photos)

    def copy_of(self, hash: int, vector: np.ndarray) -> LearntPhoto | None:
        """A photo that is nearly the same."""
        for photo, views in zip(self.photos, self.vectors, strict=True):
            if (photo.hash ^ hash).bit_count() <= _BITS and float(views[0] @ vector) >= _COSINE:
                return photo
        return None

    def forget(self, name: str) -> None:
        gone = self.classes.index(name)
        kept = [place for place, photo in enumerate(self.photos) if photo.number != gone]
        self.classes.remove(name)
        self.vectors, self.sure = [self.vectors[place] for place in kept], [self.sure[place] for place in kept]
        moved = [self.photos[place] for place in kept]
        self.photos = [photo.model_copy(update={"number": photo.number - (photo.number > gone)}) for photo in moved]

    def garage(self, base: str, fingerprint: str, prior: Prior | None) -> Garage:
        """prior: of the base, where it has one. Raises `UsageError` for more classes than a garage holds."""
        if len(self.classes) > MOST_CLASSES:
            raise UsageError(f"A garage holds {MOST_CLASSES} classes at most, not {len(self.classes)}: train a model.")
        vectors, sure = np.stack(self.vectors), np.array(self.sure, np.float32)
        found = fit(vectors, np.array([photo.number for photo in self.photos]), sure, prior)
        info = GarageInfo(
            base=base,
            fingerprint=fingerprint,
            prior="" if prior is None else prior.fingerprint,
            classes=tuple(self.classes),
            photos=tuple(self.photos),
            temperature=found.temperature,
            border=found.border,
        )
        return Garage(info, vectors, sure, found)


def learn(
    photos: str | Path | None,
    output: Path,
    base: str | None = None,
    forget: Sequence[str] = (),
    images: Path | None = None,
    crops: bool = False,
    device: str = "auto",
    runtime: str = "auto",
    threads: int | None = None,
    track: Track = untracked,
    corrections: Corrections | None = None,
) -> Learning:
    """Learns the classes of `photos`, as `read_table` takes them, and writes the garage `output`, or adds to it.

    corrections: what people decided about the photos; what was applied is noted beside `output`.

    base: as `find_model` takes it, and no garage; None takes the garage's own, else the default classifier. forget:
    names of learnt classes that go. The photos' rows are written to `output`.csv. Raises `UsageError`, and leaves an
    existing garage as it was then.
    """
    check_output(output)
    if photos is None and not forget:
        raise UsageError("Name a folder with a folder of photos per new model, or a class to --forget.")
    known, base = _existing(output, base)
    done = Learning()
    for name in forget:
        _forget(known, name, output)
        done.notes.append(f"'{name}' is forgotten.")
    if scheme_of(base):
        raise UsageError(
            f"A garage finds its model from where it lies itself: copy '{without_secrets(base)}' to this machine."
        )
    found = find_model(base)
    if found.is_garage:
        raise UsageError(f"'{base}' is a garage: to add to it, name it as --output; else name the model it stands on.")
    recognizer = CarRecognizer(base, device=device, crops=crops, runtime=runtime, threads=threads)
    fingerprint = recognizer.classifier.fingerprint
    if output.exists():
        check_base(fingerprint, read_garage_info(output), output)
    prior = found.prior(recognizer.classifier)
    if photos is not None:
        table = _corrected(photos, images, corrections, output, done)
        _add(known, table, recognizer, done, track)
        write_table(rows_file(output), done.rows)
    if not known.photos:
        raise UsageError(
            f"No photo could be learnt: {rows_file(output)} says why of each."
            if photos is not None
            else f"'{output}' would hold no class any more: delete the file instead."
        )
    write_garage(output, known.garage(_as_stored(base, output), fingerprint, prior))
    done.classes = Counter(known.classes[photo.number] for photo in known.photos)
    return done


def _corrected(
    photos: str | Path, images: Path | None, corrections: Corrections | None, output: Path, done: Learning
) -> pd.DataFrame:
    grouped = named_groups(Path(photos), unnamed=corrections is not None)
    table = read_table(photos, images) if grouped is None else grouped
    if corrections is None:
        return table
    table, applied = apply_corrections(table, corrections)
    done.notes += applied.told
    applied.write_to(rows_file(output).with_suffix(f".{APPLIED}"))
    table = table[table["label"] != ""].reset_index(drop=True)
    if table.empty:
        raise UsageError(f"No group of '{photos}' has a name yet: name them with carclf review.")
    return table


def named_groups(path: Path, unnamed: bool = False) -> pd.DataFrame | None:
    """Columns file and label of a list that `carclf cluster` has written and a person has named groups in; None for
    anything else. A name counts for its whole group, unless a line has its own; what has no name is left out.

    unnamed: what has no name stays, with an empty label. Raises `UsageError` when nothing has a name otherwise.
    """
    path = user_path(path)
    if path.suffix.lower() != ".csv" or not path.is_file():
        return None
    text, delimiter = read_csv_text(path, _GROUPED)
    rows = list(csv.DictReader(text.splitlines(), delimiter=delimiter))
    if not rows or not {*_GROUPED} <= rows[0].keys():
        return None
    own = [(row["class"] or "").strip() for row in rows]
    of_group: dict[str, str] = {}
    for row, name in zip(rows, own, strict=True):
        if row["group"] and name:
            of_group.setdefault(row["group"], name)
    labels = [name or of_group.get(row["group"], "") for row, name in zip(rows, own, strict=True)]
    if not any(labels) and not unnamed:
        raise UsageError(f"No group of '{path}' has a name yet: write one into the column class, once per group.")
    named = [(read_name(row["file"]), label) for row, label in zip(rows, labels, strict=True) if label or unnamed]
    return pd.DataFrame(named, columns=["file", "label"])


def rows_file(output: Path) -> Path:
    """Where the rows of the photos go."""
    return output.with_name(output.name.removesuffix(".safetensors") + ".csv")


def _existing(output: Path, base: str | None) -> tuple[_Photos, str]:
    """What the garage at `output` knows, nothing where there is none; and the name of its base."""
    if not output.exists():
        return _Photos(), DEFAULT if base in (None, "bundled") else str(base)
    if not output.is_file() or not is_garage(output):
        raise UsageError(f"'{output}' exists and is not a garage: name another file.")
    own = read_garage(output)
    if base is not None and _as_stored(base, output) != own.info.base:
        raise UsageError(
            f"'{output}' stands on '{own.info.base}', not on '{base}': leave --base out, or name a new file."
        )
    named = own.info.base
    return _Photos.of(own), named if named in BUNDLED else str(output.parent / named)


def _as_stored(base: str, output: Path) -> str:
    """A bundled name, else the path from the garage's folder, with slashes."""
    if base == "bundled" or base in BUNDLED:
        return DEFAULT if base == "bundled" else base
    path = os.path.abspath(os.path.expanduser(base))
    try:
        return Path(os.path.relpath(path, os.path.abspath(output.parent))).as_posix()
    except ValueError:  # another drive of Windows
        return Path(path).as_posix()


def _forget(known: _Photos, name: str, output: Path) -> None:
    if name not in known.classes:
        has = f"it knows {names(known.classes)}" if known.classes else "there is no such garage"
        raise UsageError(f"'{output}' knows no class '{name}': {has}.")
    known.forget(name)


def _add(known: _Photos, table: pd.DataFrame, recognizer: CarRecognizer, done: Learning, track: Track) -> None:
    files, labels = table["file"].tolist(), [str(label) for label in table["label"]]
    _check_names(sorted(set(labels)), recognizer, known)
    before = {name: known.count(name) for name in known.classes}
    seen = recognizer.recognize_fully(files, pictures=True, vectors=True)
    for file, label, recognition in zip(files, labels, track(seen, len(files)), strict=True):
        status, reason = _take(known, file, label, recognition, recognizer)
        done.rows.append({"file": file, "class": label, "status": status, "reason": reason})
    done.notes += _notes(sorted(set(labels)), known, before, done.rows)


def _check_names(labels: Sequence[str], recognizer: CarRecognizer, known: _Photos) -> None:
    taken, base = set(recognizer.classes), recognizer.name
    for label in labels:
        if label in taken:
            raise UsageError(f"'{label}' is a class of '{base}' already: give the new model another name.")
    for group in look_alike([*recognizer.classes, *known.classes, *labels]):
        if new := [label for label in labels if label in group and label not in known.classes]:
            other = next(label for label in group if label != new[0])
            raise UsageError(f"'{new[0]}' looks like '{other}': give each class one name, and different ones to two.")


def _take(known: _Photos, file: str, label: str, seen: Recognition, recognizer: CarRecognizer) -> tuple[str, str]:
    """The status and the reason of one photo, which is learnt if it can be."""
    answer = seen.prediction
    if seen.vector is None or seen.cutout is None or seen.probabilities is None:
        return answer.status, answer.reason
    hash = difference_hash(cv2.cvtColor(seen.cutout, cv2.COLOR_RGB2GRAY))
    if (copy := known.copy_of(hash, seen.vector)) is not None:
        return COPY, f"nearly the same as {copy.file} of '{known.classes[copy.number]}'"
    if known.count(label) >= MOST_PHOTOS:
        return LEFT_OUT, f"{MOST_PHOTOS} photos of a class are learnt at most"
    mirrored = recognizer.classifier.predict_and_embed([np.ascontiguousarray(seen.cutout[:, ::-1])])[1]
    known.photos.append(LearntPhoto(file=Path(file).name, number=known.number(label), hash=hash))
    known.vectors.append(unit(np.stack([seen.vector, mirrored[0]])))
    known.sure.append(float(seen.probabilities.max()))
    others = f"the largest of {seen.others + 1} vehicles in the photo" if seen.others else ""
    tie = answer.reason if "equally prominent" in answer.reason else ""
    return LEARNT, "; ".join(part for part in (others, tie) if part)


def _notes(labels: Sequence[str], known: _Photos, before: dict[str, int], rows: list[dict]) -> Iterator[str]:
    for label in labels:
        now = known.count(label)
        if not now:
            yield f"'{label}' was not learnt: no photo of it could be used."
        elif label in before:
            yield f"'{label}' was known: {counted(now - before[label], 'photo')} more, {now} in all."
        elif now == 1:
            yield f"'{label}' has one photo only: more photos, from other sides, make it surer."
    told = {COPY: "nearly the same as another one", LEFT_OUT: "left out", "no_car": "without a car"}
    told |= {"unreadable": "not readable", "error": "failed"}
    for status, text in told.items():
        if files := [Path(row["file"]).name for row in rows if row["status"] == status]:
            yield f"{counted(len(files), 'photo')} {text}: {names(files)}."
    if several := [Path(row["file"]).name for row in rows if row["status"] == LEARNT and row["reason"]]:
        told_of = counted(len(several), "photo")
        yield f"{told_of} with more than one vehicle, of which the main one was learnt: {names(several)}."
