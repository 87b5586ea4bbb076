"""Fetches a model-zoo model's weights as safetensors, to carry to a machine without network.

python scripts/fetch_zoo_weights.py COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x OUT.safetensors
"""

import sys
from pathlib import Path

import typer


def fetch(name: str, output: Path) -> None:
    from detection.common.errors import UsageError
    from detection.detectors.zoo.download import fetch_zoo_weights

    try:
        print(fetch_zoo_weights(name, output))
    except UsageError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(fetch)
