"""Covering a quadrilateral: what is hidden, and that all else stays."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from carclf.commands.options import HIDE_MARGIN
from carclf.commands.publish import FACE_THRESHOLD, HIDE_THRESHOLD
from detection.common.errors import UsageError
from detection.publishing.hiding.cover import HideStyle, cover, grow, hide_style

SLANTED = np.array([[40, 30], [100, 40], [98, 62], [38, 50]], np.float32)


def stripes(channels: int = 3, dtype=np.uint8) -> np.ndarray:
    """Letters of a kind: black and white stripes, four pixels wide."""
    row = np.where(np.arange(140) // 4 % 2, np.iinfo(dtype).max, 0).astype(dtype)
    return np.repeat(np.tile(row, (90, 1))[..., None], channels, axis=2)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("way", ["blur", "mosaic", "fill"])
def test_nothing_of_the_letters_is_left_and_the_rest_stays(way, dtype, channels):
    image = stripes(channels, dtype)
    before = image.copy()
    cover(image, SLANTED, HideStyle(way=way, margin=0))
    changed = (image != before).any(axis=2)
    inside = np.zeros(changed.shape, bool)
    inside[44:48, 42:96] = True  # surely in the shape
    assert (np.abs(np.diff(image[46, 44:94].astype(int), axis=0)) < np.iinfo(dtype).max * 0.25).all()
    assert changed[inside].mean() > (0.4 if way == "fill" else 0.95)
    assert (
        not changed[:28].any() and not changed[66:].any() and not changed[:, :35].any() and not changed[:, 104:].any()
    )


def test_a_pale_plate_is_seen_to_be_hidden():
    for level in (10, 128, 245):
        image = np.full((90, 140, 3), level, np.uint8)
        cover(image, SLANTED, HideStyle())
        assert abs(int(image[46, 70, 0]) - level) > 12


def test_the_margin_grows_with_the_height_and_never_shrinks():
    box = np.array([[10, 10], [50, 10], [50, 20], [10, 20]], float)
    assert grow(box, 0.5).tolist() == [[5, 5], [55, 5], [55, 25], [5, 25]]
    assert grow(box, 0).tolist() == [[9, 9], [51, 9], [51, 21], [9, 21]]


def test_shapes_beyond_the_frame_and_bent_ones_are_covered_too():
    image = stripes()
    before = image.copy()
    cover(image, SLANTED - (60, 45), HideStyle())
    assert (image != before)[:10, :30].any(axis=2).mean() > 0.6
    cover(image, SLANTED + 500, HideStyle())  # wholly outside
    crossed = SLANTED[[0, 2, 1, 3]]
    before = image.copy()
    cover(image, crossed, HideStyle(margin=0))
    assert (image != before)[44:48, 50:90].any(axis=2).mean() > 0.9


def logo(path, mode="RGBA", size=(64, 32)):
    Image.new(mode, size, (255, 0, 0, 255)[: len(mode)]).save(path)
    return str(path)


def test_a_logo_lies_on_the_plate_in_perspective(tmp_path):
    image = np.full((90, 140, 3), 200, np.uint8)
    cover(image, SLANTED, hide_style("plates", logo=logo(tmp_path / "logo.png"), margin=0))
    red = (image[..., 0] > 220) & (image[..., 1] < 60)
    rows, columns = np.nonzero(red)
    assert 200 < red.sum() < 900 and abs(columns.mean() - 69) < 3 and abs(rows.mean() - 45.5) < 3
    left, right = rows[columns < 60].mean(), rows[columns > 78].mean()
    assert right > left + 2  # it slants as the plate does


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"what": "hands"}, "'hands' can't be hidden: known is plates, faces"),
        ({"what": ""}, "can't be hidden"),
        ({"way": "paint"}, "way"),
        ({"way": "logo"}, "belong together"),
        ({"margin": -1}, "margin"),
        ({"metadata": "some"}, "metadata"),
        ({"logo": "nowhere.png"}, "can't be read"),
    ],
)
def test_wrong_styles_are_one_sentence(values, words):
    with pytest.raises(UsageError, match=words):
        hide_style(**{"what": "plates", **values})


def test_a_logo_needs_transparency(tmp_path):
    with pytest.raises(UsageError, match="no transparency"):
        hide_style("plates", logo=logo(tmp_path / "logo.png", "RGB"))
    with pytest.raises(UsageError, match="4 x 4 pixels"):
        hide_style("plates", logo=logo(tmp_path / "small.png", size=(4, 4)))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UsageError, match="can't be read"):
        hide_style("plates", logo=str(tmp_path / "text.png"))


def test_the_command_has_the_defaults_of_the_style():
    style = HideStyle()
    assert (style.margin, style.threshold) == (HIDE_MARGIN, HIDE_THRESHOLD)
    assert style.face_threshold == FACE_THRESHOLD
