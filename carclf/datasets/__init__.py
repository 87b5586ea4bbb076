"""Labelled photos from the layouts people have: one table of file and label, perhaps split and box, and its split.

table.py    tells the layout, reads it          layouts/    how to read each layout
splits.py   which photos train and validate     copies.py   which photos are copies
boxes.py    boxes that come with photos         names.py    names of classes and files
parts.py    lists of parts by content hash      drawn/      drawn street scenes in place of data
content.py  photos known by their content       labels.py   what is odd about classes
check/      `carclf data check`                 prepare/    `carclf prepare`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detection.common.lazy import hand_on

if TYPE_CHECKING:
    from carclf.datasets.layouts.folders import read_manifest
    from carclf.datasets.splits import choose_split, read_split, split_table
    from carclf.datasets.table import photo_root, read_table

_HOMES = {
    "choose_split": "carclf.datasets.splits",
    "photo_root": "carclf.datasets.table",
    "read_manifest": "carclf.datasets.layouts.folders",
    "read_split": "carclf.datasets.splits",
    "read_table": "carclf.datasets.table",
    "split_table": "carclf.datasets.splits",
}
__all__ = ["choose_split", "photo_root", "read_manifest", "read_split", "read_table", "split_table"]

# What only reads names of files must not wait for pandas.
__getattr__, __dir__ = hand_on(__name__, _HOMES)
