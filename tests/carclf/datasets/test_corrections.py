"""Decisions in a journal, and tables of photos corrected by them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from carclf.datasets import read_table
from carclf.datasets.content import content_digests
from carclf.datasets.corrections.apply import APPLIED, applied_before, apply_corrections, read_corrections
from carclf.datasets.corrections.decision import Decision, new_id, now
from carclf.datasets.corrections.journal import NAME, Journal, read_decisions
from detection.common.errors import UsageError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two photos each of Audi and BMW, all different."""
    random = np.random.default_rng(1)
    for number, label in enumerate(("Audi", "Audi", "BMW", "BMW")):
        path = tmp_path / "data" / label / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(path)
    return tmp_path / "data"


def decide(file: Path, decision: str, new: str | None = None, by: str = "ann", **more) -> Decision:
    digest = content_digests([str(file)])[0]
    return Decision(new_id(), now(), by, decision, file.name, digest, "", "old", new, **more)


def write(folder: Path, *decisions: Decision) -> None:
    journal = Journal(folder)
    for one in decisions:
        journal.add([one])
    journal.close()


def labels(table: pd.DataFrame) -> dict[str, str]:
    return {Path(file).name: label for file, label in zip(table["file"], table["label"], strict=True)}


def test_labels_are_changed_agreed_and_removed_and_all_is_told(data, tmp_path):
    write(
        data,
        decide(data / "Audi/0.jpg", "class", "BMW"),
        decide(data / "Audi/1.jpg", "accept", "Audi"),
        decide(data / "BMW/2.jpg", "no_car"),
        decide(data / "BMW/3.jpg", "later"),
    )
    table, applied = apply_corrections(read_table(data), read_corrections(data))
    assert labels(table) == {"0.jpg": "BMW", "1.jpg": "Audi", "3.jpg": "BMW"}
    assert (applied.changed, applied.removed, applied.agreed, applied.unknown) == (1, 1, 1, 0)
    assert "1 label changed, 1 photo without a car removed, 1 label found right" in str(applied)
    assert set(table) == {"file", "label"}
    applied.write(tmp_path / "run")
    again, same = apply_corrections(read_table(data), read_corrections(tmp_path / "run" / APPLIED))
    assert again.equals(table) and (same.changed, same.removed, same.agreed) == (1, 1, 1)
    assert applied_before(tmp_path / "run")["sha256"] == applied.corrections.sha256


def test_photos_are_known_by_content_wherever_they_lie(data, tmp_path):
    write(data, decide(data / "Audi/0.jpg", "class", "BMW"), decide(data / "BMW/2.jpg", "no_car"))
    decided = read_corrections(data)
    moved = tmp_path / "elsewhere" / "Opel"
    moved.mkdir(parents=True)
    (data / "Audi/0.jpg").rename(moved / "renamed.jpg")
    (data / "BMW/3.jpg").rename(moved / "3.jpg")
    table, applied = apply_corrections(read_table(tmp_path / "elsewhere"), decided)
    assert labels(table) == {"renamed.jpg": "BMW", "3.jpg": "Opel"}
    assert applied.unknown == 1
    assert "1 corrected photo is not among the data" in str(applied)
    assert applied.note == "By the corrections 1 class is new (BMW)."


def test_a_cut_out_is_known_by_its_photo_and_a_photo_by_its_cut_out(data, tmp_path):
    raw, crop = content_digests([str(data / "Audi/0.jpg"), str(data / "Audi/1.jpg")])
    of_crop = Decision(new_id(), now(), "ann", "class", "crop.png", crop, raw, "Audi", "Opel")
    write(tmp_path / "a", of_crop)
    write(tmp_path / "b", decide(data / "Audi/0.jpg", "class", "Seat"))
    assert read_corrections(tmp_path / "a").find(raw).new == "Opel"
    assert read_corrections(tmp_path / "b").find(crop, raw).new == "Seat"
    assert read_corrections(tmp_path / "b").find(crop, "") is None


def test_the_last_human_counts_and_undo_brings_back_what_was_before(data):
    photo = data / "Audi/0.jpg"
    first, second = decide(photo, "class", "BMW"), decide(photo, "class", "Opel", by="bob")
    write(data, first, second)
    assert read_corrections(data).decisions == [second]
    write(data, decide(photo, "undo", "BMW", by="bob", undoes=second.id))
    assert read_corrections(data).decisions == [first]
    write(data, decide(photo, "undo", None, undoes=first.id))
    assert read_corrections(data).decisions == []
    assert len(read_decisions(data / NAME)) == 4  # nothing is ever taken back


def test_a_program_never_overwrites_a_human(data):
    photo, other = data / "Audi/0.jpg", data / "Audi/1.jpg"
    human = decide(photo, "class", "BMW")
    decided_before = decide(photo, "class", "Opel", human=False)
    write(data, decided_before, human)
    journal = Journal(data)
    machine = decide(other, "class", "Seat", human=False)
    journal.add([decide(photo, "class", "Opel", human=False), machine])
    journal.close()
    assert read_decisions(data / NAME) == [decided_before, human, machine]
    assert read_corrections(data).decisions == [human, machine]
    with open(data / NAME, "ab") as file:  # whoever writes past the journal does not get through either
        file.write(json.dumps(decide(photo, "class", "Opel", human=False).row()).encode() + b"\n")
    assert read_corrections(data).find(human.sha256) == human


def test_a_torn_line_is_cut_off_and_the_others_stay(data):
    one = decide(data / "Audi/0.jpg", "class", "BMW")
    write(data, one)
    with open(data / NAME, "ab") as file:
        file.write(b'{"id": "half')
    assert read_decisions(data / NAME) == [one]
    other = decide(data / "Audi/1.jpg", "no_car")
    write(data, other)
    assert read_decisions(data / NAME) == [one, other]


def test_what_was_added_survives_a_kill(data):
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from carclf.datasets.corrections.decision import Decision, new_id, now\n"
        "from carclf.datasets.corrections.journal import Journal\n"
        f"journal = Journal(Path({str(data)!r}))\n"
        "for number in range(10**6):\n"
        "    journal.add([Decision(new_id(), now(), 'ann', 'class', 'a', f'{number:016x}', '', 'A', 'B')])\n"
        "    print(number, flush=True)\n"
    )
    root = Path(__file__).parents[3]
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root)
    for _ in range(20):
        said = int(writer.stdout.readline())
    os.kill(writer.pid, signal.SIGKILL)
    said = max([said, *(int(line) for line in writer.stdout.read().splitlines() if line.strip())])
    writer.wait()
    assert len(read_corrections(data).decisions) >= said + 1


def test_one_process_writes_and_others_are_told(data):
    journal = Journal(data)
    with pytest.raises(UsageError, match=r"Another `carclf review` has .* open"):
        Journal(data)
    journal.close()
    Journal(data).close()


@pytest.mark.parametrize(
    ("path", "told"), [("nothing", "is not there"), ("data", r"has no corrections\.jsonl"), ("x.csv", "has no")]
)
def test_what_was_not_reviewed_is_told(data, tmp_path, path, told):
    (tmp_path / "x.csv").write_text("file,class\n")
    with pytest.raises(UsageError, match=told):
        read_corrections(tmp_path / path)


def test_a_file_of_something_else_and_a_newer_one_are_refused(data):
    (data / NAME).write_text('{"a": 1}\n')
    with pytest.raises(UsageError, match="is no journal of decisions"):
        read_corrections(data)
    with pytest.raises(UsageError, match="is no journal of decisions"):
        Journal(data)
    (data / NAME).write_text('{"corrections": 2, "written_by": {"carclf": "0.9", "format": 2}}\n')
    with pytest.raises(UsageError, match="newer"):
        read_corrections(data)


def test_all_photos_without_a_car_are_an_error(data):
    write(data, *(decide(path, "no_car") for path in sorted(data.rglob("*.jpg"))))
    with pytest.raises(UsageError, match="leave no photo"):
        apply_corrections(read_table(data), read_corrections(data))
