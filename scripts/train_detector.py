"""Trains a detector: the same as `carclf train-detector CONFIG [key=value ...]`."""

import sys

from carclf.cli import app

if __name__ == "__main__":
    app(["train-detector", *sys.argv[1:]], prog_name="carclf")
