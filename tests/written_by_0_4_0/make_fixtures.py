"""Makes the fixtures in this folder with carclf 0.4.0 (commit 0558251), and with no other version.

    git clone REPOSITORY old && cd old && git checkout 0558251      # and install it, with onnx, as its README says
    PYTHON old/.../make_fixtures.py OLD TARGET                      # root's rights, as it works in a folder /@ROOT@

Everything is made in a folder called /@ROOT@, so that this is what the files have where a path belongs, and no path of
the machine; the test puts its own folder there. Nothing that the program wrote is edited; what is left out of it is in
`LEFT_OUT`. Runs that "were stopped" were ended by SIGKILL, at a moment that `KILL` names.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path("/@ROOT@")
TIME = 1_700_000_000  # the photos' time of modification, which journals note
COLOURS = {"blue": (40, 60, 210), "green": (40, 180, 60), "red": (210, 40, 40)}

TRAINING = """\
name: tiny
data: /@ROOT@/training/photos
crops: true
output: {output}
workers: 0
threads: 1
progress: false
tensorboard: false
precision: float32
device: cpu
deterministic: true
validation: 0.25
seed: {seed}
split_seed: 1
cutout: {{background: gray}}
model: {{architecture: test_efficientnet, pretrained: none, image_size: 32, head: {{dropout: 0.2}}}}
stages:
  last: {{train: blocks.4, epochs: 12, optimizer: sgd, learning_rate: 0.1, backbone_factor: 1.0, batch_size: 4,
         image_size: 32, schedule: cosine, warmup: 0.2, augmentation: 0.3, stop_patience: 3}}
"""

# Bottlenecks of a few channels, and no norms: a whole Mask R-CNN of some 10 000 parameters.
SMALL_DETECTOR = """\
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
  MASK_ON: true
  WEIGHTS: ""
  BACKBONE: {NAME: build_resnet_fpn_backbone}
  RESNETS: {DEPTH: 50, OUT_FEATURES: [res5], STEM_OUT_CHANNELS: 4, RES2_OUT_CHANNELS: 4, NUM_GROUPS: 1,
            WIDTH_PER_GROUP: 2, NORM: ""}
  FPN: {IN_FEATURES: [res5], OUT_CHANNELS: 8}
  ANCHOR_GENERATOR: {SIZES: [[32], [64]]}
  RPN: {IN_FEATURES: [p5, p6], POST_NMS_TOPK_TEST: 20}
  ROI_HEADS: {NAME: StandardROIHeads, IN_FEATURES: [p5]}
  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 1, FC_DIM: 16, POOLER_RESOLUTION: 7}
  ROI_MASK_HEAD: {NAME: MaskRCNNConvUpsampleHead, NUM_CONV: 1, CONV_DIM: 8, POOLER_RESOLUTION: 14}
INPUT: {MIN_SIZE_TEST: 64, MAX_SIZE_TEST: 96}
"""
DETECTOR_TRAINING = """\
output: {output}
model: /@ROOT@/detector/small.yaml
init: random
unfrozen: [boxes, masks]
sources: [{{name: drawn, images: /@ROOT@/detector/photos, annotations: /@ROOT@/detector/masks.json}}]
scenes: {{sizes: [[64, 96]]}}
steps: 8
steps_per_epoch: 4
batch_size: 2
learning_rate: 0.003
backbone_learning_rate: 0.003
warmup_steps: 1
ema: 0.6
workers: 0
validate_every: 100
checkpoint_minutes: 1.0e-6
precision: float32
device: cpu
short_side: 64
long_side: 96
"""

# Where the runs that were stopped end.
KILL = {
    # In the seventh epoch, after its first batch. The fifth is the best; three later the stage stops early.
    "train": """
from carclf.training.run_log import EpochLog
real = EpochLog.on_train_batch_end
def batch(self, trainer, *rest):
    real(self, trainer, *rest)
    if trainer.current_epoch == 6:
        os.kill(os.getpid(), signal.SIGKILL)
EpochLog.on_train_batch_end = batch
""",
    # In the sixth of eight steps, in the second epoch; each step leaves a checkpoint.
    "train-detector": """
from detection.training_module import DetectorModule
real = DetectorModule.training_step
def step(self, *rest):
    if self.global_step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *rest)
DetectorModule.training_step = step
""",
    # When the rows of three photos are written.
    "predict": """
from carclf.journal import RowJournal
real, count = RowJournal.add, []
def add(self, *rest):
    place = real(self, *rest)
    count.append(1)
    if len(count) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return place
RowJournal.add = add
""",
    "clean": """
from detection.journal import Journal
real, count = Journal.append, []
def append(self, record):
    real(self, record)
    count.append(1)
    if len(count) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
Journal.append = append
""",
    "": "",
}
QUIET = "import os, signal, socket, sys\nsocket.gethostname = lambda: 'example'\n"  # no name of this machine
CLEAN = """
from pathlib import Path
from detection import CutoutStyle, clean_folder
from tests.fakes import FakeDetector
clean_folder(Path(sys.argv[1]), Path(sys.argv[2]), FakeDetector(), CutoutStyle(), batch_size=1, workers=1,
             progress=False, save_detections='save' in sys.argv)
"""

# What is large: of the export the networks of the bundled detector (20 MB) and of the test of cars (19 MB), and the
# pictures; of the finished run the stage's weights, which are those of best.safetensors in full precision.
LEFT_OUT = (
    "export/detector_*.onnx",
    "export/car_check.onnx",
    "ensemble/validation",
    "ensemble/members",
    "training/finished/stages",
    "training/finished/report.html",
    "training/finished/curves.png",
    "training/finished/validation/*.png",
    "training/finished/validation/*.jpg",
    "detector/stopped/tensorboard",
)


def run(code: str, *arguments: object, kill: str = "", answers: tuple[int, ...] = (0,)) -> str:
    """Runs code of 0.4.0 in a process of its own; with `kill` it has to end by that."""
    done = subprocess.run(
        [sys.executable, "-c", QUIET + KILL[kill] + code, *map(str, arguments)], cwd=old, capture_output=True, text=True
    )
    expected = (-9,) if kill else answers
    if done.returncode not in expected:
        sys.exit(f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    print(*arguments[:2], *done.stderr.splitlines()[-1:], sep=": ")
    return done.stdout


def carclf(*arguments: object, kill: bool = False, answers: tuple[int, ...] = (0,)) -> str:
    code = "sys.argv[0] = 'carclf'\nfrom carclf.cli import main\nmain()\n"
    return run(code, *arguments, kill=str(arguments[0]) if kill else "", answers=answers)


def put(path: Path, image) -> None:
    """As PNG, which every library decodes to the same pixels, unless the suffix says JPEG."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1])
    os.utime(path, (TIME, TIME))


def draw_training() -> None:
    """A box on a ground for each of 3 classes; its colour is not quite what the class says."""
    import cv2
    import numpy as np

    random = np.random.default_rng(4)
    for name, colour in COLOURS.items():
        for number in range(9):
            image = np.full((40, 60, 3), random.integers(90, 200, 3), np.uint8)
            left, top = (int(value) for value in random.integers(4, 16, 2))
            mixed = (np.array(colour) * random.uniform(0.5, 1) + random.integers(0, 100, 3)).clip(0, 255)
            cv2.rectangle(image, (left, top), (left + 30, top + 18), mixed.astype(int).tolist(), -1)
            put(ROOT / "training" / "photos" / name / f"{number}.png", image)


def make_training() -> None:
    draw_training()
    folder = ROOT / "training"
    config = folder / "config.yaml"
    for name, seed, kill in (("finished", 1, False), ("stopped", 1, True), ("second", 2, False)):
        config.write_text(TRAINING.format(output=folder / name, seed=seed))
        carclf("train", config, kill=kill)
    config.unlink()
    carclf("combine", folder / "finished", folder / "second", "--output", ROOT / "ensemble")
    shutil.rmtree(folder / "second")
    carclf("export", folder / "finished", "--output", ROOT / "export", "--limit", 2)


def draw_cars() -> None:
    """Eight photos below cleaning/photos: six with a car for `FakeDetector`, one without, one that is no photo."""
    import numpy as np

    from tests.fakes import draw_car

    folder = ROOT / "cleaning" / "photos"
    for number, colour in enumerate([*COLOURS.values()] * 2):
        box = (20 + 3 * number, 30, 90, 60 + 2 * number)
        put(folder / ("a" if number < 3 else "b") / f"{number}.png", draw_car(colour, box=box))
    put(folder / "grey.png", np.full((96, 128, 3), 128, np.uint8))
    (folder / "no-photo.jpg").write_bytes(b"this is no photo")
    os.utime(folder / "no-photo.jpg", (TIME, TIME))


def make_cleaning() -> None:
    draw_cars()
    folder = ROOT / "cleaning"
    run(CLEAN, folder / "photos", folder / "finished", "save")
    # A run over the folder as it was before, which ended with its manifest, and one over all of it that did not.
    shutil.move(folder / "photos" / "b", folder / "b")
    run(CLEAN, folder / "photos", folder / "stopped")
    shutil.move(folder / "b", folder / "photos" / "b")
    for name in ("a/0.jpg", "grey.jpg"):  # two of its files have gone since
        (folder / "stopped" / name).unlink()
    run(CLEAN, folder / "photos", folder / "stopped", kill="clean")


def make_compact() -> None:
    """By the bundled detector, on the command line."""
    import numpy as np

    from carclf.demo.scenes import draw_scene

    folder = ROOT / "compact"
    put(folder / "photos" / "street.jpg", draw_scene("sedan", np.random.default_rng([7, 0]), (240, 320)).image)
    carclf("clean", folder / "photos", folder / "finished", "--save-detections", "--device", "cpu")


def make_prediction() -> None:
    folder = ROOT / "prediction"
    photos, found = ROOT / "cleaning" / "photos", ROOT / "cleaning" / "finished" / "detections.jsonl"
    common = ("predict", photos, "--model", ROOT / "training" / "finished", "--detections", found, "--batch-size", 1)
    carclf(*common, "--output", folder / "undisturbed.csv", answers=(3,))
    (folder / "undisturbed.csv.partial.jsonl").unlink()  # it stays as one photo could not be read
    carclf(*common, "--output", folder / "stopped.csv", kill=True)


def make_detector() -> None:
    import numpy as np
    from pycocotools import mask as coco_mask

    folder = ROOT / "detector"
    random = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(8):
        photo, mask = np.full((60, 80, 3), random.integers(0, 90, 3), np.uint8), np.zeros((60, 80), np.uint8)
        if index < 6:
            x, y = random.integers(2, 30), random.integers(2, 20)
            mask[y : y + 30, x : x + 44] = 1
            photo[mask > 0] = (220, 60, 60)
            rle = coco_mask.encode(np.asfortranarray(mask))
            rle["counts"] = rle["counts"].decode()
            annotations.append({"id": index, "image_id": index, "segmentation": rle, "category_id": 1, "iscrowd": 0})
        images.append({"id": index, "file_name": f"{index}.png", "height": 60, "width": 80})
        put(folder / "photos" / f"{index}.png", photo)
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]}
    (folder / "masks.json").write_text(json.dumps(content))
    (folder / "small.yaml").write_text(SMALL_DETECTOR)
    for name, kill in (("undisturbed", False), ("stopped", True)):
        config = folder / "training.yaml"
        config.write_text(DETECTOR_TRAINING.format(output=folder / name))
        carclf("train-detector", config, kill=kill)
    for file in ("model.safetensors", "model.yaml"):
        shutil.move(folder / "undisturbed" / file, folder / file)
    shutil.rmtree(folder / "undisturbed")


ANSWERS = """
import json
from pathlib import Path
from carclf import CarRecognizer
root = Path(sys.argv[1])
photos = sorted((root / "training" / "photos").rglob("*.png"))
answers = {}
for name in ("training/finished", "ensemble", "export"):
    found = CarRecognizer(str(root / name), crops=True, device="cpu", top=3)(photos)
    answers[name] = {str(one.relative_to(root)): [list(pair) for pair in it.top] for one, it in zip(photos, found)}
(root / "answers.json").write_text(json.dumps(answers, indent=1) + "\\n")
"""


def make_answers() -> None:
    """What 0.4.0 makes of the training photos with each of its classifiers."""
    run(ANSWERS, ROOT)


if __name__ == "__main__":
    old, target = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    sys.path.insert(0, str(old))
    if ROOT.exists():
        sys.exit(f"{ROOT} is in the way.")
    ROOT.mkdir()
    try:
        for make in (make_training, make_cleaning, make_compact, make_prediction, make_detector, make_answers):
            make()
        for pattern in LEFT_OUT:
            for path in ROOT.glob(pattern):
                print(f"left out: {path.relative_to(ROOT)} ({path.stat().st_size} bytes)")
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(ROOT, target, dirs_exist_ok=True)
    finally:
        shutil.rmtree(ROOT)
