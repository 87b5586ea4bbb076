"""Trains the network that has a second look at what may be a number plate.

    python scripts/train_plate_check.py DATA [--out FOLDER] [--minutes 60] [--init WEIGHTS]

DATA is a folder of data sets as data/splits names them; `data/plate_labels.csv` says where the plates are in those that
came without labels. The network that looks for plates proposes, here from a low score on: what it finds in photos of
the part *fit* teaches which finds are plates and which are none. It takes one core. OUT/finds.npz keeps the finds.
With --init half of those that are none are drawn from what the given weights take for plates most.
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

BATCH, RATE, BODY, DECAY, DROPOUT = 64, 1e-3, 0.4, 2e-2, 0.2  # BODY: the rate of the blocks, compared with the rest
WARM_UP, KEPT = 60, 0.996  # steps, and of the running mean of the weights what stays in each
CORNERS = 0.25  # the weight of their loss beside that of the answer
SAVED_EVERY = 200


def train(
    data: Path,
    out: Annotated[Path, typer.Option(help="Where the weights go; default: beside the bundled ones.")] = ROOT
    / "detection"
    / "weights",
    minutes: float = 60,
    steps: int = 1_000_000,
    labels: Annotated[Path, typer.Option(help="Where plates are in photos without labels.")] = ROOT
    / "data"
    / "plate_labels.csv",
    init: Annotated[Path | None, typer.Option(help="Weights of such a network to start from.")] = None,
    rate: float = RATE,
    seed: int = 1,
) -> None:
    import torch
    from torch import nn

    from detection.common.networks.weights import read_safetensors
    from scripts.plates.candidates import candidates_in
    from scripts.plates.check import PREFIX, losses, new_check, pixels_in, write_check
    from scripts.plates.samples import Samples
    from scripts.plates.windows import labelled_photos

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    candidates = candidates_in(labelled_photos(data, ROOT / "data" / "splits", labels), out / "finds.npz")
    for name, some in candidates.items():
        print(f"{name}: {len(some)} finds, {sum(one.plate is not None for one in some)} of them plates", flush=True)
    samples = Samples(np.random.default_rng(seed), candidates)
    net = new_check().to(memory_format=torch.channels_last)
    if init is not None:
        given = {name.removeprefix(PREFIX): tensor for name, tensor in read_safetensors(init)[0].items()}
        net.load_state_dict(given, strict=False)  # the counters of batch norms are not in the file
        net.eval()
        with torch.no_grad():
            samples.mine(lambda windows: net(pixels_in(windows))[0].numpy())
    net.train()
    mean = copy.deepcopy(net).eval()
    head = [*net.narrow.parameters(), *net.hidden.parameters(), *net.out.parameters()]
    body = [*net.stem.parameters(), *net.bn.parameters(), *net.blocks.parameters()]
    groups = [{"params": head, "rate": rate}, {"params": body, "rate": rate * BODY}]
    optimizer = torch.optim.AdamW(groups, rate, weight_decay=DECAY)
    start, seen, step, done = time.monotonic(), [], 0, 0.0
    while done < 1:
        step += 1
        done = max(step / steps, (time.monotonic() - start) / (60 * minutes))
        for group in optimizer.param_groups:
            fall = max(0.01, 0.5 * (1 + math.cos(math.pi * min(1, done))))
            group["lr"] = group["rate"] * min(1, step / WARM_UP) * fall
        windows, plates, quads, boxes = zip(*(samples.draw() for _ in range(BATCH)), strict=True)
        is_plate, is_box = torch.tensor(plates), torch.tensor(boxes)
        logits, corners = net.logits(pixels_in(windows), DROPOUT)
        answer, apart = losses(logits, corners, is_plate, torch.from_numpy(np.stack(quads)), is_box)
        optimizer.zero_grad()
        (answer + CORNERS * apart).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        keep = min(KEPT, step / (step + 20))
        with torch.no_grad():
            for old, new in zip(mean.parameters(), net.parameters(), strict=True):
                old.copy_(old * keep + new * (1 - keep))
        right = ((logits > 0) == is_plate).float().mean().item()
        seen.append((answer.item(), apart.item(), right))
        if step % 50 == 0 or done >= 1:
            lately, spent = np.mean(seen[-50:], axis=0), (time.monotonic() - start) / 60
            print(
                f"{step}: answer {lately[0]:.3f}, corners {lately[1]:.3f}, right {lately[2]:.3f}, {spent:.1f} minutes",
                flush=True,
            )
        if step % SAVED_EVERY == 0 or done >= 1:
            out.mkdir(parents=True, exist_ok=True)
            write_check(copy.deepcopy(mean), out)


if __name__ == "__main__":
    typer.run(train)
