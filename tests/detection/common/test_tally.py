import pytest

from detection.common.tally import StatusCounts, counted, exit_code

STATUSES, FAILED = ("ok", "no_car", "unreadable", "error"), ("unreadable", "error")


@pytest.mark.parametrize(
    ("counts", "text", "failures"),
    [
        ({}, "", 0),
        ({"no_car": 1, "ok": 10}, "10 ok, 1 no_car", 0),
        ({"error": 2, "ok": 0, "unreadable": 1}, "1 unreadable, 2 error", 3),
    ],
)
def test_photos_are_counted_by_status(counts, text, failures):
    tally = StatusCounts(counts, STATUSES, FAILED)
    assert str(tally) == text
    assert (tally.total, tally.failures) == (sum(counts.values()), failures)
    assert tally.exit_code == (3 if failures else 0)


def test_the_exit_code_tells_whether_something_failed():
    assert [exit_code(failed) for failed in (0, False, 2, True)] == [0, 0, 3, 3]


def test_one_and_many():
    assert [counted(number, "photo") for number in (0, 1, 2)] == ["0 photos", "1 photo", "2 photos"]
    assert counted(2, "class has", "classes have") == "2 classes have"


def test_all_summaries_end_alike(tmp_path):
    import pandas as pd

    from carclf.datasets.prepare.prepare import Prepared
    from carclf.recognition.naming import Tally
    from carclf.tools.competition.submission import Counter, Summary
    from detection.folder.out.summary import CleanSummary

    clean = CleanSummary({"ok": 1, "unreadable": 1}, 2, 1.0, tmp_path)
    naming = Tally(photos=2)
    for status in ("ok", "unreadable"):
        naming.count({"status": status})
    table = {"status": ["linked", "unreadable"], "split": ["train", "train"], "file": ["a", ""]}
    prepared = Prepared(tmp_path, pd.DataFrame(table))
    submission = Summary(Counter(ok=1, unreadable=1), "0", "", tmp_path)
    assert [one.exit_code for one in (clean, naming, prepared, submission.tally)] == [3, 3, 3, 3]
    assert str(clean).startswith("2 photos: 1 ok, 1 unreadable (")
    assert str(naming) == "2 photos: 1 ok, 1 unreadable"
    assert str(prepared).startswith("2 photos: 1 linked, 1 unreadable; 1 train.")
    assert str(submission) == "2 ids: 1 ok, 1 unreadable"
