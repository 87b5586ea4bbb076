"""Trains a classifier in stages: the same as `carclf train CONFIG [key=value ...]`."""

import sys

from carclf.cli import app

if __name__ == "__main__":
    app(["train", *sys.argv[1:]], prog_name="carclf")
