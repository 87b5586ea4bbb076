"""Whether ONNX Runtime and torch answer alike on real photos, and which is faster: the table of docs/speed.md.

    python benchmarks/engines.py FOLDER [FOLDER ...] [--every N] [--model NAME]

Each photo goes through both, detector by detector, classifier by classifier on the same cut-out, and end to end; both
compute in float32 on the CPU. The times are medians of one photo at a time, in turns.

    python benchmarks/engines.py FOLDER [FOLDER ...] --exports FLOAT INT8 [--runtime openvino]

compares two exports instead, and prints the milliseconds of each of their networks: the table of docs/export.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

_TIMED = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="folders of photos, a row each")
    parser.add_argument("--every", type=int, default=1, help="only every n-th photo (1)")
    parser.add_argument("--model", default="bundled", help="a bundled classifier (bundled)")
    parser.add_argument("--exports", type=Path, nargs=2, metavar=("FLOAT", "INT8"), help="two exports to compare")
    parser.add_argument("--runtime", default="onnx", help="that runs the bundled models or the exports (onnx)")
    arguments = parser.parse_args()
    from carclf.recognition.recognizer import CarRecognizer
    from carclf.tools.export.parity import check_parity
    from carclf.tools.export.timing import compare_times
    from detection.detectors.load import load_detector
    from detection.images.find import find_images

    every = 2**31  # classes
    if arguments.exports:
        one, other = (
            CarRecognizer(str(folder), device="cpu", top=every, runtime=arguments.runtime)
            for folder in arguments.exports
        )
        _print_parts(arguments.exports, find_images(arguments.folders[0])[:: arguments.every], arguments.runtime)
    else:
        detector = load_detector("compact", "cpu", precision="float32", runtime="torch")
        one = CarRecognizer(arguments.model, detector, "cpu", top=every, runtime="torch")
        other = CarRecognizer(arguments.model, device="cpu", top=every, runtime=arguments.runtime)
    print("| photos | same status and label | vehicles, as many | box, px | probability | mask IoU | times |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for folder in arguments.folders:
        files = find_images(folder)[:: arguments.every]
        parity = check_parity(one, other, files)
        timing = compare_times(one, other, files[:: max(1, len(files) // _TIMED)][:_TIMED])
        print(
            f"| {'/'.join(folder.parts[-2:])}: {parity.photos} | {parity.same_answers:.2%} | {parity.vehicles}, "
            f"{parity.same_vehicles:.2%} | {parity.box:.2g} | "
            f"{max(parity.answer_difference, parity.cutout_difference):.2g} | {parity.mask_iou:.4f}, mean "
            f"{parity.mean_mask_iou:.4f} | "
            f"{1e3 * timing['model']:.0f} and {1e3 * timing['export']:.0f} ms |",
            flush=True,
        )
        if parity.others:
            print(f"answered differently: {', '.join(parity.others)}")


def _print_parts(exports: list[Path], files: list[Path], runtime: str) -> None:
    """Milliseconds of each network in both exports, medians in turns over what they are given on some photos."""
    from carclf.tools.export.calibration import record_feeds
    from detection.detectors.onnx.session import open_session

    print("| network | ms in float32 | ms in int8 |\n| --- | --- | --- |")
    for name, feeds in record_feeds(exports[0], files[:: max(1, len(files) // _TIMED)][:_TIMED]).items():
        sessions = [open_session(folder / name, runtime=runtime) for folder in exports]
        times: list[list[float]] = [[], []]
        for feed in [feeds[0], *feeds, *feeds]:
            for session, taken in zip(sessions, times, strict=True):
                start = time.perf_counter()
                session.run(None, feed)
                taken.append(1e3 * (time.perf_counter() - start))
        print(f"| {name} | {median(times[0][1:]):.1f} | {median(times[1][1:]):.1f} |", flush=True)


if __name__ == "__main__":
    main()
