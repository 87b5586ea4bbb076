"""What the network that finds plates is trained on: its labels, its windows, and what each cell is to say."""

import numpy as np
import pytest

from detection.common.errors import UsageError
from detection.images.write import save_image
from detection.publishing.hiding.plates import HEIGHT, STRIDE, WIDTH
from scripts.label_plates import COLUMNS, read_marks
from scripts.plates.labels import read_labels, write_labels
from scripts.plates.network import PlateHead, targets
from scripts.plates.windows import Photo, Windows
from tests.folder_runs import ROOT

QUAD = np.array([[10, 20], [60, 22], [60, 40], [10, 38]], float)


def test_labels_come_back(tmp_path):
    labels = {"0" * 16: [("quad", QUAD), ("unsure", QUAD + 5)], "1" * 16: []}
    write_labels(tmp_path / "labels.csv", labels)
    back = read_labels(tmp_path / "labels.csv")
    assert back.keys() == labels.keys() and back["1" * 16] == []
    assert [kind for kind, _ in back["0" * 16]] == ["quad", "unsure"]
    assert np.array_equal(back["0" * 16][1][1], QUAD + 5)


@pytest.mark.parametrize("line", ["aa,plate,1,2,3", "aa,car,1,2,3,4,5,6,7,8", "aa,plate,a,2,3,4,5,6,7,8"])
def test_labels_that_are_none_are_told(tmp_path, line):
    (tmp_path / "labels.csv").write_text(f"sha256,kind,x1,y1,x2,y2,x3,y3,x4,y4\n{line}\n")
    with pytest.raises(UsageError, match="no list of plates"):
        read_labels(tmp_path / "labels.csv")


def test_the_labels_of_the_repository_can_be_read():
    labels = read_labels(ROOT / "data" / "plate_labels.csv")
    assert len(labels) > 5000 and sum(any(kind == "quad" for kind, _ in quads) for quads in labels.values()) > 1500


def test_marks_of_a_person():
    kinds = read_marks(f"0 N 1 2 U 3\n{COLUMNS}\n{3 * COLUMNS} N 0\n", 4 * COLUMNS + 2)
    assert kinds[:5] == ["quad", "none", "none", "unsure", "quad"] and set(kinds[5 : 2 * COLUMNS]) == {"quad"}
    assert set(kinds[2 * COLUMNS : 3 * COLUMNS]) == {"unsure"}  # a row without a line
    assert kinds[3 * COLUMNS :] == ["none"] + ["quad"] * (COLUMNS - 1) + ["none"] * 2


def test_each_cell_knows_its_plate():
    heat, counts, cells = targets([("quad", QUAD), ("unsure", QUAD + np.array([100, 60]))])
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert (row, column) == (30 // STRIDE, 35 // STRIDE) and heat.max() == 1 and (heat == 1).sum() == 1
    assert counts[int(90 / STRIDE), int(135 / STRIDE)] == 0 and counts.mean() > 0.9
    assert all(np.allclose(quad * STRIDE, QUAD) and not is_box for _, _, quad, is_box in cells) and cells


def test_windows_move_plates_with_their_photo(tmp_path):
    """White plates on black photos: what is bright in a window lies within the corners that it tells, and they are."""
    image = np.zeros((240, 360, 3), np.uint8)
    image[20:41, 10:61] = 255
    path = tmp_path / "car.png"
    save_image(path, image)
    box = np.array([[10, 20], [61, 20], [61, 41], [10, 41]], float)
    windows = Windows(np.random.default_rng(0), {"plates": [Photo(path, [("box", box)])]})
    inside = 0
    for _ in range(60):
        pixels, quads = windows.draw()
        assert pixels.shape == (HEIGHT, WIDTH, 3) and pixels.dtype == np.uint8
        for kind, quad in quads:
            x, y = quad.mean(axis=0).astype(int)
            if kind == "box" and 4 < x < WIDTH - 4 and 4 < y < HEIGHT - 4 and np.ptp(quad[:, 0]) > 16:
                assert pixels[y, x].max() > 60
                inside += 1
    assert inside > 15


def test_the_head_gives_a_score_and_corners_for_each_cell():
    import torch

    with torch.no_grad():
        heat, corners = PlateHead().eval()(torch.zeros(1, 24, 16, 32), torch.zeros(1, 40, 8, 16))
    assert heat.shape == (1, 1, 8, 16) and corners.shape == (1, 8, 8, 16)
    assert float(torch.sigmoid(heat).max()) < 0.2  # nothing is a plate to begin with
