"""Trains the network that hides number plates, on real plates and drawn ones.

    python scripts/train_plates.py DATA [--init WEIGHTS] [--out FOLDER] [--steps 3600] [--minutes M]

DATA is a folder of data sets as data/splits names them (plates, dealer20, stanford_cars, porsche, car_masks, not_car);
`data/plate_labels.csv` says where the plates are in those that came without labels. It trains on the part *fit*,
on one core, the head alone: the blocks before it stay the detector's. `--init` starts from weights of such a network,
and `--minutes` ends it earlier, with the whole schedule in that time.
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

BATCH, RATE, DECAY = 32, 3e-3, 2e-2
WARM_UP, KEPT = 100, 0.997  # steps, and of the running mean of the weights what stays in each
SAVED_EVERY = 200


def train(
    data: Path,
    out: Annotated[Path, typer.Option(help="Where the weights go; default: beside the bundled ones.")] = ROOT
    / "detection"
    / "weights",
    steps: int = 3600,
    minutes: float = math.inf,
    labels: Annotated[Path, typer.Option(help="Where plates are in photos without labels.")] = ROOT
    / "data"
    / "plate_labels.csv",
    init: Annotated[Path | None, typer.Option(help="Weights of such a network to start from; without, random.")] = None,
    seed: int = 1,
) -> None:
    import torch
    from torch import nn

    from detection.common.networks.weights import read_safetensors
    from scripts.plates.network import PREFIX, PlateHead, Whole, compact_body, losses, targets, write
    from scripts.plates.windows import Windows, labelled_photos

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    photos = labelled_photos(data, ROOT / "data" / "splits", labels)
    print({name: (len(found), sum(len(photo.quads) for photo in found)) for name, found in photos.items()}, flush=True)
    windows = Windows(np.random.default_rng(seed), photos)
    head = PlateHead()
    if init is not None:
        given = {name.removeprefix(PREFIX): tensor for name, tensor in read_safetensors(init)[0].items()}
        head.load_state_dict(given, strict=False)  # the counters of batch norms are not in the file
    net = Whole(compact_body()[0], head).to(memory_format=torch.channels_last).eval()
    head.train()
    mean = copy.deepcopy(head).eval()
    optimizer = torch.optim.AdamW(head.parameters(), RATE, weight_decay=DECAY)
    start, seen = time.monotonic(), []
    step, done = 0, 0.0
    while done < 1:
        step += 1
        done = max(step / steps, (time.monotonic() - start) / (60 * minutes))
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, step / WARM_UP) * max(0.01, 0.5 * (1 + math.cos(math.pi * min(1, done))))
        drawn = [windows.draw() for _ in range(BATCH)]
        pixels = torch.from_numpy(np.stack([pixels for pixels, _ in drawn]))
        image = ((pixels.permute(0, 3, 1, 2).float() - 127.5) / 127.5).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            features = net.features(image)
        heat, corners = head(*features)
        focal, apart = losses(heat, corners.contiguous(), [targets(quads) for _, quads in drawn])
        optimizer.zero_grad()
        (focal + 0.6 * apart).backward()
        nn.utils.clip_grad_norm_(head.parameters(), 5.0)
        optimizer.step()
        keep = min(KEPT, step / (step + 20))
        with torch.no_grad():
            for old, new in zip(mean.state_dict().values(), head.state_dict().values(), strict=True):
                old.copy_(old * keep + new * (1 - keep) if old.is_floating_point() else new)
        seen.append((focal.item(), apart.item()))
        if step % 50 == 0 or done >= 1:
            lately = np.mean(seen[-50:], axis=0)
            spent = (time.monotonic() - start) / 60
            print(f"{step}: heat {lately[0]:.3f}, corners {lately[1]:.3f}, {spent:.1f} minutes", flush=True)
        if step % SAVED_EVERY == 0 or done >= 1:
            out.mkdir(parents=True, exist_ok=True)
            write(copy.deepcopy(mean), out)


if __name__ == "__main__":
    typer.run(train)
