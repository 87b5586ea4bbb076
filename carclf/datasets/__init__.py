"""Labelled photos from the layouts people have: one table of file and label, perhaps split and box, and its split.

table.py    tells the layout, reads it          layouts/    how to read each layout
splits.py   which photos train and validate     copies.py   which photos are copies
boxes.py    boxes that come with photos         names.py    names of classes and files
parts.py    lists of parts by content hash      drawn/      drawn street scenes in place of data
content.py  photos known by their content       labels.py   what is odd about classes
check/      `carclf data check`                 prepare/    `carclf prepare`
"""

from carclf.datasets.layouts.folders import read_manifest
from carclf.datasets.splits import choose_split, read_split, split_table
from carclf.datasets.table import photo_root, read_table

__all__ = ["choose_split", "photo_root", "read_manifest", "read_split", "read_table", "split_table"]
