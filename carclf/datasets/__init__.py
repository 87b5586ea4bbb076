"""Labelled photos from the layouts people have: one table of file and label, perhaps split and box, and its split.

table.py    which layout it is       folders.py   a folder per class, also one that stage 1 wrote
lists.py    csv files                devkit.py    Stanford's .mat files       archive.py   zip files
splits.py   train and val            pictures.py  which photos are copies     found.py     where the listed photos lie
"""

from carclf.datasets.layouts.folders import read_manifest
from carclf.datasets.splits import choose_split, read_split, split_table
from carclf.datasets.table import photo_root, read_table

__all__ = ["choose_split", "photo_root", "read_manifest", "read_split", "read_table", "split_table"]
