# %% [markdown]
# # A competition, from the zip to submission.csv
#
# The zip of the competition goes in: labelled photos to train on, photos to answer, and a sample of the answer. A
# classifier is trained in stages, and answers come out, one per photo.
#
# Run all cells to see it on a small drawn competition, in a minute or two. Then write the place of the real zip into
# the next cell, and run all again: that takes hours on a CPU, and is a job for a GPU.

# %% tags=["parameters"]
ZIP = ""  # for example "sf-dl-car-classification.zip", as downloaded; "" draws a small one
CONFIG = "configs/train/efficientnet_b0_staged.yaml"  # docs/recipes.md has others
SETTINGS = []  # settings that win over those of CONFIG, such as ["stages.all.epochs=20"]
OUTPUT = "carclf-competition"  # all results go to this folder

# %% [markdown]
# Two helpers: `carclf(...)` runs a command as in a terminal, `show(...)` draws photos with titles.

# %%
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib_inline.backend_inline import set_matplotlib_formats
from PIL import Image

from carclf.datasets.drawn.scenes import CAR_SHAPES, draw_scene
from carclf.runs.recipe import TrainConfig
from detection import load_image
from detection.common.config import read_config

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
    figure, axes = plt.subplots(rows, columns, figsize=(2.1 * columns, 2 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, photo, title in zip(axes.flat, photos, titles, strict=False):
        axis.imshow(load_image(photo))
        axis.set_title(title, fontsize=9)
    figure.tight_layout()
    plt.show()


# %% [markdown]
# ## The zip
#
# With an account, `carclf data fetch kaggle:sf-dl-car-classification FOLDER` downloads the real one. Without a zip of
# your own, this cell draws one in the same layout: `train.csv`, `train/<Category>/<Id>`, `test_upload/<Id>` and
# `sample-submission.csv`. Its six classes are shapes of cars, and numbers, as in the real one.

# %%
drawn = not ZIP
truth = {}  # the answers, which only a drawn competition tells


def picture(category, number):
    scene = draw_scene(CAR_SHAPES[category], np.random.default_rng([category, number]))
    jpeg = io.BytesIO()
    Image.fromarray(scene.image).save(jpeg, "JPEG", quality=90)
    return jpeg.getvalue()


if drawn:
    ZIP = Path(OUTPUT, "drawn.zip")
    labelled, answers = "Id,Category\n", "Id,Category\n"
    with zipfile.ZipFile(ZIP, "w") as archive:
        for category in range(len(CAR_SHAPES)):
            for number in range(25):
                name = f"{100 * (category + 1) + number}.jpg"
                if number < 20:
                    archive.writestr(f"train/{category}/{name}", picture(category, number))
                    labelled += f"{name},{category}\n"
                else:
                    archive.writestr(f"test_upload/{name}", picture(category, number))
                    answers += f"{name},0\n"
                    truth[name] = category
        archive.writestr("train.csv", labelled)
        archive.writestr("sample-submission.csv", answers)

# %% [markdown]
# What is in it? `carclf data check` unpacks it once, and reads every photo to train on.

# %%
carclf("data", "check", ZIP)

# %% [markdown]
# ## Training in stages
#
# First only the new head is trained, then a quarter of the network, half of it, and all of it; the last stage sees
# photos with hardly any changes. Each stage begins with the best weights of the one before. The recipe is a file of a
# few lines; here is what it says of its stages:

# %%
recipe = read_config(TrainConfig, CONFIG)
columns = ["train", "epochs", "learning_rate", "image_size", "batch_size", "augmentation"]
pd.DataFrame([stage.model_dump() for stage in recipe.stages]).set_index("name")[columns]

# %% [markdown]
# The drawn photos are few, so they get a smaller network, whose ImageNet weights come with carclf, smaller images and
# fewer, larger steps. Any setting of a recipe can be changed in this way, from the command line too.

# %%
settings = ["crops=false", "cutout.background=white", "cutout.padding=0.05"]  # find the car, and cut it out
if drawn:
    settings += ["model.architecture=tf_efficientnet_lite0", "model.image_size=96", "tta=2"]
    settings += ["validation=0.25", "workers=0"]
    stages = {"head": (2, 2e-3), "quarter": (1, 1e-3), "half": (2, 1e-3), "all": (4, 1e-3), "weaker": (2, 2e-4)}
    for name, (epochs, rate) in stages.items():
        settings += [f"stages.{name}.epochs={epochs}", f"stages.{name}.learning_rate={rate}"]
        settings += [f"stages.{name}.image_size=96", f"stages.{name}.batch_size=16"]

# %% [markdown]
# The training holds some of the photos out, a fifth by this recipe, and measures each epoch on them. If it is stopped,
# run the cell again: it resumes. A run that has ended stays as it is; choose another `OUTPUT` for the next one.

# %%
RUN = Path(OUTPUT, "run")
carclf("train", CONFIG, f"data={ZIP}", f"output={RUN}", "progress=false", *settings, *SETTINGS)

# %% [markdown]
# ## The curves
#
# Where a stage begins there is a line. Is the accuracy still rising at the end? Then more epochs may help. Is the loss
# of training far below that of validation? Then more photos or stronger augmentation may. The run folder has the same
# picture (`curves.png`), a page that shows where the model errs (`report.html`), and the weights
# (`best.safetensors`).

# %%
epochs = pd.read_csv(RUN / "epochs.csv")
epochs.index += 1
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4))
for axis, what in ((left, "accuracy"), (right, "loss")):
    lines = epochs[[f"train_{what}", f"val_{what}"]].set_axis(["training", "validation"], axis=1)
    lines.plot(ax=axis, style="o-", color=["#8a8f98", "#1f6feb"], title=what, xlabel="epoch")
    for stage, first in epochs.reset_index().groupby("stage", sort=False)["index"].first().items():
        axis.axvline(first - 0.5, color="#8b95a5", linewidth=1, linestyle="--")
        axis.text(first - 0.4, 0.02, stage, transform=axis.get_xaxis_transform(), fontsize=8, rotation=90)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## The submission
#
# `carclf submit` answers every id of the sample. It resumes if it is stopped, and `submission-details.csv` says how
# sure each answer is.

# %%
SUBMISSION = Path(OUTPUT, "submission.csv")
carclf("submit", RUN, ZIP, "--output", SUBMISSION, "--tta", 2 if drawn else 10)

# %%
submission = pd.read_csv(SUBMISSION)
submission.head()

# %% [markdown]
# Upload that file on the competition's page. Of drawn photos we know the answers, so we can be the jury. With this few
# photos the figure is a rough one.

# %%
if drawn:
    right_answers = submission["Category"] == submission["Id"].map(truth)
    print(f"{right_answers.sum()} of {len(submission)} answers are right: {right_answers.mean():.0%}")

# %% [markdown]
# Some of the photos with their answers, the least sure first:

# %%
details = pd.read_csv(Path(OUTPUT, "submission-details.csv")).dropna(subset=["file", "confidence"])
shown = details.sort_values("confidence").head(12)
marks = {id: "" if not drawn else " right" if truth[id] == category else f" wrong: it is {truth[id]}"
         for id, category in zip(shown["Id"], shown["Category"], strict=True)}  # fmt: skip
show(shown["file"], [f"{row.Category} ({row.confidence:.0%}){marks[row.Id]}" for row in shown.itertuples()])

# %% [markdown]
# ## What next
#
# - Another recipe: [recipes](../recipes.md). Two runs joined are better than one:
#   `carclf combine runs/first runs/second --output runs/both`, then `carclf submit runs/both ...`.
# - Before you trust a figure: [evaluation](../evaluation.md). The held-out photos chose the best epoch, so their
#   accuracy is a little flattering; `report=0.1` holds a tenth back that chooses nothing.
# - Wrong labels in the training photos: [notebook 3](3_correct_a_model.ipynb).
