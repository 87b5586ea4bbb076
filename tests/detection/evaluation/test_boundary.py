"""The F-score of edges."""

import numpy as np
import pytest

from detection.evaluation.boundary import boundary_f_score


def block(shape=(512, 512), rows=(100, 300), columns=(100, 400)):
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


@pytest.mark.parametrize(
    ("truth", "mask", "expected"),
    [
        (block(), block(), 1.0),
        (block(), block(rows=(102, 302), columns=(102, 402)), 1.0),  # 2 px off
        (block(), block(rows=(105, 305), columns=(105, 405)), 0.0),  # 5 px off: only the crossings agree
        (block(), np.zeros((512, 512), bool), 0.0),
        (np.zeros((512, 512), bool), block(), 0.0),
        (np.zeros((512, 512), bool), np.zeros((512, 512), bool), 1.0),
        (np.ones((512, 512), bool), np.ones((512, 512), bool), 1.0),  # the frame is no edge
        (block(columns=(0, 512)), block(columns=(0, 512)), 1.0),
    ],
)
def test_boundary_f_score(truth, mask, expected):
    assert boundary_f_score(truth, mask) == pytest.approx(expected, abs=0.03)


def test_half_of_the_edge_right_is_half():
    # The same block, but its right half ends 40 px lower and further: upper left edges agree.
    truth, longer = block(rows=(100, 200), columns=(100, 400)), block(rows=(100, 300), columns=(100, 400))
    # Agreeing: top 300, sides 100 each of 800; the longer one has 1000.
    expected = 2 * (502 / 800) * (502 / 1000) / (502 / 800 + 502 / 1000)
    assert boundary_f_score(truth, longer) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("shape", [(128, 128), (2048, 1024), (300, 700)])
def test_two_pixels_mean_two_at_512_whatever_the_size(shape):
    height, width = shape
    scale = max(shape) / 512
    truth = block(shape, (height // 4, height * 3 // 4), (width // 4, width * 3 // 4))
    near, far = (np.roll(truth, round(pixels * scale), axis=0) for pixels in (1, 8))
    assert boundary_f_score(truth, near) > 0.99
    assert boundary_f_score(truth, far) < 0.7


def test_what_matters_is_symmetric_and_shapes_must_agree():
    truth, mask = block(), block(rows=(90, 350))
    assert boundary_f_score(truth, mask) == pytest.approx(boundary_f_score(mask, truth))
    with pytest.raises(ValueError, match="different shapes"):
        boundary_f_score(truth, mask[:-1])
