"""Trains what names the colour of a car's paint, or measures it on the photos that report.

python scripts/train_colour.py DATA [--report] [--seed 1] [--output carclf/weights/colour.safetensors]

DATA is the folder of the data sets: `porsche` with the dealers' words in its labels.csv, and `stanford_cars` with the
words in data/splits/colours.csv, which were given by eye. Training fits to `fit`, and chooses temperature and least
confidence on `choose`; figures of `choose` are printed for every light. With --report nothing is trained: the figures
are those of the photos that report, which are to be looked at once per version.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from carclf.recognition.colour.pixels import FEATURES, vehicle_pixels, vehicle_view
from carclf.recognition.colour.reader import COLOURS, WORDS, ColourReader
from detection.images.exposure import expose
from detection.images.read import load_image
from detection.masks.parts import CHOOSE, FIT, REPORT, file_digest, read_parts

SPLITS = Path(__file__).resolve().parent.parent / "data" / "splits"
# Photos in other light: dealers' photos are made at noon, on white or on a clean yard.
LIGHTS: dict[str, dict[str, float]] = {
    "as it is": {},
    "darker": {"gamma": 1.5},
    "brighter": {"gamma": 0.7},
    "warm": {"warmth": 0.12},
    "cold": {"warmth": -0.10},
    "dusk": {"gamma": 1.25, "gain": 0.7, "warmth": -0.08},
    "warm dusk": {"gamma": 1.25, "gain": 0.75, "warmth": 0.12},
}
PIXELS, LOOKS, EPOCHS, BATCH, RATE, DECAY, SMOOTHING = 256, 5, 40, 48, 4e-3, 0.02, 0.05
HIDDEN, HEADS, MIXED = 32, 4, 24
# Words with few photos learn from cars painted anew: word, of which word, hue turned by degrees, chroma times, yellower
# by, gamma of the light, every which photo.
PAINTED = (
    ("purple", "blue", 40, 0.9, 0, 1.0, 3),
    ("green", "yellow", 45, 0.8, 0, 1.2, 1),
    ("green", "blue", -120, 0.8, 0, 1.0, 4),
    ("brown", "orange", 5, 0.45, 0, 1.5, 1),
    ("beige", "yellow", -8, 0.3, 0, 0.9, 3),
)
# Plain paints in RGB, for drawn cars: what is rare on the road is still to be called by its name.
PLAIN = {
    "white": (232, 233, 235),
    "silver": (165, 167, 170),
    "grey": (95, 97, 100),
    "black": (20, 20, 22),
    "red": (180, 22, 28),
    "blue": (28, 64, 155),
    "green": (30, 105, 50),
    "yellow": (235, 195, 30),
    "orange": (228, 110, 22),
    "brown": (88, 56, 38),
    "beige": (198, 176, 138),
    "purple": (92, 38, 118),
}
DRAWN = 20  # of each
EVERY = ColourReader({})  # names every car, however unsure
SILVER, GREY = WORDS.index("silver"), WORDS.index("grey")


@dataclass(frozen=True)
class View:
    """A car seen small, its word, and what it belongs together with."""

    rgb: np.ndarray
    mask: np.ndarray
    word: str
    group: str
    source: str


def labelled(data: Path, wanted: set[str]) -> Iterator[tuple[str, Path, str, str, str]]:
    """(data set, photo, its part, word, group) of the photos of these parts."""
    parts = read_parts(SPLITS / "porsche.csv")
    for row in _rows(data / "porsche" / "labels.csv"):
        path = data / "porsche" / "images" / row["file"]
        part = parts.get(file_digest(path))
        if row["colour"].lower() in WORDS and part in wanted:
            yield "porsche", path, part, row["colour"].lower(), row["advert"]
    words = {row["sha256"]: row for row in _rows(SPLITS / "colours.csv")}
    for path in sorted((data / "stanford_cars" / "images").rglob("*.jpg")):
        row = words.get(file_digest(path), {})
        if row.get("part") in wanted:
            yield "stanford_cars", path, row["part"], row["colour"], row["sha256"]


def views_of(data: Path, wanted: set[str]) -> dict[str, list[View]]:
    """Part -> its cars, as the chain finds them; those in which none is found are left out."""
    from carclf.recognition.recognizer import CarRecognizer
    from detection.cutout.extract import detector_view
    from detection.vehicle import resize_vehicle

    recognizer = CarRecognizer(threads=1, colour=False)
    assert recognizer.finder is not None
    views: dict[str, list[View]] = {part: [] for part in wanted}
    for source, path, part, word, group in labelled(data, wanted):
        photo = load_image(path)
        seen = detector_view(photo)
        found = recognizer.finder.find([seen])
        (finding,) = recognizer.finder.decide([partial(np.asarray, seen)], found, recognizer.kinds, False)
        if not isinstance(finding, Exception) and finding.choice.main is not None:
            vehicle = resize_vehicle(finding.choice.main, photo.shape[:2])
            views[part].append(View(*vehicle_view(expose(photo), vehicle), word, group, source))
    return views


def lit(rgb: np.ndarray, gamma: float = 1.0, gain: float = 1.0, warmth: float = 0.0) -> np.ndarray:
    """The view in another light."""
    values = (rgb.astype(np.float32) / 255) ** gamma * gain * np.array([1 + warmth, 1, 1 - warmth], np.float32)
    return np.clip(values * 255, 0, 255).astype(np.uint8)


def painted(view: View, word: str, turn: float, chroma: float, yellower: float, gamma: float) -> View:
    """The car in another colour; its surroundings stay."""
    lab = cv2.cvtColor(lit(view.rgb, gamma).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    a, b, angle = lab[..., 1].copy(), lab[..., 2].copy(), np.radians(turn)
    lab[..., 1] = (a * np.cos(angle) - b * np.sin(angle)) * chroma
    lab[..., 2] = (a * np.sin(angle) + b * np.cos(angle)) * chroma + yellower * np.clip(lab[..., 0] / 60, 0, 1)
    rgb = np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255, 0, 255).astype(np.uint8)
    return replace(view, rgb=np.where(view.mask[..., None], rgb, view.rgb), word=word)


def drawn(word: str, rng: np.random.Generator) -> View:
    """A plain car from the side: a shaded body with glass, tyres, lamps and a highlight, on any ground."""
    size = int(rng.integers(90, 150)), 256
    foot, left, right = int(size[0] * 0.86), int(rng.integers(15, 30)), int(rng.integers(226, 241))
    belt, roof = int(foot * rng.uniform(0.42, 0.55)), int(foot * rng.uniform(0.12, 0.25))
    rgb = np.full((*size, 3), rng.integers(70, 255), np.uint8)
    mask = np.zeros(size, np.uint8)
    cabin = np.array([[left + 50, belt], [left + 85, roof], [right - 75, roof], [right - 35, belt]])
    nose = np.array([[left, foot], [left, belt + 12], [left + 20, belt + 4]])
    body = np.concatenate([nose, cabin, [[right, belt + 6], [right, foot]]]).astype(np.int32)
    cv2.fillPoly(mask, [body], 1)
    paint = np.clip(np.array(PLAIN[word]) * rng.uniform(0.88, 1.12) + rng.normal(0, 4, 3), 4, 250)
    shade = np.interp(np.arange(size[0]), [roof, belt, foot], [rng.uniform(1, 1.2), 1, rng.uniform(0.5, 0.9)])
    car = np.clip(paint * shade[:, None, None], 0, 255) * np.ones((1, size[1], 1))
    rgb[mask > 0] = car.astype(np.uint8)[mask > 0]
    pane = (cabin - cabin.mean(axis=0)) * (0.85, 0.75) + cabin.mean(axis=0)
    glass = rng.integers(25, 200) + rng.integers(-20, 20, 3)
    cv2.fillPoly(rgb, [pane.astype(np.int32)], glass.tolist())
    cv2.line(rgb, (left + 8, belt + 10), (right - 8, belt + 10), (250, 250, 250), 1)
    for x in (left + 40, right - 42):
        cv2.circle(rgb, (x, foot), 15, (26, 26, 27), -1)
        cv2.circle(rgb, (x, foot), 8, (150, 152, 154), -1)
        cv2.circle(mask, (x, foot), 15, 1, -1)
    return View(rgb, mask.astype(bool), word, "drawn", "drawn")


def train(views: list[View], seed: int) -> dict[str, np.ndarray]:
    """The network's weights by name."""
    import torch
    from torch import nn

    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    more = [
        painted(view, word, *how)
        for word, of, *how, step in PAINTED
        for view in [view for view in views if view.word == of][:: int(step)]
    ]
    more += [drawn(word, rng) for word in WORDS for _ in range(DRAWN)]
    looks, words = [], []
    for number, view in enumerate([*views, *more]):
        for look in range(LOOKS if number < len(views) else LOOKS // 2):
            light = {"gain": rng.uniform(0.7, 1.15), "gamma": np.exp(rng.uniform(-0.45, 0.45))}
            light["warmth"] = rng.normal(0, 0.07)
            pixels = vehicle_pixels(lit(view.rgb, **light) if look else view.rgb, view.mask)
            if pixels is not None:
                chosen = rng.choice(len(pixels), PIXELS, replace=len(pixels) < PIXELS)
                looks.append(pixels[chosen].astype(np.float16))
                words.append(WORDS.index(view.word))
    x, y = torch.from_numpy(np.stack(looks)), torch.tensor(words)
    print(f"{len(views)} photos, {len(more)} painted anew or drawn, {len(x)} looks", flush=True)
    sizes = {
        "first": (FEATURES, HIDDEN),
        "second": (HIDDEN, HIDDEN),
        "attention": (HIDDEN, HEADS),
        "mixed": (HIDDEN * HEADS, MIXED),
        "words": (MIXED, len(WORDS)),
    }
    net = nn.ModuleDict({name: nn.Linear(*size) for name, size in sizes.items()})
    drop = nn.Dropout(0.2)
    count = torch.bincount(y, minlength=len(WORDS)).clamp(min=1)
    weight = (count.float().mean() / count).clamp(0.6, 2.5)[y]
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.15)
    loss_of = nn.CrossEntropyLoss(reduction="none", label_smoothing=SMOOTHING)
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in torch.randperm(len(x)).split(BATCH):
            seen = torch.relu(net["second"](torch.relu(net["first"](x[batch].float()))))
            mean = torch.einsum("bnh,bnk->bkh", seen, net["attention"](seen).softmax(1)).flatten(1)
            scores = net["words"](drop(torch.relu(net["mixed"](drop(mean)))))
            loss = (loss_of(scores, y[batch]) * weight[batch]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        print(f"epoch {epoch + 1}: loss {total / len(x):.4f}", flush=True)
    return {name: value.detach().numpy().astype(np.float16) for name, value in net.state_dict().items()}


def looked_at(reader: ColourReader, views: list[View], light: dict[str, float]) -> np.ndarray:
    """float [N, words]; of a car that is too small all are alike."""
    even = np.full(len(WORDS), 1 / len(WORDS))
    seen = (reader.probabilities(lit(view.rgb, **light) if light else view.rgb, view.mask) for view in views)
    return np.stack([even if row is None else row for row in seen])


def answers(probabilities: np.ndarray, views: list[View]) -> tuple[np.ndarray, np.ndarray]:
    """Of each car whether the best word is right, with silver and grey as one, and its confidence."""
    told = [EVERY.told(row) for row in probabilities]
    right = [_alike(one.word or "") == _alike(view.word) for one, view in zip(told, views, strict=True)]
    return np.array(right), np.array([one.confidence for one in told])


def calibrated(arrays: dict[str, np.ndarray], views: list[View]) -> tuple[float, float]:
    """Temperature and least confidence: the temperature by the likelihood in all lights, with silver and grey as one;
    below the least confidence fewer than half of the answers are right."""
    plain = ColourReader({name: value.astype(np.float32) for name, value in arrays.items()})
    seen = np.concatenate([looked_at(plain, views, light) for light in LIGHTS.values()])
    words = np.array([WORDS.index(view.word) for view in views] * len(LIGHTS))
    truth = np.where(words == GREY, SILVER, words)

    def at(temperature: float) -> np.ndarray:
        powers = seen ** (1 / temperature)
        powers /= powers.sum(axis=1, keepdims=True)
        powers[:, SILVER] += powers[:, GREY]
        powers[:, GREY] = 0
        return powers

    rows = np.arange(len(truth))
    temperature = min(np.linspace(0.4, 3, 53), key=lambda one: -np.log(at(one)[rows, truth] + 1e-9).mean())
    together = at(temperature)
    right, confidence = together.argmax(axis=1) == truth, together.max(axis=1)
    steps = np.arange(0.2, 0.61, 0.02)
    bad = [one for one in steps if (near := np.abs(confidence - one) < 0.05).sum() >= 20 and right[near].mean() < 0.5]
    return round(float(temperature), 3), round(float(max(bad, default=0.2)), 2)


def tell(reader: ColourReader, views: list[View]) -> None:
    """Prints the figures of each data set in each light, and the confusion table."""
    rng = np.random.default_rng(1)
    for source in sorted({view.source for view in views}):
        mine = [view for view in views if view.source == source]
        groups = sorted({view.group for view in mine})
        place = np.array([groups.index(view.group) for view in mine])
        print(f"\n{source}: {len(mine)} photos of {len(groups)} groups, least confidence {reader.least}")
        for light, how in LIGHTS.items():
            probabilities = looked_at(reader, mine, how)
            right, confidence = answers(probabilities, mine)
            sums, sizes = np.bincount(place, right), np.bincount(place)
            drawn = rng.integers(0, len(groups), (2000, len(groups)))
            low, high = np.percentile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [2.5, 97.5])
            named = confidence >= reader.least
            print(
                f"{light:10} accuracy {right.mean():.3f} ({low:.3f} to {high:.3f}); named {named.mean():.3f}, "
                f"right of these {right[named].mean():.3f}; mean confidence {confidence.mean():.3f}"
            )
        told = [EVERY.told(row).word for row in looked_at(reader, mine, {})]
        print(f"{'truth':8}", *(f"{word[:6]:>6}" for word in WORDS))
        for word in WORDS:
            counts = [sum(t == other and v.word == word for t, v in zip(told, mine, strict=True)) for other in WORDS]
            if sum(counts):
                print(f"{word:8}", *(f"{count or '.':>6}" for count in counts))
    start = time.process_time()
    for view in views[:100]:
        reader.probabilities(view.rgb, view.mask)
    print(f"\n{(time.process_time() - start) * 1000 / len(views[:100]):.1f} ms of one core per car, without the view")


def main() -> int:
    parser = argparse.ArgumentParser(description="Trains or measures what names the colour of a car's paint.")
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--report", action="store_true", help="measure on the photos that report, train nothing")
    parser.add_argument("--seed", type=int, default=1, help="of the training (1)")
    parser.add_argument("--output", type=Path, default=COLOURS, help="the weights' file")
    args = parser.parse_args()
    if args.report:
        tell(ColourReader.load(args.output), views_of(args.data, {REPORT})[REPORT])
        return 0
    views = views_of(args.data, {FIT, CHOOSE})
    fit_and_write(views[FIT], views[CHOOSE], args.seed, args.output)
    return 0


def fit_and_write(fit: list[View], choose: list[View], seed: int, output: Path) -> None:
    """Trains on the ones, calibrates on the others, writes the file and prints the figures of the others."""
    from safetensors.numpy import save

    from detection.common.files import replace_file

    arrays = train(fit, seed)
    temperature, least = calibrated(arrays, choose)
    about = {"words": ",".join(WORDS), "temperature": str(temperature), "least": str(least)}
    replace_file(output, save(arrays, metadata=about))
    print(f"temperature {temperature}, least confidence {least}, written to {output}")
    tell(ColourReader.load(output), choose)


def _alike(word: str) -> str:
    return "grey" if word == "silver" else word


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    sys.exit(main())
