"""What a stage's sampling and extra photos without labels gain: small trainings over some seeds, on the part *choose*.

    carclf clean DEALER20/images CROPS --background keep
    carclf data audit FIT.csv --images DEALER20/images --output AUDIT          # the photos of *fit*
    python benchmarks/sampling.py DEALER20 CROPS AUDIT OUTPUT [--seeds 1 2 3] [--only tail]

DEALER20: the folder with labels.csv and images/. OUTPUT: for the runs; what is there is not trained again. Two data
sets: `dealer20`, all photos of *fit*, and `tail`, a long-tailed part of them in the competition's layout
(train/<Category>/<Id>, train.csv). Both are judged by all photos of *choose*, which choose the better stage, too,
and how sure the model of extra photos must be.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from carclf.classifier.garage.kept import LOOKS
from carclf.datasets import read_manifest, read_table
from carclf.datasets.content import content_digests
from carclf.runs.recipe import TrainConfig
from carclf.tools.garage.learn import learn
from carclf.training.loop import train
from detection.common.files import write_table
from detection.masks.parts import read_parts

PARTS = Path(__file__).parents[1] / "data" / "splits" / "dealer20.csv"
SIZE = [96, 160]
HEAD = {
    "name": "head", "train": "head", "epochs": 4, "learning_rate": 4e-3, "image_size": SIZE, "augmentation": 0.0,
    "schedule": "constant",
}  # fmt: skip
LAST = {
    "name": "last", "train": "quarter", "epochs": 2, "learning_rate": 2e-3, "image_size": SIZE, "augmentation": 0.5,
    "schedule": "cosine", "keep": "last",
}  # fmt: skip
BASE = "stanford196@0.4"  # of the garage that names photos without a label
LARGEST, SMALLEST = 30, 4  # photos of a class in the long-tailed part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("crops", type=Path)
    parser.add_argument("audit", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", choices=["dealer20", "tail"])
    given = parser.parse_args()
    table = photos(given.data, given.crops)
    prepare(table, given.audit, given.output)
    found: list[dict] = []
    for name in (given.only,) if given.only else ("dealer20", "tail"):
        for seed in given.seeds:
            for setting, changes in settings(name, table, given.output, seed).items():
                run = given.output / f"{name}-{setting}-{seed}"
                found.append({"data": name, "setting": setting, "seed": seed} | measured(run, seed, changes))
                print(found[-1], flush=True)
    report(pd.DataFrame(found))


def photos(data: Path, crops: Path) -> pd.DataFrame:
    """The cut-outs of fit and choose, each content once: file (absolute), class, sha256, source, part."""
    table = pd.read_csv(data / "labels.csv")[["file", "class"]]
    table["source"] = content_digests([str(data / "images" / name) for name in table["file"]])
    table["part"] = table["source"].map(read_parts(PARTS))
    made = read_manifest(crops)
    table["file"] = [str(made[name]) if made.get(name) else None for name in table["file"]]
    table = table[table["part"].isin(["fit", "choose"]) & table["file"].notna()].drop_duplicates("source")
    table["sha256"] = content_digests(table["file"].tolist())
    return table.drop_duplicates("sha256").reset_index(drop=True)


def prepare(table: pd.DataFrame, audit: Path, output: Path) -> None:
    """Parts and looks of the cut-outs, which are copied about, by their own content."""
    if (output / "audit" / LOOKS).exists():
        return
    output.mkdir(parents=True, exist_ok=True)
    write_table(output / "parts.csv", table[["sha256", "part"]])
    own = dict(zip(table["source"], table["sha256"], strict=True))
    first, *looks = (audit / LOOKS).read_text().splitlines()
    known = [json.loads(line) for line in looks]
    lines = [first, *(json.dumps(one | {"id": own[one["id"]]}) for one in known if one.get("id") in own)]
    (output / "audit").mkdir(exist_ok=True)
    (output / "audit" / LOOKS).write_text("\n".join([*lines, ""]))


def settings(name: str, table: pd.DataFrame, output: Path, seed: int) -> dict[str, dict]:
    """What differs from one run to the next, in an order in which each finds what it needs."""
    if name == "tail":
        data, extra = long_tail(table, output / "tail"), output / "tail-extra"
        drawn = {"data": data, "split": output / "parts.csv"}
        halves = {"extra": drawn | {"extra": extra, "extra_model": str(garage(data, output))}}
    else:
        data = listed(table, output / "dealer20.csv")
        drawn = {"data": data, "split": output / "parts.csv"}
        half, extra = halved(table, output)
        halves = {
            "half": {"data": half, "split": output / "parts.csv"},
            "half+extra": {"data": half, "split": output / "parts.csv", "extra": extra},
        }
        halves["half+extra"]["extra_model"] = str(garage(half, output))
    samplings = {
        kind: drawn | {"sampling": kind, "difficulty": output / "audit" if kind == "hard" else None}
        for kind in ("uniform", "balanced", "hard")
    }
    return samplings | halves


def measured(run: Path, seed: int, changes: dict) -> dict:
    changes = dict(changes)
    sampling = changes.pop("sampling", None)
    if not (run / "metrics.json").is_file():
        stages = [stage | {"sampling": sampling} for stage in (HEAD, LAST)]
        train(
            TrainConfig.model_validate(
                {
                    "output": run, "crops": True, "cutout": {"background": "keep"}, "seed": seed,
                    "model": {"architecture": "tf_efficientnet_lite1", "image_size": SIZE, "head": {"dropout": 0.3}},
                    "init": "stanford196", "stages": stages, "workers": 0,
                    "progress": False, "tensorboard": False, "names": "none", **changes,
                }
            )
        )  # fmt: skip
    metrics = json.loads((run / "metrics.json").read_text())
    chosen = {key: metrics[key] for key in ("n", "accuracy", "macro_f1", "nll")}
    extra = metrics.get("extra", {})
    return chosen | {"taken": extra.get("taken"), "right": pseudo_right(run) if extra else None}


def pseudo_right(run: Path) -> float:
    """The share of the pseudo-labels that are right."""
    rows = pd.read_csv(run / "extra.csv", dtype=str)
    taken = rows[rows["status"] == "taken"]
    truth = pd.read_csv(run.parent / f"truth-{run.name.split('-')[0]}.csv").set_index("sha256")["class"].astype(str)
    return float((taken["sha256"].map(truth) == taken["label"]).mean()) if len(taken) else float("nan")


def listed(table: pd.DataFrame, path: Path) -> Path:
    write_table(path, table[["file", "class"]])
    write_table(path.parent / "truth-dealer20.csv", table[["sha256", "class"]])
    return path


def halved(table: pd.DataFrame, output: Path) -> tuple[Path, Path]:
    """A list with every other photo of each class of fit and all of choose; the rest, without labels, in a folder."""
    fit = table[table["part"] == "fit"]
    order = fit.iloc[np.random.default_rng(0).permutation(len(fit))]
    kept = order.groupby("class").cumcount() % 2 == 0
    path = output / "half.csv"
    write_table(path, pd.concat([order[kept], table[table["part"] == "choose"]])[["file", "class"]])
    return path, laid_out(order[~kept], output / "half-extra")


def long_tail(table: pd.DataFrame, folder: Path) -> Path:
    """The competition's layout: of each class fewer photos of fit than of the one before; all of choose."""
    fit, choose = (table[table["part"] == part] for part in ("fit", "choose"))
    classes = fit["class"].value_counts().index.tolist()
    number = {name: str(place) for place, name in enumerate(sorted(classes))}
    most = LARGEST * (SMALLEST / LARGEST) ** (np.arange(len(classes)) / (len(classes) - 1))
    order = fit.iloc[np.random.default_rng(0).permutation(len(fit))]
    limit = order["class"].map(dict(zip(classes, np.round(most), strict=True)))
    kept = order.groupby("class").cumcount() < limit
    if (folder / "train.csv").exists():
        return folder
    laid_out(order[~kept], folder.with_name(folder.name + "-extra"))
    chosen = pd.concat([order[kept], choose])
    ids = [f"{100_000 + place}{Path(file).suffix}" for place, file in enumerate(chosen["file"])]
    for file, name, id in zip(chosen["file"], chosen["class"], ids, strict=True):
        target = folder / "train" / number[name] / id
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    write_table(folder / "train.csv", pd.DataFrame({"Id": ids, "Category": chosen["class"].map(number)}))
    truth = table.assign(**{"class": table["class"].map(number)})[["sha256", "class"]]
    write_table(folder.parent / "truth-tail.csv", truth)
    return folder


def garage(data: Path, output: Path) -> Path:
    """What `carclf learn` makes of the photos with a label: it names those without one."""
    path = output / f"{data.stem}.garage"
    if not path.exists():
        parts = read_parts(output / "parts.csv")
        table = read_table(data)
        fit = [parts[digest] == "fit" for digest in content_digests(table["file"].tolist())]
        listed = table[fit].rename(columns={"label": "class"})[["file", "class"]]
        write_table(output / f"{data.stem}-fit.csv", listed)
        learn(str(output / f"{data.stem}-fit.csv"), path, BASE, crops=True)
    return path


def laid_out(table: pd.DataFrame, folder: Path) -> Path:
    if folder.exists():
        return folder
    folder.mkdir(parents=True)
    for place, file in enumerate(table["file"]):
        shutil.copyfile(file, folder / f"{place:04d}{Path(file).suffix}")
    return folder


def report(rows: pd.DataFrame) -> None:
    print("\n| data | setting | seeds | top-1 | macro F1 | loss |\n| --- | --- | --- | --- | --- | --- |")
    for (data, setting), runs in rows.groupby(["data", "setting"], sort=False):
        keys = ("accuracy", "macro_f1", "nll")
        cells = " | ".join(f"{runs[key].mean():.3f} ({runs[key].min():.3f} to {runs[key].max():.3f})" for key in keys)
        print(f"| {data} | {setting} | {len(runs)} | {cells} |")


if __name__ == "__main__":
    main()
