"""Trains the network that corrects the guided edge of cut-outs, on photos whose cars' alpha is known.

    python scripts/train_edge.py DATA [--out FOLDER] [--init WEIGHTS] [--steps 4000] [--minutes M]

DATA is a folder with dealer20/ (images and alpha), car_masks/ and not_car/ (photos without cars, which are set behind
cars). It trains on the part *fit*, on one core, from random weights or those that `--init` names. `--minutes` ends it
earlier, with the whole schedule in that time.
"""

from __future__ import annotations

import copy
import math
import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

BATCH, RATE, DECAY = 16, 3e-3, 1e-2
WARM_UP, KEPT = 100, 0.995  # steps, and of the running mean of the weights what stays in each
LEAST_AGREEMENT = 0.85  # IoU of mask and cut-out: below it one of them shows another car
SAVED_EVERY = 200


def train(
    data: Path,
    out: Annotated[Path, typer.Option(help="Where the weights go; default: beside the bundled ones.")] = ROOT
    / "detection"
    / "weights",
    steps: int = 4000,
    minutes: float = math.inf,
    init: Annotated[Path | None, typer.Option(help="Weights of such a network to start from; without, random.")] = None,
    seed: int = 1,
) -> None:
    import torch
    from torch import nn

    from benchmarks.soft_cutouts import soft_cutouts
    from detection.common.networks.weights import read_safetensors
    from scripts.edges.network import PREFIX, EdgeNet, loss, write
    from scripts.edges.patches import Patches

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    cutouts = [one for one in soft_cutouts(data, "fit") if one.agreement >= LEAST_AGREEMENT]
    behind = backgrounds(data)
    print(f"{len(cutouts)} cars, {len(behind)} photos without cars", flush=True)
    patches = Patches(np.random.default_rng(seed), cutouts, behind)
    net = EdgeNet()
    if init is not None:
        given = {name.removeprefix(PREFIX): tensor for name, tensor in read_safetensors(init)[0].items()}
        net.load_state_dict(given, strict=False)  # the counters of batch norms are not in the file
    net = net.to(memory_format=torch.channels_last).train()
    mean = copy.deepcopy(net).eval()
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    start, seen = time.monotonic(), []
    step, done = 0, 0.0
    while done < 1:
        step += 1
        done = max(step / steps, (time.monotonic() - start) / (60 * minutes))
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, step / WARM_UP) * max(0.01, 0.5 * (1 + math.cos(math.pi * min(1, done))))
        drawn = [patches.draw() for _ in range(BATCH)]
        image, alpha, weights = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
        image = image.contiguous(memory_format=torch.channels_last)
        error = loss(net(image), alpha, weights)
        optimizer.zero_grad()
        error.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        keep = min(KEPT, step / (step + 20))
        with torch.no_grad():
            for old, new in zip(mean.state_dict().values(), net.state_dict().values(), strict=True):
                old.copy_(old * keep + new * (1 - keep) if old.is_floating_point() else new)
        seen.append((error.item(), loss(image[:, 4:], alpha, weights).item()))
        if step % 50 == 0 or done >= 1:
            lately = np.mean(seen[-50:], axis=0)
            spent = (time.monotonic() - start) / 60
            print(f"{step}: error {lately[0]:.4f}, guided {lately[1]:.4f}, {spent:.1f} minutes", flush=True)
        if step % SAVED_EVERY == 0 or done >= 1:
            out.mkdir(parents=True, exist_ok=True)
            write(copy.deepcopy(mean), out)


def backgrounds(data: Path) -> list[np.ndarray]:
    """Photos without cars (RGB uint8, longer side 480) of the part *fit*."""
    import json

    from detection.images.read import load_image, shrink
    from detection.masks.parts import FIT, part_of, read_parts

    folder = data / "car_masks"
    records = json.loads((folder / "negatives.json").read_text())["images"]
    found = [("car_masks", folder / "images" / record["file_name"]) for record in records]
    found += [("not_car", file) for file in sorted((data / "not_car").rglob("*.*")) if file.suffix != ".json"]
    lists = {name: read_parts(ROOT / "data" / "splits" / f"{name}.csv") for name in ("car_masks", "not_car")}
    return [shrink(load_image(file), 480) for name, file in found if part_of(file, lists[name]) == FIT]


if __name__ == "__main__":
    typer.run(train)
