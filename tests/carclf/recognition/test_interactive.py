"""A conversation, with its input piped in."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from carclf.cli import app
from carclf.recognition.output.interactive import typed_path
from tests.carclf.tiny import CLASSES, save_tiny_model
from tests.fakes import FakeDetector

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def talk(monkeypatch, tmp_path):
    """Says lines to `carclf predict --interactive`; gives what is answered. `talk.loads` counts the detectors."""
    model = save_tiny_model(tmp_path / "tiny.safetensors")
    loads = []

    def load(name, *_):
        loads.append(name)
        return FakeDetector()

    monkeypatch.setattr("carclf.recognition.loading._load_detector", load)

    def say(*lines, options=()):
        arguments = ["predict", "--interactive", "--model", str(model), *options]
        result = CliRunner().invoke(app, arguments, input="".join(f"{line}\n" for line in lines))
        assert result.exit_code == 0 and result.stderr == "", result.output
        return result.stdout

    say.loads = loads
    return say


def test_photos_are_answered_one_after_the_other_and_errors_end_nothing(talk, photos):
    (photos / "my car.jpg").write_bytes((photos / "red.jpg").read_bytes())
    (photos / "bad.jpg").write_text("x")
    text = talk(
        photos / "red.jpg",
        f"'{photos}/my car.jpg' ",
        photos / "gone.jpg",
        photos / "bad.jpg",
        photos,
        "",
        "it's [bold]nothing[/]",
        photos / "grey.jpg",
        "help",
        "quit",
        photos / "red.jpg",
    )
    parts = text.split("photo> ")
    assert len(parts) == 1 + 10, "nothing is answered after quit"
    answers = parts[1:]
    for answer in answers[:2]:
        label, _, colour = answer.splitlines()[0].partition(", ")
        assert label in CLASSES and colour in ("red", "") and answer.count("%") == 3 and "█" in answer
        assert all(label in answer for label in CLASSES)
    assert answers[2].startswith("unreadable (no such file)") and "not a photo" in answers[3]
    assert "is a folder: name a photo" in answers[4] and answers[5] == ""
    assert answers[6].startswith("unreadable (no such file)") and answers[7].startswith("no_car (")
    assert "demo for a drawn one" in answers[8] and talk.loads == ["compact"]


def test_drawn_photos_and_the_end_of_the_input(talk):
    text = talk("demo", "DEMO", options=["--top", "2", "--threshold", "1"])
    first, second, last = text.split("photo> ")[1:]
    for answer in (first, second):
        assert answer.startswith("a drawn street with a car of the shape '")
        assert any(status in answer for status in ("unknown (", "no_car ("))
    assert first != second and last.strip() == ""


def test_a_failing_model_ends_nothing(talk, photos, monkeypatch):
    def fail(*_, **__):
        raise MemoryError("too much")

    monkeypatch.setattr("carclf.recognition.recognizer.CarRecognizer.recognize", fail)
    text = talk(photos / "red.jpg", "quit")
    assert "MemoryError: too much" in text and text.rstrip().endswith("photo>")


def test_paths_as_they_are_typed_and_dropped(tmp_path, monkeypatch):
    odd = tmp_path / "it's a 'car'.jpg"
    odd.touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert typed_path(f" {odd} ") == str(odd)
    assert typed_path('"/a b/c.jpg"') == typed_path(r"/a\ b/c.jpg") == typed_path("file:///a%20b/c.jpg") == "/a b/c.jpg"
    assert typed_path("/a b/c.jpg") == "/a b/c.jpg" and typed_path("don't.jpg") == "don't.jpg"
    assert typed_path(f"& '{odd}'") == str(odd), "as PowerShell drops it"
    assert typed_path("file:///C:/a%20b.jpg") == "C:/a b.jpg"
    assert typed_path("~/x.jpg") == str(tmp_path / "x.jpg")
