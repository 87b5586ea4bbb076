"""Measures a model on labelled photos: the same as `carclf evaluate`, see `--help`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout without an installation too

from carclf.cli import app

if __name__ == "__main__":
    app(["evaluate", *sys.argv[1:]], prog_name="carclf")
