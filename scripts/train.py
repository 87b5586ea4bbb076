"""Trains a classifier in stages: the same as `carclf train`."""

import typer

from carclf.cli import train

if __name__ == "__main__":
    typer.run(train)
