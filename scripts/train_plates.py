"""Trains the network that hides number plates, on real plates and drawn ones.

    python scripts/train_plates.py DATA [--out FOLDER] [--minutes 6] [--again 10]

DATA is a folder of data sets as data/splits names them (plates, car_masks, dealer20, stanford_cars, not_car). First
come `--minutes` of training in which photos with unlabelled plates teach only their drawn ones. What the network then
finds in them is labelled (surely a plate: learnt; perhaps: passed over), and `--again` minutes follow. `--wrong FILE`
names finds by their rank, one a line, that a person saw to be none: OUT/finds.png shows them.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cv2
import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

if TYPE_CHECKING:
    from scripts.plates.network import PlateHead
    from scripts.plates.windows import Window

SPLITS = Path(__file__).parents[1] / "data" / "splits"
EACH = 22  # windows of a photo with labelled plates
COUNTS = {"car_masks": 1100, "nothing": 420, "dealer20": 450, "stanford_cars": 2186}
BATCH, RATE = 32, 3e-3
REAL = 12  # windows of a batch that are of real plates
SURE, PERHAPS = 300, 850  # finds in unlabelled photos, the surest first, that are learnt and that are passed over


def train(
    data: Path,
    out: Annotated[Path, typer.Option(help="Where the weights go; default: beside the bundled ones.")] = Path(
        "detection/weights"
    ),
    minutes: float = 6,
    again: float = 10,
    wrong: Annotated[Path | None, typer.Option(help="Ranks of finds that are no plates, one a line.")] = None,
    seed: int = 1,
) -> None:
    import torch

    from scripts.plates.network import PlateHead, write

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    windows = _windows(rng, data)
    print(f"{len(windows)} windows, {sum(len(window.quads) for window in windows)} plates", flush=True)
    features = _features(windows)
    head = PlateHead().to(memory_format=torch.channels_last)
    head = _fit(head, windows, features, minutes, rng)
    _label(head, windows, features, out, {int(line) for line in wrong.read_text().split()} if wrong else set())
    head = _fit(head, windows, features, again, rng)
    write(head, out)


def _windows(rng: np.random.Generator, data: Path) -> list[Window]:
    from detection.masks.parts import part_of, read_parts
    from scripts.plates.windows import drawn_windows, real_windows

    textures: list[np.ndarray] = []
    windows = list(real_windows(rng, data, SPLITS, EACH, textures))
    masks, nothing = data / "car_masks", []
    cars = []
    for name in ("hand", "auto", "coco_vehicles", "street", "negatives"):
        found = json.loads((masks / f"{name}.json").read_text())
        files = {image["id"]: masks / "images" / image["file_name"] for image in found["images"]}
        nothing += [(path, None) for path in files.values() if name == "negatives"]
        boxes = [(files[one["image_id"]], one["bbox"]) for one in found["annotations"]]
        cars += [(path, (x, y, x + w, y + h)) for path, (x, y, w, h) in boxes if w >= 70]
    parts = read_parts(SPLITS / "car_masks.csv") | read_parts(SPLITS / "not_car.csv")
    nothing += [(path, None) for path in sorted((data / "not_car").glob("*/*")) if path.is_file()]
    sets = {"car_masks": cars, "nothing": nothing}
    for name in ("dealer20", "stanford_cars"):
        parts |= read_parts(SPLITS / f"{name}.csv")
        sets[name] = [(path, None) for path in sorted((data / name / "images").rglob("*.jpg"))]
    for name, count in COUNTS.items():
        fit = [one for one in sets[name] if part_of(one[0], parts) == "fit"]
        chosen = [fit[index % len(fit)] for index in _some(rng, len(fit), count)]
        windows += drawn_windows(rng, chosen, textures, cars=name != "nothing")
    return windows


def _some(rng: np.random.Generator, there: int, wanted: int) -> np.ndarray:
    rounds = -(-wanted // there)
    return np.concatenate([rng.permutation(there) for _ in range(rounds)])[:wanted]


def _features(windows: Sequence[Window]) -> tuple[np.ndarray, np.ndarray]:
    """What the backbone, which is not trained, makes of each window: float16, strides 4 and 8."""
    import torch

    from scripts.plates.network import PlateHead, Whole, compact_body

    net = Whole(compact_body()[0], PlateHead()).eval()
    fine, coarse = [], []
    with torch.no_grad():
        for window in windows:
            image = (window.pixels.astype(np.float32) - 127.5) / 127.5
            c2, c3 = net.features(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()))
            fine.append(c2[0].half().numpy())
            coarse.append(c3[0].half().numpy())
    return np.stack(fine), np.stack(coarse)


def _fit(
    head: PlateHead,
    windows: Sequence[Window],
    features: tuple[np.ndarray, np.ndarray],
    minutes: float,
    rng: np.random.Generator,
) -> PlateHead:
    """Trains for so long; returns the mean over the last steps."""
    import copy

    import torch
    from torch import nn

    from scripts.plates.network import losses, targets

    wanted = [targets(window.quads, window.labelled) for window in windows]
    real = np.array([number for number, window in enumerate(windows) if window.real])
    others = np.array([number for number, window in enumerate(windows) if not window.real])
    optimizer = torch.optim.AdamW(head.parameters(), RATE, weight_decay=1e-2)
    mean = copy.deepcopy(head)
    start, step, done = time.monotonic(), 0, 0.0
    while done < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 60) * max(0.02, 0.5 * (1 + math.cos(math.pi * done)))
        chosen = np.concatenate([rng.choice(real, REAL), rng.choice(others, BATCH - REAL)])
        given = [torch.from_numpy(part[chosen].astype(np.float32)) for part in features]
        head.train()
        with torch.autocast("cpu", torch.bfloat16):
            heat, corners = head(*(part.to(memory_format=torch.channels_last) for part in given))
        focal, apart = losses(heat.float(), corners.float().contiguous(), [wanted[number] for number in chosen])
        optimizer.zero_grad()
        (focal + 0.6 * apart).backward()
        nn.utils.clip_grad_norm_(head.parameters(), 5.0)
        optimizer.step()
        step += 1
        keep = min(0.995, step / (step + 20))
        with torch.no_grad():
            for old, new in zip(mean.state_dict().values(), head.state_dict().values(), strict=True):
                old.copy_(old * keep + new * (1 - keep) if old.is_floating_point() else new)
        done = (time.monotonic() - start) / (60 * max(minutes, 1e-9))
        if step % 50 == 0 or done >= 1:
            print(f"{step}: heat {focal.item():.3f}, corners {apart.item():.3f}", flush=True)
    return mean


def _label(
    head: PlateHead, windows: Sequence[Window], features: tuple[np.ndarray, np.ndarray], out: Path, wrong: set[int]
) -> None:
    """Labels windows that may hold unlabelled plates by what was learnt."""
    import torch
    import torch.nn.functional as F

    from detection.publishing.hiding.plates import STRIDE

    finds: list[tuple[float, int, np.ndarray]] = []
    head.eval()
    for number, window in enumerate(windows):
        if window.labelled:
            continue
        with torch.no_grad():
            heat, corners = head(*(torch.from_numpy(part[number : number + 1].astype(np.float32)) for part in features))
        heat = torch.sigmoid(heat)
        for _, _, row, column in ((heat == F.max_pool2d(heat, 3, 1, 1)) & (heat > 0.15)).nonzero().tolist():
            quad = (corners[0, :, row, column].view(4, 2).numpy() + np.array([column + 0.5, row + 0.5])) * STRIDE
            middle = quad.mean(axis=0)
            known = (np.abs(middle - one.mean(axis=0)) < np.ptp(one, axis=0) / 2 + 6 for _, one in window.quads)
            if not any(near.all() for near in known):
                finds.append((float(heat[0, 0, row, column]), number, quad))
    finds.sort(key=lambda find: -find[0])
    out.mkdir(parents=True, exist_ok=True)
    _show(windows, finds[:SURE], out / "finds.png")
    for rank, (_, number, quad) in enumerate(finds[:PERHAPS]):
        if rank not in wrong:
            windows[number].quads.append(("quad" if rank < SURE else "ignore", quad))
    for window in windows:
        window.labelled = True


def _show(windows: Sequence[Window], finds: Sequence[tuple[float, int, np.ndarray]], file: Path) -> None:
    cells = []
    for rank, (_, number, quad) in enumerate(finds):
        (x1, y1), (x2, y2) = quad.min(axis=0), quad.max(axis=0)
        scale = 42 / (1.25 * max(x2 - x1, 1.7 * (y2 - y1), 14))
        shift = np.array([42, 26]) - scale * np.array([(x1 + x2) / 2, (y1 + y2) / 2])
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        cell = cv2.warpAffine(windows[number].pixels[..., ::-1], matrix, (84, 52))
        cv2.polylines(cell, [np.int32(quad * scale + shift)], True, (0, 255, 0), 1)
        cv2.putText(cell, str(rank), (1, 50), cv2.FONT_HERSHEY_SIMPLEX, 0.32, (0, 255, 255), 1)
        cells.append(cell)
    cells += [np.zeros((52, 84, 3), np.uint8)] * (-len(cells) % 20)
    if cells:
        cv2.imwrite(str(file), np.vstack([np.hstack(cells[row : row + 20]) for row in range(0, len(cells), 20)]))


if __name__ == "__main__":
    typer.run(train)
