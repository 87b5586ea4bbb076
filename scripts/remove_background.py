"""Removes the backgrounds of a folder of photos: the same as `carclf clean IN OUT [options]`."""

import sys

from carclf.cli import app

if __name__ == "__main__":
    app(["clean", *sys.argv[1:]], prog_name="carclf")
