"""Measures a model on labelled photos: the same as `carclf evaluate`, see `--help`."""

import sys

from carclf.cli import app

if __name__ == "__main__":
    app(["evaluate", *sys.argv[1:]], prog_name="carclf")
