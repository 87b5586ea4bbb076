"""Makes what `carclf learn` knows of a base before it sees a new car: a small file beside the base's weights.

    python scripts/make_garage_prior.py DATA OUT.safetensors [--model stanford196] [--cache FILE.npz]

DATA is a folder with porsche/ and stanford_cars/, whose photos data/splits lists; only those of *fit* are taken. The
means of the base's classes are those of `--photos` photos, drawn by chance. How the vectors of one car differ is told
by the photos of one advert, as they are and mirrored; the names of these cars have no part in it. With --spread-of
classes the photos of one class tell it. --cache keeps the vectors.

--model is the bundled stanford196, or a run on some of its classes (benchmarks/held_out.py), whose prior is to lie
beside its weights as best_garage_prior.safetensors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parents[1]
ADVERTS, CLASSES = "adverts", "classes"
DIRECTIONS = 96  # of the spread: more gain nothing, see docs/experiments.md


def make(
    data: Path,
    output: Path,
    model: str = "stanford196",
    photos: int = 1369,
    cache: Annotated[Path | None, typer.Option(help="File for the vectors, for further runs.")] = None,
    spread_of: Annotated[str, typer.Option(help="What tells the spread: adverts or classes.")] = ADVERTS,
    crops: Annotated[Path | None, typer.Option(help="With classes: cut-outs that a training has made.")] = None,
) -> None:
    import numpy as np

    from carclf.classifier.contract import unit
    from carclf.classifier.garage.prior import Prior, PriorInfo, write_prior
    from carclf.recognition.recognizer import CarRecognizer
    from detection.common.machine import threads_for_many

    if spread_of not in (ADVERTS, CLASSES) or (crops is not None and spread_of != CLASSES):
        raise SystemExit(f"--spread-of is {ADVERTS} or {CLASSES}, and --crops goes with {CLASSES}.")
    recognizer = CarRecognizer(model, crops=crops is not None, threads=threads_for_many())
    classes = listed(data / "stanford_cars", "stanford196", crops)
    classes = classes[classes["class"].isin(recognizer.classes)]
    classes = classes.sample(frac=1, random_state=0).head(photos)
    adverts = listed(data / "porsche", "porsche") if spread_of == ADVERTS else classes.assign(advert=classes["class"])
    paths = dict(zip([*adverts["digest"], *classes["digest"]], [*adverts["path"], *classes["path"]], strict=True))
    vectors = seen(list(paths), list(paths.values()), recognizer, cache)
    differences = []
    for _, of_one in adverts.groupby("advert"):
        views = [vectors[digest].astype(np.float64) for digest in of_one["digest"] if digest in vectors]
        for place, one in enumerate(views):
            for other in views[place + 1 :]:
                differences += [(left - right) / np.sqrt(2) for left in one for right in other]
    _, sizes, directions = np.linalg.svd(np.stack(differences) / np.sqrt(len(differences)), full_matrices=False)
    spread = (sizes[:, None] * directions)[:DIRECTIONS]
    means = []
    for name in recognizer.classes:
        found = [vectors[digest][0] for digest in classes.loc[classes["class"] == name, "digest"] if digest in vectors]
        if not found:
            raise SystemExit(f"No photo of '{name}' was drawn: take more --photos.")
        means.append(np.mean(found, axis=0))
    info = PriorInfo(base=recognizer.classifier.fingerprint, photos=(len(classes), len(adverts)))
    write_prior(output, Prior(spread.astype(np.float32), unit(np.stack(means))), info)
    share = float((sizes[:DIRECTIONS] ** 2).sum() / (sizes**2).sum())
    print(
        f"{len(classes)} photos of {len(means)} classes, {len(differences)} pairs of {len(adverts)} photos; "
        f"{DIRECTIONS} directions hold {share:.3f} of the spread: {output}, {output.stat().st_size:,} bytes"
    )


def listed(folder: Path, splits: str, crops: Path | None = None):
    """The photos of *fit*: their rows in labels.csv, with `digest` and `path`. crops: where their cut-outs are."""
    import pandas as pd

    from carclf.datasets.parts import read_parts
    from detection.common.files import file_sha256

    parts = read_parts(ROOT / "data" / "splits" / f"{splits}.csv")
    table = pd.read_csv(folder / "labels.csv")
    table["path"] = [str(folder / "images" / file) for file in table["file"]]
    table["digest"] = [file_sha256(Path(file)).hex()[:16] for file in table["path"]]
    if crops is not None:
        table["path"] = [str(crops / file) for file in table["file"]]
    return table[[parts.get(digest) == "fit" for digest in table["digest"]]]


def seen(digests, files, recognizer, cache) -> dict:
    """The vectors of each photo in which a car is found, by its digest: float32 [2, F], as it is and mirrored."""
    import numpy as np

    key, known = recognizer.classifier.fingerprint, {}
    if cache is not None and cache.is_file():
        kept = np.load(cache)
        known = dict(zip(kept["digests"], kept["vectors"], strict=True)) if str(kept["key"]) == key else {}
    new = [place for place, digest in enumerate(digests) if digest not in known]
    answers = recognizer.recognize_fully([files[place] for place in new], pictures=True, vectors=True)
    for place, one in zip(new, answers, strict=True):
        if one.cutout is not None and one.vector is not None:
            mirrored = recognizer.classifier.predict_and_embed([np.ascontiguousarray(one.cutout[:, ::-1])])[1][0]
            known[digests[place]] = np.stack([one.vector, mirrored])
    if cache is not None and new:
        with cache.open("wb") as file:
            np.savez(file, key=key, digests=np.array(list(known)), vectors=np.stack(list(known.values())))
    return {digest: known[digest] for digest in digests if digest in known}


if __name__ == "__main__":
    typer.run(make)
