"""Rows at the deepest level that is sure: every status and level, `--sure`, `--only`, and rows without levels."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from carclf.classifier.contract import as_classifier
from carclf.recognition.answers import Answers
from carclf.recognition.output.formats import encoded, row_of
from carclf.recognition.pictures.overlay import _texts
from carclf.recognition.prediction import COLUMNS, LEVEL_COLUMNS, Prediction, Predictions, row_columns
from carclf.recognition.recognizer import CarRecognizer
from detection.common.errors import UsageError
from tests.carclf.levels import CLASSES, LevelClassifier
from tests.fakes import FakeDetector, draw_car

RED = (220, 20, 20)
SURE = (0.05, 0.03, 0.9, 0.01, 0.01)
MODEL_ONLY = (0.03, 0.4, 0.55, 0.01, 0.01)
MAKE_ONLY = (0.4, 0.2, 0.35, 0.03, 0.02)
UNSURE = (0.2, 0.2, 0.2, 0.2, 0.2)


def answer(probabilities, **settings) -> Prediction:
    classifier = as_classifier(LevelClassifier(*probabilities))
    return Answers(classifier, **settings).complete(Prediction("a.jpg", "ok"), classifier.probabilities)


@pytest.mark.parametrize(
    ("probabilities", "status", "level", "label", "model", "year", "said"),
    [
        (SURE, "ok", "class", "Audi S4 Sedan 2012", "Audi S4", "2012", "Audi S4 Sedan 2012"),
        (MODEL_ONLY, "ok", "model", "Audi S4", "Audi S4", None,
         "Audi S4, probably the Sedan 2012 or the Sedan 2007"),
        (MAKE_ONLY, "ok", "make", "Audi", None, None, "Audi, probably an S4 or an A4"),
        (UNSURE, "unknown", None, None, None, None, "unknown"),
    ],
)  # fmt: skip
def test_every_level(probabilities, status, level, label, model, year, said):
    told = answer(probabilities)
    assert (told.status, told.level, told.label, told.model, told.year, told.said) == (
        status, level, label, model, year, said,
    )  # fmt: skip
    assert told.make == (None if status == "unknown" else "Audi")
    assert told.make_confidence >= told.model_confidence >= told.year_confidence
    if level:
        confidences = {"class": told.top[0][1], "model": told.model_confidence, "make": told.make_confidence}
        assert told.confidence == pytest.approx(confidences[level])
    else:
        assert told.reason == "not one of the 3 makes, or too unsure: 60% for Audi" and told.confidence == 0.2
    assert told.top[0][0] in CLASSES and len(told.top) == 5, "top stays the classes"


@pytest.mark.parametrize("status", ["no_car", "unreadable", "error"])
def test_other_statuses_have_empty_columns(status):
    row = row_of(Prediction("a.jpg", status, reason="why"), row_columns(False, True))
    assert [row[name] for name in LEVEL_COLUMNS] == [None] * len(LEVEL_COLUMNS)


@pytest.mark.parametrize(
    ("settings", "level"),
    [({"sure": 0.98}, "make"), ({"sure": 0.9}, "class"), ({"sure": 0.5}, "class"), ({"levels": True}, "make")],
)
def test_less_sure_is_answered_deeper(settings, level):
    assert answer(MAKE_ONLY, **settings).level == level


@pytest.mark.parametrize("settings", [{"levels": False}, {"threshold": 0.5}])
def test_without_levels_rows_are_as_they_were(settings):
    told = answer(MAKE_ONLY, **settings)
    assert (told.status, told.label, told.confidence) == ("unknown", None, 0.4)
    assert told.reason == "not one of the 5 classes, or too unsure: 40% for Audi A4 2010"
    assert set(told.row()) == set(COLUMNS)
    assert row_columns(False) == COLUMNS and set(row_columns(True, True)) == {*COLUMNS, *LEVEL_COLUMNS, "vehicle"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"threshold": 0.5, "sure": 0.9}, "give threshold or sure, not both"),
        ({"threshold": 0.5, "levels": True}, "give threshold or sure, not both"),
        ({"levels": False, "sure": 0.9}, "leave it or no-levels out"),
        ({"sure": 0.999}, "promise at most a share of 0.985"),
        ({"only": "Bmv"}, "the nearest are 'BMW'"),
    ],
)
def test_what_does_not_fit_together_is_one_sentence(settings, told):
    with pytest.raises(UsageError, match=told):
        answer(SURE, **settings)


@pytest.mark.parametrize(("missing", "told"), [("names", "no table of names"), ("levels", "are not calibrated")])
def test_a_model_without_levels_says_so_when_asked_for_them(missing, told):
    classifier = LevelClassifier(*MAKE_ONLY)
    setattr(classifier, missing, () if missing == "names" else None)
    assert Answers(as_classifier(classifier)).levels is False
    for settings in ({"levels": True}, {"sure": 0.9}):
        with pytest.raises(UsageError, match=told):
            Answers(as_classifier(classifier), **settings)


@pytest.mark.parametrize(
    ("only", "level", "label"),
    [
        ("Audi S4, BMW", "model", "Audi S4"),
        ("BMW X3 2012, Audi A4", "class", "Audi A4 2010"),
        ("everything", "make", "Audi"),
        (None, "make", "Audi"),
    ],
)
def test_only_makes_the_listed_ones_sure(only, level, label):
    told = answer(MAKE_ONLY, only=only)
    assert (told.level, told.label) == (level, label)
    assert sum(probability for _, probability in told.top) == pytest.approx(1, abs=1e-5)


def test_only_everything_is_the_same_row():
    for probabilities in (SURE, MODEL_ONLY, MAKE_ONLY, UNSURE):
        for levels in (True, False):
            assert answer(probabilities, only="everything", levels=levels) == answer(probabilities, levels=levels)


@pytest.mark.parametrize("levels", [True, False])
def test_a_car_that_is_none_of_the_listed_stays_unknown(levels):
    """Shared out among one class alone, any rest of probability would be all of it."""
    told = answer(SURE, only="BMW", levels=levels)
    assert told.status == "unknown" and told.label is None and told.make is None
    assert told.reason == "not one of the 1 listed classes, which have 1.0% together"


def test_the_recognizer_answers_at_levels():
    recognizer = CarRecognizer(LevelClassifier(*MAKE_ONLY), FakeDetector())
    told = recognizer(draw_car(RED))
    assert (told.level, told.label) == ("make", "Audi") and recognizer.settings["levels"]["make"] == 0.7
    assert {*LEVEL_COLUMNS} < set(Predictions([told]).to_pandas())
    plain = CarRecognizer(LevelClassifier(*MAKE_ONLY), FakeDetector(), levels=False)
    assert "levels" not in plain.settings and plain(draw_car(RED)).status == "unknown"
    listed = CarRecognizer(LevelClassifier(*MAKE_ONLY), FakeDetector(), only="Audi S4")
    (seen,) = listed.recognize_fully([draw_car(RED)])
    assert seen.probabilities[0] == 0 and seen.probabilities.sum() == pytest.approx(1)
    assert listed.settings["only"] == ["Audi S4 Sedan 2007", "Audi S4 Sedan 2012"]


@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "table", "parquet"])
def test_all_formats_have_the_columns(format):
    if format == "parquet":
        pytest.importorskip("pyarrow")
    columns = row_columns(False, True)
    rows = [row_of(answer(one), columns) for one in (SURE, MODEL_ONLY, MAKE_ONLY, UNSURE)]
    data = b"".join(encoded(rows, format, columns))
    if format == "parquet":
        import pandas as pd

        table = pd.read_parquet(io.BytesIO(data))
        assert table["make_confidence"].dtype == np.float64 and list(table["level"])[:3] == ["class", "model", "make"]
        assert table["level"].isna().tolist() == [False, False, False, True]
    elif format == "json":
        assert [row["level"] for row in json.loads(data)] == ["class", "model", "make", None]
    elif format == "table":
        lines = data.decode().splitlines()
        assert "Audi     " in lines[3] and "Audi A4 2010 40.0%, Audi S4 Sedan 2012 35.0%" in lines[3]
        assert "Audi A4 2010 20.0%" in lines[4], "of an unknown car the best class is told as well"
    else:
        assert data.decode().count("Audi S4") > 2


def test_the_overlay_names_the_label_and_the_best_classes_below_it():
    assert _texts(answer(MAKE_ONLY)) == [
        ("Audi", "  95%"), ("Audi A4 2010", "  40%"), ("Audi S4 Sedan 2012", "  35%"),
    ]  # fmt: skip
    assert [text for text, _ in _texts(answer(SURE))][:2] == ["Audi S4 Sedan 2012", "Audi A4 2010"]
