"""Prints a detector's figures on the photos that a training config holds out.

python scripts/evaluate_detector.py configs/detector/compact.yaml data=FOLDER [--detector compact] [--weights FILE]
"""

import json
import sys
from typing import Annotated

import typer


def evaluate(
    config: str,
    overrides: Annotated[list[str] | None, typer.Argument()] = None,
    detector: str = "compact",
    weights: str | None = None,
    score_threshold: float | None = None,
) -> None:
    from detection.errors import UsageError

    try:
        from detection.mask_rcnn import load_detector
        from detection.training import evaluate_held_out

        loaded = load_detector(detector, "auto", weights, score_threshold)
        print(json.dumps(evaluate_held_out(loaded, config, overrides or []), indent=2))
    except UsageError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(evaluate)
