"""Writes a classifier or a compact detector in 8 bits, as the bundled ones are stored.

    python scripts/pack_weights.py MODEL OUT.safetensors

MODEL is a run folder or a bundled name of a classifier, or a .safetensors file of either. What the file says of itself
stays as it is; measure the new one before you rely on it. Of a detector only the largest matrix is packed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import typer


def pack(model: str, output: Path) -> None:
    from carclf.classifier.catalogue import find_model
    from carclf.classifier.checkpoint import load_model, save_model
    from detection.common.errors import UsageError
    from detection.common.networks.arrays import read_metadata
    from detection.common.networks.weights import read_safetensors
    from detection.detectors.compact.files import WEIGHTS_FORMAT, read_details
    from detection.detectors.compact.weights import save_compact

    try:
        file = find_model(model).weights
        if read_metadata(file).get("format") == WEIGHTS_FORMAT:
            tensors, metadata = read_safetensors(file)
            save_compact(tensors, output, read_details(file, metadata), eight_bits=True)
        else:
            net, info = load_model(file)
            save_model(net, info, output, eight_bits=True)
    except UsageError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error
    print(f"{file.stat().st_size / 1e6:.1f} MB became {output.stat().st_size / 1e6:.1f} MB: {output}")


if __name__ == "__main__":
    typer.run(pack)
