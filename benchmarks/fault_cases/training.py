"""Cases of `train`, `train-detector`, `evaluate`, `calibrate` and `data check`."""

from __future__ import annotations

import csv
import os
import re
import shutil
from pathlib import Path

from benchmarks.fault_cases.case import Broken, Case, Done, Skipped, check, equal, need

NAMES = ("Renault Clio", "Renault Megane", "Dacia Duster", "Dacia Sandero")


def _run_folder(case: Case) -> Path:
    (folder,) = case.work.glob("tmp.*/run")
    return folder


@check("a-dollar-class")
def dollar(case: Case) -> None:
    done = case.script()
    done.has(r"(?m)^rc 0$", r"(?m)^resumed rc 0$", r"(?m)^metrics\.json$")
    if not (_run_folder(case) / "validation" / "confusion.png").is_file():
        raise Broken("no confusion.png")


@check("b-mixup-odd-photos")
def odd_mixup(case: Case) -> None:
    case.script().has(r"(?m)^rc [02]$")


def _figures(run: Path) -> list[dict[str, str]]:
    """The rows of epochs.csv without the times."""
    with (run / "epochs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if "second" not in name} for row in rows]


@check("c-slurm-usr1-next-stage")
def slurm(case: Case) -> None:
    for first in ("all", "head"):
        done = case.script(first)
        done.lacks("hpc_ckpt", "ValueError")
        run = _run_folder(case)
        if not re.search(r"(?m)^rc 0$", done.text):
            case.shell(f"carclf train --resume '{run}' > resumed.txt 2>&1").lacks("Error")
        whole = case.work / "whole"
        case.shell(f"carclf train two.yaml data=photos stages.all.train={first} output='{whole}' > whole.txt 2>&1")
        equal(_figures(run), _figures(whole))
        shutil.rmtree(whole)
        shutil.rmtree(run.parent)


def _seen(case: Case) -> Done:
    """A run that is trained on four classes of dealers' photos, and evaluated on the same folder."""
    data = Path(os.environ.get("CARCLF_SHARED_DATA", case.source.parents[1] / "data")) / "dealer20"
    if not data.is_dir():
        raise Skipped(f"needs {data}")
    with (data / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name in NAMES:
        (case.folder / "ds" / name).mkdir(parents=True)
        for row in [row for row in rows if row["class"] == name][:16]:
            shutil.copy(data / "images" / row["file"], case.folder / "ds" / name)
    recipe = Path(__file__).parents[2] / "configs" / "train" / "quick.yaml"
    stages = "stages.head.epochs=2 stages.half=null stages.three_quarters=null stages.all=null stages.larger=null"
    case.shell(
        f"carclf train '{recipe}' data=ds crops=true output=runs/es model.image_size=64 {stages} validation=0.25"
        " progress=false"
    )
    return case.shell("carclf evaluate runs/es --data ds --output ev --crops")


@check("evaluate-seen")
def seen(case: Case) -> None:
    _seen(case).has(r"48 of (these|the) 64 photos")


@check("calibrate-tiny")
def tiny_calibration(case: Case) -> None:
    _seen(case)
    before = (case.folder / "runs" / "es" / "best.safetensors").read_bytes()
    done = case.shell('mkdir one; cp -r "ds/Renault Clio" one/; carclf calibrate runs/es --data one')
    equal(done.code, 2)
    equal((case.folder / "runs" / "es" / "best.safetensors").read_bytes() == before, True)


@check("d-class-folders-vanish")
def vanished(case: Case) -> None:
    done = case.script()
    done.has(r"Empty", r"(?m)^rc 3$")
    if "Truck" not in done.text.split("rc 3")[0] or "Empty" not in done.text.split("rc 3")[1]:
        raise Broken(done.text[-600:])


@check("d-hf-hub-name")
def hub_name(case: Case) -> None:
    done = case.script()
    if "rc 0" not in done.text:
        done.has(r"tf_efficientnet_b0\.ns_jft_in1k(?!.*hf-hub)")


@check("d-labels-look-alike")
def look_alikes(case: Case) -> None:
    done = case.script()
    done.has(r"(?m)^rc 3$", r"(?s)rc 3.*Give each class one name")


@check("h-negatives-not-an-image")
def negatives(case: Case) -> None:
    done = case.script()
    equal(len(re.findall(r"(?m)^rc 2$", done.text)), 3)
    equal(len(re.findall(r"can't be used", done.text)), 3)


@check("r-more-epochs")
def more_epochs(case: Case) -> None:
    case.script().has(r"(?m)^rc [02]$")


@check("r-moved-data")
def moved_data(case: Case) -> None:
    done = case.script()
    codes = re.findall(r"(?m)^rc (\d+)$", done.text)
    equal(codes[-1], "0")


@check("r-photo-gone")
def photo_gone(case: Case) -> None:
    case.script().has(r"(?m)^rc 2$", r"00[1-3]\.jpg")


@check("t-shm-hang")
def small_shared_memory(case: Case) -> None:
    need("unshare")
    done = case.script(seconds=200)
    if "unshare" in done.text and "failed" in done.text:
        raise Skipped("unshare is not allowed here")
    done.has(r"(?m)^rc [02]$", r"/dev/shm|shm-size")


@check("tilde-train")
def tilde_train(case: Case) -> None:
    recipes = Path(__file__).parents[2] / "configs"
    (case.folder / "configs").symlink_to(recipes)
    case.script().has("rc=0", r"cannot access")
    equal((case.work / "home" / "runs" / "x" / "metrics.json").is_file(), True)
