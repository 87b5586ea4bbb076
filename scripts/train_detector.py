"""Trains the compact detector: python scripts/train_detector.py CONFIG [key=value ...]."""

import typer

from carclf.cli import train_detector

if __name__ == "__main__":
    typer.run(train_detector)
