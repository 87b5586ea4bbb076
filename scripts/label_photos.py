"""Writes COCO masks for unlabelled photos, where several looks of a detector agree.

python scripts/label_photos.py IMAGES OUT.json [--every N] [--stretch 1.3333] [--but-not FOLDER_OF_MASKS]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from detection.common.errors import UsageError


def main() -> int:
    parser = argparse.ArgumentParser(description="Masks for unlabelled photos, to train a detector on.")
    parser.add_argument("images", type=Path, help="folder of photos")
    parser.add_argument("target", type=Path, help="COCO file to write")
    parser.add_argument("--every", type=int, default=1, help="only every n-th photo (1)")
    parser.add_argument("--stretch", type=float, default=1.0, help="width factor of photos stored squeezed (1)")
    parser.add_argument("--but-not", type=Path, help="leave out photos with a .png of the same name in this folder")
    parser.add_argument("--agreement", type=float, default=0.97, help="least IoU of each look with their mean (0.97)")
    parser.add_argument("--detector", default="compact", help="the detector that labels (compact)")
    parser.add_argument("--weights", type=Path, help="weights for it")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    args = parser.parse_args()
    from detection.common.console import tracked
    from detection.detectors.load import load_detector
    from detection.training.pseudo_labels import label_folder

    def has_mask(relative: str) -> bool:
        return args.but_not is not None and (args.but_not / relative).with_suffix(".png").is_file()

    try:
        # Below its usual threshold: a vehicle that one look is sure of and another is not must not be overlooked.
        # By torch, which can look at photos in other sizes than the detector's own.
        detector = load_detector(
            args.detector, device=args.device, weights=args.weights, score_threshold=0.7, runtime="torch"
        ).without_check
        kept, seen = label_folder(
            detector,
            args.images,
            args.target,
            every=args.every,
            stretch=args.stretch,
            least_agreement=args.agreement,
            skip=has_mask,
            track=tracked("labelling"),
        )
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{kept} of {seen} photos: their masks are in {args.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
