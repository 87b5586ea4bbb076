"""Whether ONNX Runtime and torch answer alike on real photos, and which is faster: the table of docs/speed.md.

    python benchmarks/engines.py FOLDER [FOLDER ...] [--every N] [--model NAME]

Each photo goes through both, detector by detector, classifier by classifier on the same cut-out, and end to end; both
compute in float32 on the CPU. The times are medians of one photo at a time, in turns.
"""

from __future__ import annotations

import argparse
from pathlib import Path

_TIMED = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="folders of photos, a row each")
    parser.add_argument("--every", type=int, default=1, help="only every n-th photo (1)")
    parser.add_argument("--model", default="bundled", help="a bundled classifier (bundled)")
    arguments = parser.parse_args()
    from carclf.recognition.recognizer import CarRecognizer
    from carclf.tools.export.parity import check_parity
    from carclf.tools.export.timing import compare_times
    from detection.detectors.load import load_detector
    from detection.images.find import find_images

    every = 2**31  # classes
    detector = load_detector("compact", "cpu", precision="float32", runtime="torch")
    by_torch = CarRecognizer(arguments.model, detector, "cpu", top=every, runtime="torch")
    by_onnx = CarRecognizer(arguments.model, device="cpu", top=every, runtime="onnx")
    print("| photos | same status and label | vehicles, as many | box, px | probability | mask IoU | times |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for folder in arguments.folders:
        files = find_images(folder)[:: arguments.every]
        parity = check_parity(by_torch, by_onnx, files)
        timing = compare_times(by_torch, by_onnx, files[:: max(1, len(files) // _TIMED)][:_TIMED])
        print(
            f"| {'/'.join(folder.parts[-2:])}: {parity.photos} | {parity.same_answers:.2%} | {parity.vehicles}, "
            f"{parity.same_vehicles:.2%} | {parity.box:.2g} | "
            f"{max(parity.answer_difference, parity.cutout_difference):.2g} | {parity.mask_iou:.4f} | "
            f"{1e3 * timing['model']:.0f} and {1e3 * timing['export']:.0f} ms |",
            flush=True,
        )
        if parity.others:
            print(f"answered differently: {', '.join(parity.others)}")


if __name__ == "__main__":
    main()
