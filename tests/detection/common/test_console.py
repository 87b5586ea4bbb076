from detection.common.console import photo_bar, tracked, untracked


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
