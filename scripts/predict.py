"""Names the make and model of the main car of every photo: the same as `carclf predict`, see `--help`."""

import sys

from carclf.cli import app

if __name__ == "__main__":
    app(["predict", *sys.argv[1:]], prog_name="carclf")
