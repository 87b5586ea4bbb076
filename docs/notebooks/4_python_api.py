# %% [markdown]
# # The Python API in ten cells
#
# Everything that the `carclf` command does can be done from Python. Here: name cars, look inside, cut out, compare,
# train. Run all cells to see it on drawn cars.
#
# **1. Which photos.** Some of your own, or none, to see it on drawn ones.

# %% tags=["parameters"]
PHOTOS = []  # paths of photos of cars; [] draws some
OUTPUT = "carclf-python"  # all results go to this folder

# %% [markdown]
# **2. Import, and draw.** Importing is cheap; models load with their first use. A photo may be a path, the bytes of a
# file, a Pillow image, or an RGB array (uint8, height x width x 3).

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib_inline.backend_inline import set_matplotlib_formats

from carclf import CarRecognizer, train
from carclf.datasets.drawn.scenes import draw_scene
from carclf.runs.recipe import ModelConfig, Stage, TrainConfig
from detection import CutoutStyle, choose_main, clean_folder, cut_out, load_detector, load_image, save_image

set_matplotlib_formats("jpeg", dpi=60)  # small pictures, so that the notebook stays small
SCENES = Path(OUTPUT, "scenes")
for number, shape in enumerate(("sedan", "suv", "van"), 1):
    (SCENES / shape).mkdir(parents=True, exist_ok=True)
    for n in range(8):
        save_image(SCENES / shape / f"{n}.jpg", draw_scene(shape, np.random.default_rng([0, number, n])).image)
PHOTOS = PHOTOS or sorted(SCENES.glob("*/[4-7].jpg"))

# %% [markdown]
# **3. Name one car.** `label` is the make and model, or less where only that is sure; `status` says why there is none:
# `unknown`, `no_car`, `unreadable`, `error`. The bundled model knows 196 real cars: a drawn one gets the name of a car
# that it looks like, or is `unknown`.

# %%
recognizer = CarRecognizer()  # or CarRecognizer("dealer19"), a run folder, an export, a garage
car = recognizer(PHOTOS[0])
print(car.status, car.label, car.confidence, car.box)
print(car.said)

# %% [markdown]
# **4. Name many.** They come back in order, one row each, whatever is wrong with a photo. For millions,
# `recognizer.recognize(photos)` yields one after the other, in bounded memory.

# %%
rows = recognizer([*PHOTOS, np.zeros((200, 300, 3), np.uint8), "no-such-photo.jpg"]).to_pandas()
rows[["file", "status", "label", "confidence", "box", "reason"]]

# %% [markdown]
# **5. Look inside.** `recognize_fully` also gives the photo, the car's mask, and the cut-out that the classifier saw.

# %%
seen = next(recognizer.recognize_fully([PHOTOS[0]], pictures=True))
assert seen.vehicle is not None, "there is no car in this photo: take another one"
figure, axes = plt.subplots(1, 4, figsize=(12, 2.3), layout="constrained")
inside = np.where(seen.vehicle.mask[..., None], seen.photo, 60)
for axis, picture in zip(axes, (seen.photo, inside, seen.cutout), strict=False):
    axis.imshow(picture)
    axis.axis("off")
for row, (name, probability) in enumerate(seen.prediction.top):
    axes[3].barh(-row, probability, color="#9cc3ff")
    axes[3].text(0.02, -row, f"{name} {probability:.2f}", va="center", fontsize=9)
axes[3].set(xlim=(0, 1), yticks=[])
plt.show()

# %% [markdown]
# **6. Only the cut-out.** A detector takes RGB arrays and gives the vehicles of each: box, mask, score, kind.

# %%
detector = load_detector("compact")
photo = load_image(PHOTOS[0])
main = choose_main(detector.detect([photo])[0], photo.shape[:2])
figure, axes = plt.subplots(1, 5, figsize=(12, 2))
for axis, background in zip(axes, ("white", "gray", "mean", "blur", "transparent"), strict=True):
    axis.imshow(cut_out(photo, main, CutoutStyle(background=background)))
    axis.set_title(background, fontsize=9)
    axis.axis("off")
figure.tight_layout()
plt.show()

# %% [markdown]
# **7. Compare cars by their look.** `embed` gives a vector of length 1 per car, so a product of two is their cosine.
# Where rows and columns have the same shape it is mostly higher; a drawn car is not what the model was made for.

# %%
vectors = recognizer.embed(PHOTOS)
plt.figure(figsize=(4, 3.4))
plt.imshow(vectors @ vectors.T, vmin=0.3, vmax=0.9)
plt.xticks(range(len(PHOTOS)), [Path(photo).parent.name for photo in PHOTOS], rotation=90, fontsize=8)
plt.yticks(range(len(PHOTOS)), [Path(photo).parent.name for photo in PHOTOS], fontsize=8)
plt.colorbar(label="cosine")
plt.show()

# %% [markdown]
# **8. Clean a folder.** As `carclf clean` does: one row per photo in `manifest.csv`, and it resumes.

# %%
print(clean_folder(SCENES, Path(OUTPUT, "cleaned"), detector, CutoutStyle(background="white")))

# %% [markdown]
# **9. Train.** A few photos and two short stages, to see how it goes. Without `crops=True`, training cuts out the cars
# itself.

# %%
stage = {"image_size": 96, "batch_size": 8}
config = TrainConfig(
    name="first",
    data=Path(OUTPUT, "cleaned"),
    crops=True,
    output=Path(OUTPUT, "run"),
    validation=0.25,
    model=ModelConfig(image_size=96),
    stages=(
        Stage(name="head", train="head", epochs=2, learning_rate=4e-3, **stage),
        Stage(name="half", train="half", epochs=2, learning_rate=1e-3, **stage),
    ),
    workers=0,
    progress=False,
)
run = train(config)

# %% [markdown]
# **10. Use it.** A run folder is a model, wherever one is taken. What was seen in training is easy; measure a model by
# `carclf evaluate`, on photos that it has not seen.

# %%
own = CarRecognizer(run)
print(own.classes)
own(PHOTOS).to_pandas()[["file", "label", "confidence"]]

# %% [markdown]
# ## What next
#
# A wrong usage raises `carclf.UsageError` with one sentence that says what to do; what is wrong with one photo is in
# its row. The same as commands: [prediction](../prediction.md), [cleaning](../cleaning.md),
# [training](../training.md), [garages](../garage.md).
