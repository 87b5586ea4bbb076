"""Writes the ONNX graphs that stand beside the bundled weights, for running them without torch.

    python scripts/write_graphs.py [FOLDER]        # default: beside the weights, as they are committed

To be run again whenever the bundled weights have other networks, shapes or sizes of photos; their values, thresholds
and classes' names don't matter. Needs torch, Detectron2, onnx and onnxscript. Each graph is up to 0.4 MB.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def write(folder: Annotated[Path | None, typer.Argument(help="Where to write them all.")] = None) -> None:
    from carclf.classifier.checkpoint import load_model
    from carclf.tools.export.network import export_classifier
    from carclf.weights import BUNDLED, bundled_file, graph_of
    from detection.detectors.compact.files import compact_weights
    from detection.detectors.onnx.export import write_graphs

    detector = compact_weights()
    write_graphs(detector, folder or detector.parent)
    for name in BUNDLED:
        graph = graph_of(bundled_file(name))
        net, info = load_model(bundled_file(name))
        export_classifier(net, info, (folder or graph.parent) / graph.name, weights=False)


if __name__ == "__main__":
    typer.run(write)
