"""The second look at what may be a plate: its windows, what it learns from, and its answers."""

from __future__ import annotations

import numpy as np
import pytest

from detection.images.write import save_image
from detection.publishing.hiding import check
from detection.publishing.hiding.check import ROOM, SIZE, PlateCheck, window, window_width
from detection.publishing.hiding.shape import Shape
from detection.vehicle import TURNS, turned_array
from scripts.plates.candidates import matched
from scripts.plates.samples import Samples
from scripts.plates.windows import Photo

QUAD = np.array([[100, 80], [160, 82], [160, 96], [100, 94]], np.float32)


def moved(x: float, y: float) -> np.ndarray:
    return QUAD + np.array([x, y], np.float32)


def white_plate() -> np.ndarray:
    image = np.zeros((240, 360, 3), np.uint8)
    image[80:96, 100:160] = 255
    return image


@pytest.mark.parametrize("turn", TURNS)
def test_a_window_shows_the_find_upright_in_its_middle(turn):
    lying = turned_array(white_plate(), 360 - turn)
    rows, columns = np.nonzero(lying[..., 0])
    x1, x2, y1, y2 = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    find = Shape(np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32), 1.0)
    view = window(lying, find, turn)
    rows, columns = np.nonzero(view.pixels[..., 0] > 127)
    assert view.pixels.shape == (*SIZE, 3)
    assert abs(columns.mean() - SIZE[1] / 2) < 2 and abs(rows.mean() - SIZE[0] / 2) < 2
    assert np.ptp(columns) + 1 == pytest.approx(SIZE[1] / ROOM, abs=2)
    middle = view.back(np.array([SIZE[1], SIZE[0]]) / 2)
    assert np.allclose(middle, find.corners.mean(axis=0), atol=1.5)


def test_a_high_find_fits_into_its_window():
    assert window_width(10, 40) * SIZE[0] / SIZE[1] > 40 and window_width(0.5, 0.5) == 4 * ROOM


def test_finds_are_matched_with_plates():
    photo = Photo("photo", [("quad", QUAD), ("unsure", moved(0, 100))])
    near, far, unsure, between = QUAD + 3, moved(150, 0), moved(2, 101), moved(45, 0)
    found = matched(photo, np.array([near, far, unsure, between]))
    assert [one.plate for one in found] == [0, 0, None]  # the plate itself, what is near it, and what is none
    assert np.array_equal(found[2].corners, far)


def test_samples_tell_where_the_plate_is(tmp_path):
    save_image(tmp_path / "photo.png", white_plate())
    photo = Photo(tmp_path / "photo.png", [("box", QUAD.astype(float))])
    samples = Samples(np.random.default_rng(0), {"plates": matched(photo, np.array([moved(120, 60)]))})
    plates = 0
    for _ in range(80):
        pixels, is_plate, corners, is_box = samples.draw()
        assert pixels.shape == (*SIZE, 3) and pixels.dtype == np.uint8 and is_box == is_plate
        if is_plate:
            x, y = (corners.mean(axis=0) * SIZE[1] + np.array(SIZE[::-1]) / 2).astype(int)
            assert pixels[y, x].max() > 90
            plates += 1
    assert 15 < plates < 60


def test_the_network_begins_with_a_plain_plate_in_the_middle():
    import torch

    from scripts.plates.check import losses, new_check

    net = new_check().eval()
    with torch.no_grad():
        score, corners = net(torch.zeros(2, 3, *SIZE))
    assert score.tolist() == [0.5, 0.5] and corners.shape == (2, 4, 2)
    assert torch.allclose(corners[0].mean(0), torch.zeros(2), atol=1e-6)
    answer, apart = losses(
        torch.tensor([9.0, -9.0]), corners, torch.tensor([True, False]), corners, torch.zeros(2).bool()
    )
    assert answer < 0.01 and apart == 0
    answer, apart = losses(
        torch.tensor([-9.0, -9.0]), corners + 0.1, torch.tensor([True, False]), corners, torch.zeros(2).bool()
    )
    assert answer > 3 and apart > 0.5


def test_many_finds_are_looked_at_in_parts_and_in_order(monkeypatch):
    """What a find is given does not depend on the others."""
    image = np.random.default_rng(0).integers(0, 255, (120, 200, 3), np.uint8)
    finds = [Shape(moved(0, 0) * 0.5 + (4 * number, number), 0.5) for number in range(5)]
    looks = PlateCheck(threads=1)
    alone = [looks.look(image, [one], [0], 0)[0] for one in finds]
    monkeypatch.setattr(check, "_AT_ONCE", 2)
    together = looks.look(image, finds, [0] * 5, 0)
    assert [one.score for one in together] == pytest.approx([one.score for one in alone], abs=1e-5)
    assert looks.look(image, [], [], 0) == []


def test_what_looks_most_like_a_plate_is_drawn_more_often(tmp_path):
    """Of finds that are none: one is white, the others are black."""
    save_image(tmp_path / "photo.png", white_plate())
    photo = Photo(tmp_path / "photo.png", [])
    finds = [QUAD, *(moved(-90 + 30 * number, 100) for number in range(9))]
    samples = Samples(np.random.default_rng(0), {"plates": matched(photo, np.array(finds))})

    def white() -> float:
        drawn = [samples.draw() for _ in range(150)]
        assert not any(is_plate for _, is_plate, _, _ in drawn)
        return float(np.mean([np.percentile(pixels[30:50, 50:78], 90) > 120 for pixels, _, _, _ in drawn]))

    before = white()
    samples.mine(lambda windows: np.array([float(pixels[36:44, 60:68].mean()) for pixels in windows]), at_once=4)
    assert white() > before + 0.2
