import subprocess
import sys

from detection.common.console import photo_bar, progress_line, tracked, untracked
from tests.conftest import ROOT


def test_a_stream_comes_through_a_track_unchanged(capsys):
    for track in (untracked, tracked("looking")):
        assert list(track(iter("abc"), 3)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")  # a bar is drawn on a terminal only


def test_a_track_takes_one_thing_at_a_time():
    taken = []
    through = tracked("looking")((taken.append(number) or number for number in range(3)), 3)
    assert taken == []
    assert next(iter(through)) == 0 and taken == [0]


def test_a_bar_counts_without_a_known_total():
    with photo_bar("looking", None) as advance:
        assert advance() is None


def test_without_a_terminal_there_is_a_plain_line_now_and_then(capsys):
    with photo_bar("looking", 3, done=1, interval=0.0) as advance:
        advance()
        advance()
    out, err = capsys.readouterr()
    first, second = err.splitlines()
    assert out == "" and first.startswith("2 of 3, ") and second.startswith("3 of 3, ")
    assert second.endswith("photos/s, about 0 s left")
    for options in ({"interval": 60.0}, {"shown": False, "interval": 0.0}):
        with photo_bar("looking", 3, **options) as advance:
            advance()
        assert capsys.readouterr() == ("", "")


def test_without_a_terminal_nothing_is_imported_to_draw():
    code = (
        "import sys; from detection.common.console import photo_bar\n"
        "with photo_bar('looking', 3): pass\n"
        "with photo_bar('looking', 3, shown=False): pass\n"
        "assert not any(name.startswith('rich') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stderr=subprocess.PIPE)


def test_the_line_says_speed_and_time_left():
    assert progress_line(1200, 50_000, 1200, 226.4) == "1,200 of 50,000, 5.3 photos/s, about 2.6 h left"
    assert progress_line(40_000, 50_000, 100, 10.0).endswith("10.0 photos/s, about 17 min left")
    assert progress_line(1200, None, 1200, 60.0) == "1,200 photos, 20.0 photos/s"
