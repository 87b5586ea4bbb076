"""Backdrops: rooms, colours, gradients, pictures; and what is none."""

from __future__ import annotations

import numpy as np
import pytest

from detection.common.errors import UsageError
from detection.images.write import save_image
from detection.publishing.studio.backdrop import _picture as pictures
from detection.publishing.studio.backdrop import backdrop, check_backdrop
from detection.publishing.studio.markets import MARKETS, market_size
from detection.publishing.studio.rooms import ROOMS
from detection.publishing.studio.style import parse_size, studio_style


@pytest.mark.parametrize("name", ROOMS)
@pytest.mark.parametrize("size", [(400, 300), (200, 400), (640, 200)])
@pytest.mark.parametrize("floor", [0.0, 0.55, 1.0])
def test_a_room_is_drawn_at_every_size(name, size, floor):
    drawn = backdrop(name, size, floor * size[1])
    assert drawn.shape == (size[1], size[0], 3) and drawn.dtype == np.uint8 and drawn.max() > 60
    assert not drawn.flags.writeable


@pytest.mark.parametrize("name", ["studio-grey", "showroom", "dusk", "concrete"])
def test_the_floor_begins_where_it_should(name):
    high, low = (backdrop(name, (400, 300), at * 300).astype(int) for at in (0.4, 0.7))
    assert np.abs(high[150] - low[150]).mean() > 8  # floor in the one, wall in the other


def test_colours_and_gradients():
    plain = backdrop("#102030", (30, 20), 12)
    assert (plain == (16, 32, 48)).all()
    fading = backdrop("white:black", (30, 20), 12)
    assert fading[0].min() >= 254 and fading[-1].max() <= 1 and (np.diff(fading[:, 0, 0].astype(int)) < 0).all()


def test_a_picture_covers_the_size_and_its_floor_comes_where_it_is_needed(tmp_path):
    picture = np.zeros((900, 800, 3), np.uint8)
    picture[540:] = 200  # its floor begins at 0.6
    file = tmp_path / "hall.png"
    save_image(file, picture)
    digest = check_backdrop(str(file), (400, 300))
    assert digest
    for floor in (150, 200):
        drawn = backdrop(str(file), (400, 300), floor, digest)
        assert drawn.shape == (300, 400, 3)
        assert abs(int(np.flatnonzero(drawn[:, 0, 0] > 100)[0]) - floor) <= 3
    told = backdrop(str(file), (400, 300), 150, digest, horizon=0.5)  # wrongly: its floor lies lower than told
    assert np.flatnonzero(told[:, 0, 0] > 100)[0] > 170


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "is neither a room nor a colour"),
        ("duskk", "did you mean dusk"),
        ("a:b:c", "is neither a room nor a colour"),
        ("#12", "is neither a room nor a colour"),
        ("no/such.png", "is neither a room nor a colour"),
        ("bad\0name", "is neither a room nor a colour"),
    ],
)
def test_what_is_no_backdrop(name, words):
    with pytest.raises(UsageError, match=words):
        studio_style(backdrop=name)


def test_a_picture_that_is_too_small_or_changes(tmp_path):
    file = tmp_path / "small.png"
    save_image(file, np.zeros((299, 400, 3), np.uint8))
    with pytest.raises(UsageError, match="is 400 x 299 pixels, smaller than the pictures"):
        studio_style("400x300", backdrop=str(file))
    style = studio_style("400x250", backdrop=str(file))
    save_image(file, np.ones((299, 400, 3), np.uint8))
    assert not backdrop(style.backdrop, (400, 250), 100, style.digest).any()  # what was checked is what is shown
    pictures.cache_clear()  # another process
    with pytest.raises(UsageError, match="has changed during the run"):
        backdrop(style.backdrop, (400, 250), 110, style.digest)


def test_marketplaces():
    assert studio_style(market="eBay").size == MARKETS["ebay"]
    for name, words in (("ebuy", "did you mean ebay"), ("autoscout", "autoscout24"), ("", "known are")):
        with pytest.raises(UsageError, match=words):
            market_size(name)
    with pytest.raises(UsageError, match="leave one out"):
        studio_style("400x300", "ebay")


@pytest.mark.parametrize("text", ["", "x", "400", "400x", "-4x400", "400x300x200", "100x400", "9000x400"])
def test_sizes_that_are_none(text):
    with pytest.raises(UsageError):
        parse_size(text)
