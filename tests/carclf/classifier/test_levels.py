"""Names with parts, sums upwards, thresholds by share, and `--only`."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carclf.classifier.info import ModelInfo, read_info, write_info
from carclf.classifier.levels.names import CLASS, LEVELS, MAKE, MODEL, PARTS, make_names
from carclf.classifier.levels.only import among, listed_classes, share_listed, split_only
from carclf.classifier.levels.sure import SureRow, SureTable
from carclf.classifier.levels.tree import Tree, outline
from carclf.datasets.layouts.names_csv import read_names
from carclf.weights import BUNDLED, bundled_file
from detection.common.errors import UsageError
from detection.common.networks.arrays import read_arrays
from tests.carclf.levels import CLASSES, NAMES, TABLE
from tests.carclf.tiny import save_tiny_model

TREE = Tree(NAMES, CLASSES)
ONE_OF_FIVE = st.lists(st.floats(0, 1, width=32), min_size=5, max_size=5).filter(lambda row: sum(row) > 0.01)


def bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@pytest.mark.parametrize("name", ["stanford196", "dealer19"])
def test_bundled_classes_begin_with_their_model_and_that_with_its_make(name):
    info = read_info(bundled_file(name))
    assert len(info.names) == len(info.classes) and info.levels is not None
    for parts, one in zip(info.names, info.classes, strict=True):
        assert bare(one).startswith(bare(parts.model)) and bare(parts.model).startswith(bare(parts.make)), one
        assert not parts.years or bare(one).endswith(parts.years), one
    table = bundled_file(name).with_name(f"{name}_names.csv")
    assert info.names == make_names(read_names(table), info.classes), "the file's names are those of the table"


def test_all_bundled_models_have_names():
    assert all(read_info(bundled_file(name)).names for name in BUNDLED)


@given(ONE_OF_FIVE)
def test_a_sum_is_never_smaller_than_its_parts(row):
    row = np.array(row) / sum(row)
    best = TREE.best(row)
    assert best.probability[MAKE] >= best.probability[MODEL] >= best.probability[CLASS] >= 0
    for level in LEVELS:
        sums = TREE.sums(row, level)
        assert sums.sum() == pytest.approx(1)
        assert (sums[TREE.nodes(level)] >= row - 1e-12).all()
    assert best.probability[MAKE] == pytest.approx(TREE.sums(row, MAKE).max())
    assert TREE.names[best.node[CLASS]].model == TREE.labels[MODEL][best.node[MODEL]], "each within the one above"
    assert TREE.names[best.node[CLASS]].make == TREE.labels[MAKE][best.node[MAKE]]


def test_the_best_class_is_of_the_best_make():
    best = TREE.best(np.array([0.2, 0.25, 0.15, 0.4, 0.0]))
    labels = [TREE.labels[level][best.node[level]] for level in LEVELS]
    assert labels == ["Audi S4 Sedan 2007", "Audi S4", "Audi"]
    assert [best.probability[level] for level in LEVELS] == pytest.approx([0.25, 0.4, 0.6])


@pytest.mark.parametrize(
    ("level", "label", "likely"),
    [
        (MAKE, "Audi", ("Audi S4", "Audi A4")),
        (MODEL, "Audi S4", ("Audi S4 Sedan 2012", "Audi S4 Sedan 2007")),
        (CLASS, "Audi A4 2010", ()),
    ],
)
def test_what_it_probably_is_below_a_level(level, label, likely):
    row = np.array([0.3, 0.2, 0.4, 0.06, 0.04])
    assert TREE.likely(row, level, TREE.labels[level].index(label)) == likely


def table_of(*lines: str) -> dict[str, dict[str, str]]:
    return {line.split(",")[0]: dict(zip(PARTS, line.split(",")[1:], strict=False)) for line in lines}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["a,Audi,A4"], "lacks 1 class, the first is 'b'"),
        (["a,Audi,A4", "b,,S4"], "gives no make for the class 'b'"),
        (["a,Audi,A4", "b,AUDI,S4"], "'Audi' and 'AUDI' are one name, spelled in two ways"),
        (["a,Audi,Audi A4", "b,Audi A4,Audi A4"], "the model 'Audi A4' is of two makes"),
        (["a,b,c", "b,a,c"], "'a' is a make, and also a class of 'b'"),  # a lies below b, and b below a
        (["a,Audi,Audi A4", "b,Audi A4,"], "the model 'Audi A4'|'Audi A4' is a make, and also a model"),
    ],
)
def test_a_table_that_is_no_tree_is_one_sentence(lines, told):
    with pytest.raises(UsageError, match=told) as error:
        make_names(table_of(*lines), ["a", "b"])
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_models_are_written_with_their_make_and_classes_stand_in_for_them():
    names = make_names(table_of("a,Audi,S4,Sedan,2007,quattro", "b,BMW", "c,Opel", "other,,"), ["a", "b"])
    assert [(one.make, one.model) for one in names] == [("Audi", "Audi S4"), ("BMW", "b")]
    assert (names[0].body, names[0].years, names[0].trim) == ("Sedan", "2007", "quattro")


def test_a_file_with_names_that_are_no_tree_is_refused(tmp_path):
    path = save_tiny_model(tmp_path / "tiny.safetensors")
    info = read_info(path)
    good = make_names(table_of(*(f"{name},Lada,x{number}" for number, name in enumerate(info.classes))), info.classes)
    write_info(path, info.model_copy(update={"names": good}))
    assert read_info(path).names == good
    write_info(path, info.model_copy(update={"names": good[:2]}))
    with pytest.raises(UsageError, match="its names are no tree: it has 2 names for 3 classes"):
        read_info(path)


def test_new_metadata_leave_the_tensors_as_they_are(tmp_path):
    path = save_tiny_model(tmp_path / "tiny.safetensors")
    before, text = read_arrays(path)[0], path.read_bytes()
    write_info(path, read_info(path).model_copy(update={"threshold": 0.25}))
    after = path.read_bytes()
    tensors = [data[8 + int.from_bytes(data[:8], "little") :] for data in (text, after)]
    assert tensors[0] == tensors[1] and text != after and read_info(path).threshold == 0.25
    assert all((value == read_arrays(path)[0][name]).all() for name, value in before.items())


def test_the_tree_as_plain_data():
    makes = outline(NAMES, CLASSES)
    assert [make["make"] for make in makes] == ["Audi", "BMW", "smart"]
    assert makes[0]["models"][1] == {
        "model": "Audi S4",
        "classes": [
            {"class": f"Audi S4 Sedan {year}", "body": "Sedan", "years": year, "trim": ""} for year in ("2007", "2012")
        ],
    }


@pytest.mark.parametrize(
    ("sure", "make"), [(0.5, 0.3), (0.9, 0.3), (0.901, 0.7), (0.98, 0.7), (0.985, 0.7), (None, 0.7)]
)
def test_a_share_takes_the_row_that_promises_it(sure, make):
    assert TABLE.thresholds(sure)[MAKE] == make


@pytest.mark.parametrize("sure", [0.99, 1, 1.5, 0, -1, float("nan")])
def test_a_share_that_is_not_promised_is_one_sentence(sure):
    with pytest.raises(UsageError, match="at most a share of 0.985|between 0 and 1"):
        TABLE.thresholds(sure)


def test_few_photos_promise_less_by_default():
    table = SureTable(photos=60, rows=(SureRow(right=0.95, class_=0.9, model=0.9, make=0.9),))
    assert table.usual == 0.95 and table.thresholds()[CLASS] == 0.9


@pytest.mark.parametrize("later", [{"right": 0.9}, {"make": 0.1}, {"class_": 1.5}, {"model": float("nan")}])
def test_a_table_that_falls_is_refused(later):
    rows = [
        {"right": 0.9, "class_": 0.5, "model": 0.5, "make": 0.5},
        {"right": 0.95, "class_": 1, "model": 1, "make": 1},
    ]
    with pytest.raises(ValueError, match="rise|less than|finite"):
        SureTable.model_validate({"photos": 9, "rows": [rows[0], rows[1] | later]})


@pytest.mark.parametrize(
    ("only", "meant"),
    [
        ("Audi", {0, 1, 2}),
        ("audi s4, BMW", {1, 2, 3}),
        (["Audi S4 Sedan 2012", "smart fortwo"], {2, 4}),
        ("smart", {4}),
    ],
)
def test_names_of_any_level_are_listed(only, meant):
    assert set(np.flatnonzero(listed_classes(only, CLASSES, NAMES))) == meant


@pytest.mark.parametrize("only", [None, "everything", "Everything, Audi", "Audi,BMW,smart", list(CLASSES)])
def test_everything_is_no_list(only):
    assert listed_classes(only, CLASSES, NAMES) is None


@pytest.mark.parametrize(
    ("only", "told"),
    [
        ("Audi, Bmv", "'Bmv', which is no class, model or make of this model: the nearest are 'BMW'"),
        ("Audi S5", "the nearest are 'Audi S4', 'Audi', 'Audi A4'"),
        ("zzzzzzzz", "`carclf models --classes` lists them"),
        (" , ", "names nothing"),
        ([], "names nothing"),
    ],
)
def test_a_name_that_does_not_exist_is_told_with_the_nearest(only, told):
    with pytest.raises(UsageError) as error:
        listed_classes(only, CLASSES, NAMES)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Audi S4\n\n# a comment\nBMW X3\n", ["Audi S4", "BMW X3"]),
        ("\ufeffclass,make\nAudi A4 2010,Audi\n", ["Audi A4 2010"]),
        ("make\nAudi\nBMW\n", ["Audi", "BMW"]),
    ],
)
def test_a_list_may_be_a_file(text, found, tmp_path):
    (tmp_path / "stock.txt").write_text(text, encoding="utf-8")
    assert split_only(str(tmp_path / "stock.txt")) == found


def test_without_names_classes_are_listed_too():
    assert listed_classes("BMW X3 2012", CLASSES).sum() == 1
    with pytest.raises(UsageError, match="no class of this model"):
        listed_classes("BMW", CLASSES)


@given(ONE_OF_FIVE, st.lists(st.booleans(), min_size=5, max_size=5).filter(any))
@settings(max_examples=60)
def test_probabilities_among_the_listed_sum_to_one_and_keep_their_order(row, listed):
    row = (np.array(row) / sum(row)).astype(np.float32)
    meant = np.array(listed)
    kept = among(row, meant)
    assert kept.sum() == pytest.approx(1, abs=1e-5) and (kept[~meant] == 0).all() and kept.dtype == np.float32
    order = np.argsort(row[meant], kind="stable")
    assert (np.diff(kept[meant][order]) >= 0).all()
    assert share_listed(row, meant) == pytest.approx(row[meant].sum(), abs=1e-6)


@given(ONE_OF_FIVE)
def test_only_everything_changes_nothing(row):
    row = (np.array(row) / sum(row)).astype(np.float32)
    assert among(row, listed_classes("everything", CLASSES, NAMES)) is row


def test_a_file_of_an_earlier_version_has_no_levels(tmp_path):
    half = (0.5, 0.5, 0.5)
    old = ModelInfo(classes=("a", "b"), architecture="x", image_size=64, mean=half, std=half)
    again = ModelInfo.model_validate({k: v for k, v in old.model_dump().items() if k not in ("names", "levels")})
    assert again.names == () and again.levels is None
