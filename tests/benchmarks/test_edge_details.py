"""What counts as a kept aerial, mirror or wheel, and the file that says where they are."""

import json

import numpy as np

from benchmarks.edge_details import DETAILS, ENOUGH, line, shares_of


def test_a_share_is_what_the_cutout_has_of_the_things_alpha():
    truth = np.zeros((40, 60), np.uint8)
    truth[10:30, 20:40], truth[2:10, 30] = 255, 128
    alpha = np.where(np.arange(40)[:, None] >= 6, truth, 0).astype(np.uint8)
    shares = shares_of(truth, alpha, {"aerial": [[29, 2, 32, 10]], "mirror": [[20, 10, 30, 30], [0, 0, 5, 5]]})
    assert shares == {"aerial": [0.5], "mirror": [1.0, 0.0]}
    wider = np.full_like(truth, 255)  # what is too much does not make up for what is missing
    assert shares_of(truth, wider, {"aerial": [[29, 2, 32, 10]]}) == {"aerial": [1.0]}


def test_the_line_that_is_printed():
    assert line("mirror", [0.9, 0.7]) == "mirror: 1 of 2 kept (at least 0.8 of each), 0.80 of them in the mean"
    assert line("aerial", []).startswith("aerial: 0 of 0 kept")


def test_the_file_holds_boxes_in_photos():
    details = json.loads(DETAILS.read_text())
    assert len(details) > 40
    for name, kinds in details.items():
        assert name.split("/")[0] in ("dealer20", "porsche") and kinds and kinds.keys() <= ENOUGH.keys()
        for x1, y1, x2, y2 in (box for boxes in kinds.values() for box in boxes):
            assert x1 < x2 <= 300 and y1 < y2 <= 260, name
    assert json.dumps(details) == json.dumps(dict(sorted(details.items())))
