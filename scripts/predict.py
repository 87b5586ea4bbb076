"""Names the make and model of the main car of every photo: the same as `carclf predict`, see `--help`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout without an installation too

from carclf.cli import app

if __name__ == "__main__":
    app(["predict", *sys.argv[1:]], prog_name="carclf")
