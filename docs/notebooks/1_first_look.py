# %% [markdown]
# # A first look at labelled photos
#
# How many photos are there, what is wrong with them, and which labels should a person look at? Two commands answer
# that: `carclf data check` and `carclf data audit`. Neither needs a training, a GPU or torch.
#
# Run all cells to see it on a few drawn cars. Then write the place of your own photos into the next cell, and run all
# again.

# %% tags=["parameters"]
DATA = ""  # a folder per class, a csv, a zip, or another layout of docs/data.md; "" draws some photos
OUTPUT = "carclf-first-look"  # all results go to this folder

# %% [markdown]
# Two helpers: `carclf(...)` runs a command as in a terminal, `show(...)` draws photos with titles.

# %%
import json
import subprocess
import sys
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib_inline.backend_inline import set_matplotlib_formats

from carclf.datasets.drawn.scenes import draw_background, draw_scene
from detection import ImageError, load_image, save_image

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
        try:
            axis.imshow(load_image(photo) if isinstance(photo, (str, Path)) else photo)
        except ImageError:
            axis.text(0.5, 0.5, "not readable", ha="center", va="center")
        axis.set_title(title, fontsize=9)
    figure.tight_layout()
    plt.show()


# %% [markdown]
# ## The photos
#
# Without photos of your own, this cell draws cars of six shapes, and plants some faults: wrong labels, a street without
# a car, a copy in another class, a dark, a blurred, a small, a turned and a broken photo.

# %%
SHAPES = {"sedan": 14, "hatchback": 12, "suv": 10, "coupe": 8, "pickup": 6, "van": 4}


def draw(shape, number):
    return draw_scene(shape, np.random.default_rng([number, list(SHAPES).index(shape)])).image


if not DATA:
    DATA = Path(OUTPUT, "photos")
    for shape, count in SHAPES.items():
        (DATA / shape).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            save_image(DATA / shape / f"{number:02}.jpg", draw(shape, number))
    planted = {
        "sedan/wrong-1.jpg": draw("van", 20),
        "hatchback/wrong-2.jpg": draw("pickup", 21),
        "suv/wrong-3.jpg": draw("coupe", 22),
        "suv/no-car.jpg": draw_background(np.random.default_rng(3)),
        "coupe/copy.jpg": draw("sedan", 5),
        "sedan/dark.jpg": draw("sedan", 23) // 12,
        "hatchback/blurred.jpg": cv2.GaussianBlur(draw("hatchback", 24), (0, 0), 6),
        "pickup/small.jpg": cv2.resize(draw("pickup", 25), (120, 90), interpolation=cv2.INTER_AREA),
        "coupe/turned.jpg": np.rot90(draw("coupe", 26)).copy(),
    }
    for name, photo in planted.items():
        save_image(DATA / name, photo)
    whole = (DATA / "van" / "00.jpg").read_bytes()
    (DATA / "van" / "broken.jpg").write_bytes(whole[: len(whole) // 3])

# %% [markdown]
# ## What is in them
#
# `carclf data check` reads every photo. It counts the classes, and tells what can't be read and what is there twice.
# With `--json` it also writes all that it knows, one row per photo.

# %%
carclf("data", "check", DATA, "--json", Path(OUTPUT, "check.json"))

# %% [markdown]
# The rows answer more questions. Here: how even are the classes, and how large are the photos?

# %%
check = json.loads(Path(OUTPUT, "check.json").read_text(encoding="utf-8"))
photos, folder = pd.DataFrame(check["rows"]), Path(check["root"])
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.2))
photos["label"].value_counts().head(30).plot.bar(ax=left, color="#1f6feb", rot=30, xlabel="", title="photos per class")
photos[["width", "height"]].max(axis=1).plot.hist(ax=right, bins=20, color="#8a8f98", title="longer side in pixels")
figure.tight_layout()
plt.show()

# %% [markdown]
# One photo of each class shows whether a class is what its name says.

# %%
readable = photos[photos["status"] == "ok"]
examples = readable.groupby("label")["file"].first().head(12)
show([folder / file for file in examples], examples.index)

# %% [markdown]
# ## What seems wrong
#
# `carclf data audit` finds the car in each photo and compares the cars with each other. Photos that look like another
# class, or like no car, come first in its list. It takes about a tenth of a second per photo and core; stopped, it
# resumes.

# %%
carclf("data", "audit", DATA, "--output", Path(OUTPUT, "audit"))

# %% [markdown]
# The page `audit/audit.html` in the output folder shows all of it with pictures; open it in a browser. The same is in
# `audit.csv`, one row per photo and issue, the most suspicious first:

# %%
audit = pd.read_csv(Path(OUTPUT, "audit", "audit.csv"))
audit.groupby("issue", sort=False).head(2).fillna("")

# %% [markdown]
# ### Labels to look at
#
# The score says how much more the photo looks like the other class. Not every one is a mistake: the model may be fooled
# by a rare angle. A person decides.

# %%
labels = audit[audit["issue"] == "label"].head(6)
show(
    [folder / file for file in labels["file"]],
    [f"{row.score:.2f}: in {row['class']},\nlooks like {row.suggestion}" for _, row in labels.iterrows()],
)

# %% [markdown]
# ### The worst of each other issue

# %%
others = audit[audit["issue"] != "label"].groupby("issue", sort=False).head(1)
show([folder / file for file in others["file"]], [f"{row.issue}\n{row.file}" for row in others.itertuples()], columns=5)

# %% [markdown]
# ## What next
#
# - Remove what shows no car, take better photos of dark, blurred and small cars, keep one of each copy.
# - Put wrong labels right: [notebook 3](3_correct_a_model.ipynb) shows how, and what it brings.
# - Train: `carclf train configs/train/quick.yaml data=DATA`. `balance=sampling` helps where classes are uneven.
#
# More: [data](../data.md), [audits](../audit.md), [training](../training.md).
