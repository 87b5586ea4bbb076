"""Answers a competition: every id of its sample, in the sample's order, each with the number of a class."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from carclf.recognition.prediction import Prediction
from carclf.recognition.recognizer import CarRecognizer
from carclf.tools.competition.layout import Competition
from detection.common.console import photo_bar
from detection.common.errors import UsageError
from detection.common.files import write_table, write_text
from detection.common.rows import RowJournal
from detection.common.tally import StatusCounts, counted

FAILED = ("missing", "unreadable", "error")  # these get the most frequent class
SURE = ("ok", "no_car", "unreadable", "missing")  # an answer that holds as long as the photo is the same


@dataclass(frozen=True)
class Summary:
    """counts: ids by status. fallback: the category of ids that the model has no answer to; source: why that one."""

    counts: Counter
    fallback: str
    source: str
    details: Path

    @property
    def tally(self) -> StatusCounts:
        return StatusCounts(self.counts, ("ok", "no_car", *FAILED), FAILED)

    @property
    def failed(self) -> int:
        return self.tally.failures

    def __str__(self) -> str:
        return f"{counted(self.tally.total, 'id')}: {self.tally}"


def submit(recognizer: CarRecognizer, competition: Competition, output: Path, restart: bool = False) -> Summary:
    """Writes `output`, and beside it OUTPUT-details.csv: of each id its file, status, answer, confidence and reason.

    A photo without a car is named as a whole, as photos in which stage 1 finds none are in training; a missing or
    unreadable one gets the most frequent category. What is done is in OUTPUT.journal until the end: a run that was
    killed resumes from there, `restart` begins anew. Raises `UsageError` for a model of other classes, or when the
    journal is of other settings or in use.
    """
    if output.is_dir():
        raise UsageError(f"The output '{output}' is a folder: name a file in it.")
    categories = competition.categories(recognizer.classes)
    journal = RowJournal(
        output.with_name(f"{output.name}.journal"),
        _settings(recognizer, competition, categories),
        restart,
        older={"detector": recognizer.found_by[1]},
    )
    done = False
    try:
        answers = {id: journal.read(place) for id in competition.ids if (place := journal.find(id)) is not None}
        stamps = {id: competition.stamp(id) for id in competition.ids}
        open_ids = [id for id in competition.ids if not _holds(answers.get(id), stamps[id])]
        with photo_bar("answering", len(competition.ids), len(competition.ids) - len(open_ids)) as advance:
            for id, row in _answer(recognizer, competition, open_ids, categories):
                answers[id] = row | {"stamp": stamps[id]}
                journal.add(id, answers[id])
                advance()
        summary = _write(competition, answers, categories, output)
        done = True
    finally:
        journal.close(done)
    return summary


def _settings(recognizer: CarRecognizer, competition: Competition, categories: list[str]) -> dict:
    """What the answers depend on, by the names that a user knows it by."""
    tta = recognizer.tta
    return {
        "model": recognizer.classifier.fingerprint,
        "detector": recognizer.found_by[0],
        "tta": tta.model_dump() if tta else None,
        "sample": hashlib.sha256("\n".join(competition.ids).encode("utf-8", "surrogateescape")).hexdigest()[:16],
        "classes": categories,
    }


def _holds(row: dict | None, stamp: tuple[int, int] | None) -> bool:
    if row is None or row.get("status") not in SURE:
        return False
    kept = row.get("stamp")
    return (tuple(kept) if kept else None) == stamp


def _answer(
    recognizer: CarRecognizer, competition: Competition, ids: list[str], categories: list[str]
) -> Iterator[tuple[str, dict]]:
    """(id, row) in order; `category` of a row is None where the model has no answer."""
    there = []
    for id in ids:
        photo = competition.photo(id)
        if photo is None:
            yield id, _row("missing", reason=f"there is no such photo in {competition.photos}")
        else:
            there.append((id, photo))
    whole = CarRecognizer(
        recognizer.classifier, crops=True, batch_size=recognizer.batch_size, tta=recognizer.tta, threshold=0
    )
    results = recognizer.recognize_fully(photo for _, photo in there)
    for (id, photo), seen in zip(there, results, strict=True):
        prediction, probabilities = seen.prediction, seen.probabilities
        reason = prediction.reason
        if prediction.status == "no_car":
            reason = f"{reason}: the whole photo was named"
            again = next(whole.recognize_fully([photo]))
            probabilities = again.probabilities
            prediction = again.prediction if probabilities is None else prediction
        yield id, _named(prediction, probabilities, recognizer.classes, categories, reason)


def _named(
    prediction: Prediction,
    probabilities: np.ndarray | None,
    classes: tuple[str, ...],
    categories: list[str],
    reason: str,
) -> dict:
    if probabilities is None:
        return _row(prediction.status, reason=prediction.reason)
    sums: dict[str, float] = {}
    for category, probability in zip(categories, probabilities.tolist(), strict=True):
        sums[category] = sums.get(category, 0.0) + probability  # several classes may share one
    best = max(sums, key=sums.__getitem__)
    label = classes[int(np.argmax(probabilities))]
    return _row(prediction.status, best, round(sums[best], 6), label, reason)


def _row(status: str, category: str | None = None, confidence: float | None = None, label: str = "", reason: str = ""):
    return {"status": status, "category": category, "confidence": confidence, "label": label, "reason": reason}


def _write(competition: Competition, answers: dict[str, dict], categories: list[str], output: Path) -> Summary:
    rows = [answers[id] for id in competition.ids]
    named = Counter(row["category"] for row in rows if row["category"] is not None)
    if competition.counts:
        fallback, source = max(competition.counts, key=competition.counts.__getitem__), "the most frequent in train.csv"
    elif named:
        fallback, source = named.most_common(1)[0][0], "the most frequent answer"
    else:
        fallback, source = categories[0], "the model's first class"
    final = {id: answers[id]["category"] or fallback for id in competition.ids}
    details = output.with_name(f"{output.stem}-details.csv")
    first, second = competition.columns
    table = [
        {first: id, "file": str(competition.photo(id) or ""), "status": row["status"], second: final[id]}
        | {"confidence": row["confidence"], "label": row["label"], "reason": row["reason"]}
        for id, row in zip(competition.ids, rows, strict=True)
    ]
    try:
        write_table(details, table)
        write_text(output, competition.text(final))  # last: it says that all is there
    except OSError as error:
        raise UsageError(f"'{output}' can't be written: {error.strerror or error}.") from error
    return Summary(Counter(row["status"] for row in rows), fallback, source, details)
