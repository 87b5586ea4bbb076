"""Decisions: on disk before they are told, by two people at once, taken back, and known again by content."""

from __future__ import annotations

import os
import threading

import pytest

from carclf.datasets import read_table
from carclf.datasets.corrections.apply import apply_corrections, read_corrections
from carclf.datasets.corrections.decision import new_id
from carclf.datasets.corrections.journal import read_decisions
from carclf.tools.review.desk import views
from carclf.tools.review.desk.desk import Desk, Wish
from detection.common.errors import UsageError


def wish(desk: Desk, number: int) -> Wish:
    state = desk.state(number)
    return Wish(number, "" if state is None else state.id, new_id())


def names(room, **query) -> list[str]:
    return [room.photos.names[number] for number in views.find(views.Query(**query), room.desk, room.likeness)]


def test_decisions_are_on_disk_when_they_are_told(data, opened, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size) or real(number))
    desk = opened(data).desk
    outcome = desk.decide("ann", [wish(desk, 0), wish(desk, 1)], "class", "green", "b1")
    assert outcome.saved == [0, 1] and synced[-1] == (data / "corrections.jsonl").stat().st_size
    one, other = read_decisions(data / "corrections.jsonl")
    assert (one.by, one.old, one.new, one.decision, one.file) == ("ann", "blue", "green", "class", "blue/0.jpg")
    assert one.batch == other.batch == "b1" and len(one.sha256) == 16 and one.time.endswith("Z")
    assert desk.label(0) == "green" and desk.counts()["class"] == 2


def test_nothing_is_told_as_saved_that_is_not(data, opened, monkeypatch):
    room = opened(data)

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("carclf.datasets.corrections.journal.RowLog.append", lambda *_: full(0))
    with pytest.raises(OSError, match="No space"):
        room.desk.decide("ann", [wish(room.desk, 0)], "no_car", None)
    assert room.desk.state(0) is None and room.desk.changes == []


def test_two_people_and_one_photo(data, opened):
    desk = opened(data).desk
    seen = wish(desk, 0)
    assert desk.decide("ann", [seen], "class", "green").saved == [0]
    late = Wish(0, "", new_id())  # bob's page does not know of it yet
    outcome = desk.decide("bob", [late, wish(desk, 1)], "class", "red")
    assert outcome.conflicts == [0] and outcome.saved == [1] and desk.label(0) == "green"
    assert desk.decide("bob", [wish(desk, 0)], "class", "red").saved == [0]  # now he has seen it
    assert desk.label(0) == "red" and desk.people() == {"bob": 2}


def test_a_wish_that_is_sent_twice_is_written_once(data, opened):
    desk = opened(data).desk
    sent = wish(desk, 0)
    for _ in range(2):
        assert desk.decide("ann", [sent], "accept", None).saved == [0]
    assert len(read_decisions(data / "corrections.jsonl")) == 1


def test_undo_takes_back_a_whole_batch_and_brings_back_what_was(data, opened):
    desk = opened(data).desk
    desk.decide("ann", [wish(desk, 0)], "class", "green")
    desk.decide("bob", [wish(desk, 3)], "later", None)
    desk.decide("ann", [wish(desk, number) for number in (0, 1, 2)], "no_car", None, "b2")
    assert sorted(desk.undo("ann")) == [0, 1, 2]
    assert desk.label(0) == "green" and desk.state(1) is None
    assert desk.state(3).by == "bob"
    assert desk.undo("ann") == [0] and desk.undo("ann") == [] and desk.label(0) == "blue"
    assert len(read_decisions(data / "corrections.jsonl")) == 9
    assert read_corrections(data).decisions == [desk.state(3)]


def test_a_second_start_knows_all_also_of_photos_that_moved(data, opened):
    room = opened(data)
    red = room.photos.names.index("red/0.jpg")
    room.desk.decide("ann", [wish(room.desk, 0), wish(room.desk, red)], "class", "green")
    room.close()
    (data / "red" / "0.jpg").rename(data / "green" / "moved.jpg")
    again = opened(data)
    assert again.desk.label(again.photos.names.index("green/moved.jpg")) == "green"
    assert names(again, show="decided") == ["blue/0.jpg", "green/moved.jpg"]
    assert again.desk.undo("ann")  # what was before the start can be taken back


def test_a_photo_that_was_replaced_is_undecided(data, opened):
    room = opened(data)
    room.desk.decide("ann", [wish(room.desk, 0)], "accept", None)
    room.close()
    (data / "blue" / "0.jpg").write_bytes((data / "red" / "0.jpg").read_bytes())
    assert opened(data).desk.state(0) is None


def test_what_is_gone_is_told_and_a_label_is_needed_to_accept(data, tmp_path, opened):
    desk = opened(data).desk
    (data / "blue" / "0.jpg").unlink()
    outcome = desk.decide("ann", [wish(desk, 0), wish(desk, 1)], "accept", None)
    assert outcome.saved == [1] and outcome.gone == {0: "'blue/0.jpg' is not there any more."}
    (tmp_path / "groups.csv").write_text(f"group,class,file\n1,,{data / 'red/0.jpg'}\n", encoding="utf-8")
    nameless = opened(tmp_path / "groups.csv").desk
    assert "no label" in nameless.decide("ann", [wish(nameless, 0)], "accept", None).gone[0]
    assert nameless.decide("ann", [wish(nameless, 0)], "class", "Rover").saved == [0]


def test_a_second_review_of_a_source_is_refused(data, opened):
    opened(data)
    with pytest.raises(UsageError, match="Another `carclf review` has"):
        opened(data)


def test_filters_and_orders(data, opened):
    room = opened(data)
    desk = room.desk
    desk.decide("ann", [wish(desk, 0)], "class", "green")
    desk.decide("ann", [wish(desk, 1)], "no_car", None)
    desk.decide("ann", [wish(desk, 2)], "later", None)
    desk.decide("ann", [wish(desk, 3)], "accept", None)
    assert len(names(room)) == 8 and len(names(room, show="all")) == 12
    assert names(room, show="changed") == ["blue/0.jpg"] and names(room, show="no_car") == ["blue/1.jpg"]
    assert names(room, show="later") == ["blue/2.jpg"] and len(names(room, show="decided")) == 4
    assert names(room, show="all", label="green") == ["blue/0.jpg", *(f"green/{one}.jpg" for one in range(4))]
    assert names(room, show="all", group="red", text="2") == ["red/2.jpg"]
    assert names(room, show="all", group="no-such", issue="") == [] and names(room, issue="mistake") == []
    assert names(room, order="name") == sorted(names(room)) and len(names(room, order="likeness")) == 8


def test_decisions_correct_the_data(data, opened):
    room = opened(data)
    place = room.photos.names.index
    room.desk.decide("ann", [wish(room.desk, place("blue/0.jpg"))], "class", "red")
    room.desk.decide("bob", [wish(room.desk, place("red/3.jpg"))], "no_car", None)
    table, applied = apply_corrections(read_table(data), read_corrections(data))
    assert len(table) == 11 and (table["label"] == "red").sum() == 4
    assert (applied.changed, applied.removed) == (1, 1)


def test_cut_outs_are_noted_with_their_photo(data, tmp_path, opened, fake_detector):
    from functools import partial

    from carclf.datasets.content import content_digests
    from detection.cutout.cut import CutoutStyle
    from detection.folder.options import CleanOptions
    from detection.folder.run import clean_folder

    clean_folder(data, tmp_path / "crops", partial(lambda: fake_detector), CutoutStyle(), options=CleanOptions())
    room = opened(tmp_path / "crops")
    number = next(number for number, name in enumerate(room.photos.names) if name.startswith("red/0"))
    room.desk.decide("ann", [wish(room.desk, number)], "class", "blue")
    assert room.desk.state(number).source_sha256 == content_digests([str(data / "red" / "0.jpg")])[0]
    table, applied = apply_corrections(read_table(data), read_corrections(tmp_path / "crops"))
    assert applied.changed == 1 and table["label"].tolist().count("blue") == 5


def test_thumbnails_are_made_once_and_anew_when_the_photo_changes(data, opened, monkeypatch):
    import carclf.tools.review.desk.cache as cache

    room, made = opened(data), []
    real = cache.picture
    monkeypatch.setattr(cache, "picture", lambda *arguments: made.append(arguments) or real(*arguments))
    first = room.cache.thumbnail(room.photos.files[0])
    assert room.cache.thumbnail(room.photos.files[0]) == first and len(made) == 1 and first.startswith(b"\xff\xd8")
    (data / "blue" / "0.jpg").write_bytes((data / "red" / "0.jpg").read_bytes())
    assert room.cache.thumbnail(room.photos.files[0]) != first
    (data / "blue" / "1.jpg").write_bytes(b"no photo")
    assert room.cache.thumbnail(room.photos.files[1]) == b""
    room.close()
    (data / ".review" / "cache.sqlite").write_bytes(b"damaged" * 1000)
    assert len(opened(data).cache.thumbnail(room.photos.files[2])) > 100
    assert len(read_table(data)) == 12  # the hidden folder is no class


def test_many_threads_share_few_connections(data, opened):
    cache = opened(data).cache
    files = sorted(str(path) for path in data.rglob("*.jpg"))
    for _ in range(20):
        threads = [threading.Thread(target=cache.thumbnail, args=(file,)) for file in files[:3]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 1 <= len(cache._free) <= 5  # of sixty threads; thumbnails are made ahead, too


def test_every_order_holds_every_photo(data, opened):
    room = opened(data)
    for order in views.ORDERS:
        assert sorted(names(room, show="all", order=order)) == room.photos.names
