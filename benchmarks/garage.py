"""How well new models are learnt from a few photos, what that costs the known ones, and how unknown cars are grouped.

    python benchmarks/garage.py DATA [--cars porsche] [--model stanford196] [--part choose] [--rounds 8] [--cache FILE]
    python benchmarks/garage.py DATA --cars held-out --model RUN [--part both] [--crops CROPS/keep]

DATA is a folder with porsche/, dealer20/ and stanford_cars/, whose photos data/splits lists. No network of stanford196
was trained on the first two. --cars says which are the new ones: of dealer20 each photo counts as an advert, and the
family is the make; of held-out, too, where the new ones are the classes of stanford196 that RUN was trained without
(benchmarks/held_out.py says how).
Each round shuffles the adverts of each class: the first ones teach with one photo each. --part choose teaches with the
photos of fit and asks with those of choose, by which methods may be compared. --part report asks with those of report,
and teaches with the others; it is to be run once per version. --part both asks with both, and teaches with fit. The
known cars are those of stanford196's list. The prior of the model is made from photos of fit, so no advert that asks
has a part in it. --crops takes cut-outs of stanford_cars that a training has made, which saves the detector.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from carclf.classifier.catalogue import find_model
from carclf.classifier.garage import discriminant
from carclf.classifier.garage.prior import Prior
from carclf.datasets.parts import read_parts
from carclf.recognition.recognizer import CarRecognizer
from carclf.tools.garage.groups import group
from detection.common.files import file_sha256, replace_file
from detection.common.machine import threads_for_many

ROOT = Path(__file__).resolve().parents[1]
SHOTS = (1, 2, 5, 10)
BATCH = 64
RAISED = (-0.02, -0.01, 0.01, 0.02, 0.03, 0.04)  # how far the border of new cars is moved, for the trade-off
ASKED = {"choose": ("choose",), "report": ("report",), "both": ("choose", "report")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--cars", choices=("porsche", "dealer20", "held-out"), default="porsche")
    parser.add_argument("--model", default="stanford196")
    parser.add_argument("--part", choices=tuple(ASKED), default="choose")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--cache", type=Path, help="keeps the vectors, for further runs with the same model")
    parser.add_argument("--crops", type=Path, help="of held-out: a folder with cut-outs of stanford_cars")
    arguments = parser.parse_args()
    if arguments.crops and arguments.cars != "held-out":
        raise SystemExit("--crops has stanford_cars alone: it goes with --cars held-out.")
    recognizer = CarRecognizer(arguments.model, crops=arguments.crops is not None, threads=threads_for_many())
    prior = find_model(arguments.model).prior(recognizer.classifier)
    new, known = cars(arguments, recognizer)
    print(f"{arguments.model}, {arguments.part}: {len(new)} photos of {new['class'].nunique()} new models, "
          f"{len(known)} photos of known ones")  # fmt: skip
    print("\n| photos each | method | right | 95 % | family | known cars lose, points | n |")
    print("| ---: | --- | ---: | --- | ---: | ---: | ---: |")
    for shots in SHOTS:
        for name, answer in methods(prior).items():
            if name == "learn" or (shots == 5 and arguments.part != "report"):
                print(row(shots, name, answer, new, known, arguments), flush=True)
    print("\n| groups of | apart | groups | adjusted Rand index | purity |\n| --- | ---: | ---: | ---: | ---: |")
    asked = new[new["asks"]]
    for what in ("class", "family"):
        for apart in (0.28, 0.32, 0.36, 0.40, 0.44, 0.50):
            numbers = group(np.stack(asked["vector"].tolist()), apart)
            index, purity = agreement(numbers, asked[what].factorize()[0])
            print(f"| {what} | {apart} | {numbers.max() + 1} | {index:.3f} | {purity:.3f} |")


def cars(arguments: argparse.Namespace, recognizer: CarRecognizer) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Columns class, asks, known (float32 [C]), vector and mirrored (float32 [F]); new ones have advert and family."""
    folder, asked = arguments.data, ASKED[arguments.part]
    known = listed(folder / "stanford_cars", "stanford196", arguments.crops)
    ours = known["class"].isin(recognizer.classes)
    new = known[~ours] if arguments.cars == "held-out" else listed(folder / arguments.cars, arguments.cars)
    if not len(new):
        raise SystemExit(f"'{arguments.model}' was trained with all classes: --model takes a run that was held out.")
    new = new[new["part"].isin({"fit", "choose", *asked})].reset_index(drop=True)
    known = known[ours & known["part"].isin(asked)].reset_index(drop=True)
    if "advert" not in new:
        new["advert"] = new["file"]
    new["asks"], new["family"] = new["part"].isin(asked), family(new["class"], arguments)
    arrays = vectors([*new["file"], *known["file"]], recognizer, arguments.cache)
    for table, places in ((new, slice(None, len(new))), (known, slice(len(new), None))):
        for name, values in arrays.items():
            table[name] = list(values[places])
    return tuple(
        table[[not np.isnan(v).any() for v in table["vector"]]].reset_index(drop=True) for table in (new, known)
    )  # type: ignore[return-value]


def family(names: pd.Series, arguments: argparse.Namespace) -> pd.Series:
    return names.str.split().str[1 if arguments.cars == "porsche" else 0]


def listed(folder: Path, splits: str, crops: Path | None = None) -> pd.DataFrame:
    """The photos of a list: file, class, part. crops: a folder with their cut-outs, which then are the files."""
    table = pd.read_csv(folder / "labels.csv")
    photos = [folder / "images" / file for file in table["file"]]
    parts = read_parts(ROOT / "data" / "splits" / f"{splits}.csv")
    table["part"] = [parts.get(file_sha256(file).hex()[:16]) for file in photos]
    table["file"] = [str(crops / file) for file in table["file"]] if crops else [str(file) for file in photos]
    return table[table["part"].notna()].reset_index(drop=True)


def vectors(files: Sequence[str], recognizer: CarRecognizer, cache: Path | None) -> dict[str, np.ndarray]:
    """known, vector and mirrored of each photo; NaN where there is no car. cache: keeps them."""
    key = hashlib.sha256("\n".join([recognizer.classifier.fingerprint, *files]).encode()).hexdigest()
    if cache is not None and cache.is_file():
        kept = np.load(cache)
        if str(kept["key"]) == key:
            return {name: kept[name] for name in ("known", "vector", "mirrored")}
    size = recognizer.classifier.predict_and_embed([])[1].shape[1]
    found = {"known": [], "vector": [], "mirrored": []}
    answers = recognizer.recognize_fully(files, pictures=True, vectors=True)
    while batch := list(islice(answers, BATCH)):
        named = [seen.cutout is not None and seen.vector is not None for seen in batch]
        turned = [np.ascontiguousarray(seen.cutout[:, ::-1]) for seen, one in zip(batch, named, strict=True) if one]
        mirrored = iter(recognizer.classifier.predict_and_embed(turned)[1])
        for seen, one in zip(batch, named, strict=True):
            values = [np.full(len(recognizer.classes), np.nan), *[np.full(size, np.nan)] * 2]
            if one:
                values = [seen.probabilities, seen.vector, next(mirrored)]
            for rows, value in zip(found.values(), values, strict=True):
                rows.append(np.asarray(value, np.float32))
        print(f"  {len(found['known'])} of {len(files)} photos", flush=True)
    arrays = {name: np.stack(values) for name, values in found.items()}
    if cache is not None:
        with tempfile.TemporaryFile() as file:
            np.savez(file, key=key, **arrays)
            file.seek(0)
            replace_file(cache, file.read())
    return arrays


# Each takes vectors [P, 2, F], classes and sureness of the photos that teach, and vectors and base's probabilities of
# those that ask; it gives the number of the class, or -1 for a known one.
def learn(views, numbers, sure, asked, known, prior=None, raised=0.0):
    found = discriminant.fit(views, numbers, sure, prior)
    answers = replace(found, border=found.border + raised).join(known, asked).argmax(axis=1) - known.shape[1]
    return np.maximum(answers, -1)


def means(views, numbers, sure, asked, known):
    centres = np.stack([views[numbers == number].mean(axis=(0, 1)) for number in range(numbers.max() + 1)])
    return (asked @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T).argmax(axis=1)


def nearest(views, numbers, sure, asked, known):
    flat = views.reshape(-1, views.shape[2])
    return np.repeat(numbers, views.shape[1])[(asked @ flat.T).argmax(axis=1)]


def alone(views, numbers, sure, asked, known, prior=None):
    return discriminant.fit(views, numbers, sure, prior).which(asked).argmax(axis=1)


def regression(views, numbers, sure, asked, known):
    from sklearn.linear_model import LogisticRegression

    flat = views.reshape(-1, views.shape[2])
    model = LogisticRegression(C=30, max_iter=300).fit(flat, np.repeat(numbers, views.shape[1]))
    return model.predict(asked)


def methods(prior: Prior | None) -> dict[str, Callable]:
    return {
        "learn": partial(learn, prior=prior),
        "without the prior": learn,
        "its discriminant, if a car is known to be new": partial(alone, prior=prior),
        "without the prior, likewise": alone,
        "means and cosines, likewise": means,
        "nearest photo, likewise": nearest,
        "logistic regression, likewise": regression,
    } | {f"learn, border {raised:+g}": partial(learn, prior=prior, raised=raised) for raised in RAISED}


def row(shots: int, name: str, answer: Callable, new: pd.DataFrame, known: pd.DataFrame, arguments) -> str:
    hits, families, lost = [], [], []
    right = known_right(known, arguments.model)
    for seed in range(arguments.rounds):
        teach, ask = drawn(new, shots, np.random.default_rng(seed))
        names, numbers = np.unique(teach["class"], return_inverse=True)
        views = np.stack([np.stack(teach["vector"].tolist()), np.stack(teach["mirrored"].tolist())], axis=1)
        sure = np.stack(teach["known"].tolist()).max(axis=1)
        given = views, numbers, sure
        said = answer(*given, np.stack(ask["vector"].tolist()), np.stack(ask["known"].tolist()))
        said = np.append(names, "")[said]
        hits.append(pd.DataFrame({"advert": ask["advert"], "hit": said == ask["class"]}))
        families.append((family(pd.Series(said), arguments) == ask["family"]).mean())
        if name.startswith("learn") or name == "without the prior":
            others = answer(*given, np.stack(known["vector"].tolist()), np.stack(known["known"].tolist()))
            lost.append(100 * (right & (others >= 0)).sum() / len(known))
    low, high = interval(pd.concat(hits))
    mean = float(np.mean([table["hit"].mean() for table in hits]))
    points = f"{np.mean(lost):.2f}" if lost else ""
    cells = [shots, name, f"{mean:.3f}", f"{low:.3f} to {high:.3f}", f"{np.mean(families):.3f}", points, len(hits[0])]
    return f"| {' | '.join(map(str, cells))} |"


def known_right(known: pd.DataFrame, model: str) -> np.ndarray:
    classes = np.array(find_model(model).info().classes)
    return classes[np.stack(known["known"].tolist()).argmax(axis=1)] == known["class"].to_numpy()


def drawn(new: pd.DataFrame, shots: int, random: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The photos that teach, and those that ask. No advert is in both, and each class has one that asks."""
    teach, ask = [], []
    for _, photos in new.groupby("class"):
        pool = photos[~photos["asks"]]
        adverts = sorted(pool["advert"].unique())
        random.shuffle(adverts)
        teach += [pool[pool["advert"] == advert].iloc[:1] for advert in adverts[:shots]]
        ask.append(photos[photos["asks"]])
    return pd.concat(teach, ignore_index=True), pd.concat(ask, ignore_index=True)


def interval(hits: pd.DataFrame, times: int = 1000) -> tuple[float, float]:
    """Of the share of hits, by a bootstrap over adverts."""
    sums = hits.groupby("advert")["hit"].agg(["sum", "count"]).to_numpy()
    picks = np.random.default_rng(0).integers(0, len(sums), (times, len(sums)))
    shares = sums[picks, 0].sum(axis=1) / sums[picks, 1].sum(axis=1)
    return float(np.quantile(shares, 0.025)), float(np.quantile(shares, 0.975))


def agreement(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """The adjusted Rand index of groups (int [N]) with classes (int [N]), and their purity."""
    table = np.zeros((found.max() + 1, truth.max() + 1))
    np.add.at(table, (found, truth), 1)

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1) / 2).sum())

    both, rows, columns, every = pairs(table), pairs(table.sum(1)), pairs(table.sum(0)), pairs(np.array([table.sum()]))
    chance = rows * columns / every
    return (both - chance) / ((rows + columns) / 2 - chance), float(table.max(axis=1).sum() / table.sum())


if __name__ == "__main__":
    main()
