# %% [markdown]
# # Evaluate a model, and correct what it learnt from
#
# How good is a model, where does it err, how sure may it be, and how much do wrong labels cost? This notebook trains,
# measures, looks at the mistakes, finds the wrong labels, puts them right, trains again and compares.
#
# Run all cells to see it on drawn cars, some of which have a wrong label; that takes a minute or two. Then write the
# places of your own photos into the next cell, and run all again.

# %% tags=["parameters"]
DATA = ""  # photos to learn from: a folder per class, a csv, ...; "" draws some
TEST = ""  # other photos of the same classes, at least 100, whose labels you have checked
CONFIG = "configs/train/quick.yaml"
SETTINGS = []  # settings that win over those of CONFIG
OUTPUT = "carclf-correct"  # all results go to this folder

# %% [markdown]
# Two helpers: `carclf(...)` runs a command as in a terminal, `show(...)` draws photos with titles.

# %%
import json
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib_inline.backend_inline import set_matplotlib_formats

from carclf.datasets.corrections.decision import CLASS, Decision, new_id, now
from carclf.datasets.corrections.journal import Journal
from carclf.datasets.drawn.scenes import CAR_SHAPES, draw_scene
from detection import load_image, save_image
from detection.masks.parts import file_digest

set_matplotlib_formats("jpeg", dpi=60)  # small pictures, so that the notebook stays small
Path(OUTPUT).mkdir(parents=True, exist_ok=True)


def carclf(*arguments):
    command = [sys.executable, "-m", "carclf", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            print(line, end="")
    if process.returncode not in (0, 3):  # 3: done, and some photos need attention
        raise RuntimeError(f"carclf ended with exit code {process.returncode}")


def show(photos, titles, columns=6):
    rows = max(1, -(-len(photos) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(2.1 * columns, 2.2 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, photo, title in zip(axes.flat, photos, titles, strict=False):
        axis.imshow(load_image(photo))
        axis.set_title(title, fontsize=9)
    figure.tight_layout()
    plt.show()


# %% [markdown]
# ## The photos
#
# Without photos of your own, this cell draws cars of six shapes: 14 of each to learn from, 18 of each to test with. Two
# of each 14 go into the folder of another class, as it happens when people sort photos.

# %%
drawn = not DATA
truth = {}  # the right class of each photo to learn from, which only drawn photos tell


def draw(shape, number):
    return draw_scene(CAR_SHAPES[shape], np.random.default_rng([shape, number]), size=(240, 320)).image


if drawn:
    DATA, TEST = Path(OUTPUT, "photos"), Path(OUTPUT, "test")
    for folder in (DATA, TEST):
        for name in CAR_SHAPES:
            (folder / name).mkdir(parents=True, exist_ok=True)
    for shape, name in enumerate(CAR_SHAPES):
        for number in range(14):
            wrong = number >= 12
            label = CAR_SHAPES[(shape + number - 10) % len(CAR_SHAPES)] if wrong else name
            file = f"{label}/{shape}{number:02}.jpg"
            save_image(DATA / file, draw(shape, number))
            truth[file] = name
        for number in range(18):
            save_image(TEST / name / f"{number:02}.jpg", draw(shape, 100 + number))

# %% [markdown]
# `carclf data check` names the photos and their labels, whatever their layout. The list of them is what we shall edit;
# the photos stay where they are.


# %%
def list_photos(data, name):
    carclf("data", "check", data, "--json", Path(OUTPUT, name))
    check = json.loads(Path(OUTPUT, name).read_text(encoding="utf-8"))
    rows = pd.DataFrame(check["rows"])[["file", "label"]]
    return rows.rename(columns={"label": "class"}), Path(check["root"])


labels, DATA = list_photos(DATA, "photos.json")
labels.to_csv(Path(OUTPUT, "labels.csv"), index=False)

# %% [markdown]
# The test photos are dealt into two lists. What chooses may not report: one half will choose how sure the model has to
# be, the other half is only measured on.

# %%
test, TEST = list_photos(TEST, "test.json")
turn = test.groupby("class").cumcount() % 2
test[turn == 0].to_csv(Path(OUTPUT, "choose.csv"), index=False)
test[turn == 1].to_csv(Path(OUTPUT, "report.csv"), index=False)

# %% [markdown]
# ## Train
#
# The drawn photos are few and small, so their recipe is shortened: the head first, then all of the network.

# %%
settings = [f"images={DATA}", f"crops_dir={OUTPUT}/crops", "progress=false", *SETTINGS]
if drawn:
    settings += ["model.image_size=96", "workers=0", "validation=0.2", "stages.half=null", "stages.larger=null"]
    settings += ["stages.three_quarters=null", "stages.head.epochs=1", "stages.all.epochs=6"]
    settings += ["stages.all.learning_rate=1.0e-3", "stages.all.backbone_factor=1.0", "model.head.dense=null"]
    for stage in ("head", "all"):
        settings += [f"stages.{stage}.{key}" for key in ("image_size=96", "batch_size=16", "augmentation=0.5")]
carclf("train", CONFIG, f"data={OUTPUT}/labels.csv", f"output={OUTPUT}/run-1", *settings)

# %% [markdown]
# ## Evaluate
#
# Raw photos go the same way as in prediction: find the car, cut it out, name it. A photo without an answer counts as
# wrong. The brackets are 95 % intervals: what other photos of the same kind would give.


# %%
def evaluate(run):
    output = Path(OUTPUT, f"{run}-figures")
    carclf("evaluate", f"{OUTPUT}/{run}", "--data", f"{OUTPUT}/report.csv", "--images", TEST, "--output", output)
    return output


first = evaluate("run-1")

# %% [markdown]
# `report.html` in that folder shows everything on one page. Two of its tables here: which classes are hard, and which
# pairs are taken for each other.

# %%
pd.read_csv(first / "report.csv")[["class", "precision", "recall", "f1", "support", "taken_for", "times"]].round(2)

# %%
pd.read_csv(first / "confused_pairs.csv").head(5)

# %% [markdown]
# ## The mistakes
#
# Those that the model was surest of come first. Look at each: is the model wrong, the label, or is the photo bad?

# %%
errors = pd.read_csv(first / "errors.csv").head(6)
show(
    [Path(TEST, file) for file in errors["file"]],
    [f"{row.label}, not {row.predicted}\n({row.confidence:.0%} sure)" for row in errors.itertuples()],
)

# %% [markdown]
# ## How sure it may be
#
# A model should be right as often as it says. `carclf calibrate` fits a temperature and a threshold to the photos that
# may choose, and writes both into the model. Below the threshold the answer is `unknown`. `ece` is the distance between
# confidence and accuracy; `..._held_out` is measured on photos that did not choose.

# %%
carclf("calibrate", f"{OUTPUT}/run-1", "--data", f"{OUTPUT}/choose.csv", "--images", TEST, "--lost", 0.1)

# %% [markdown]
# ## Find the wrong labels
#
# `carclf data audit` compares the photos to learn from with each other. It needs no trained model. The labels that the
# other photos contradict most come first.

# %%
carclf("data", "audit", f"{OUTPUT}/labels.csv", "--images", DATA, "--output", f"{OUTPUT}/audit")
audit = pd.read_csv(Path(OUTPUT, "audit", "audit.csv"))
suspects = audit[audit["issue"] == "label"]
show(
    [Path(DATA, file) for file in suspects["file"].head(12)],
    [f"in {row['class']},\nlooks like {row.suggestion}" for _, row in suspects.head(12).iterrows()],
)

# %% [markdown]
# ## Correct them
#
# A person looks at the suspects and says which class is right: in a terminal beside this notebook, `carclf review
# carclf-correct/audit` opens a page for that. Each decision is a line of `corrections.jsonl` in that folder. For drawn
# photos this cell plays the person: it looks at the 20 most suspicious ones, and knows what was drawn.

# %%
if drawn:
    looked_at = suspects["file"].head(20)
    decisions = {file: truth[file] for file in looked_at if truth[file] != Path(file).parent.name}
    wrong = [file for file, name in truth.items() if name != Path(file).parent.name]
    print(f"{len(wrong)} labels are wrong; {len(decisions)} of them are among the {len(looked_at)} looked at.")
    journal = Journal(Path(OUTPUT, "audit"))
    journal.add(
        [
            Decision(
                new_id(), now(), "me", CLASS, file, file_digest(Path(DATA, file)), old=Path(file).parent.name, new=name
            )
            for file, name in decisions.items()
        ]
    )
    journal.close()

# %% [markdown]
# ## Train again, and compare
#
# The same recipe, the same photos, and what was decided about them. No photo is moved, and the list stays as it is: the
# decisions are found by the photos' content. The cut-outs are those of the first training.

# %%
carclf("train", CONFIG, f"data={OUTPUT}/labels.csv", f"corrections={OUTPUT}/audit", f"output={OUTPUT}/run-2", *settings)

# %%
second = evaluate("run-2")

# %%
rows = {}
for name, folder in (("as they were", first), ("corrected", second)):
    figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    low, high = figures["intervals"]["accuracy"]
    rows[name] = {"accuracy": f"{figures['accuracy']:.3f}", "95 %": f"{low:.3f} to {high:.3f}", "photos": figures["n"]}
pd.DataFrame(rows).T

# %% [markdown]
# The intervals are wide, as these are few photos. It says more how many of them only one of the two gets right: were
# both equally good, there would be about as many on either side.

# %%
both = [pd.read_csv(folder / "predictions.csv")["correct"] for folder in (first, second)]
pd.crosstab(both[0], both[1], rownames=["labels as they were: right"], colnames=["corrected: right"])

# %% [markdown]
# ## What next
#
# - Correct in rounds: audit again, look again, stop when the suspects are right.
# - Mistakes that are the model's own: more photos of those classes, from those sides; a longer
#   [recipe](../recipes.md).
# - More: [evaluation](../evaluation.md), [audits](../audit.md) and
#   [how they find wrong labels](../audit.md#which-labels-are-wrong).
