"""`carclf data export` and `carclf data import`: labelled photos and results in other programs' formats.

record.py   what all formats are read into       shapes.py   masks as polygons and as runs
source.py   labelled data and results read       guards.py   what a stranger's file may not do
files.py    photos found and brought             exchange.py the two verbs
formats/    one file per format
"""
