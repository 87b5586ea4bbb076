"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from detection.common.errors import UsageError
from detection.common.places.address import restored, scheme_of, without_secrets

if TYPE_CHECKING:
    from detection.cluster.connect import Cluster
    from detection.publishing.hiding.cover import HideStyle

HIDE_MARGIN = 0.3  # of `HideStyle`, which would import OpenCV; a test compares them
# What `need` asks for: the parts of the install that trains.
TRAINING = ("torch", "torchvision", "timm", "pytorch_lightning", "torchmetrics", "albumentations")

MODEL = "A bundled model (listed by `carclf models`), a run folder, a .safetensors file, an export or a garage."
Model = Annotated[str, typer.Option(help=MODEL)]
Detector = Annotated[
    str | None, typer.Option(help="Detector to use. Default: the one that the model was trained with.")
]
Device = Annotated[str, typer.Option(help="Device that runs the models: auto, cpu, cuda or cuda:N.")]
Runtime = Annotated[
    str,
    typer.Option(
        help="What runs the models: onnx (ONNX Runtime), openvino, torch, or auto (for bundled models and exports on a "
        "CPU the faster of onnx and openvino, otherwise torch)."
    ),
]
Threads = Annotated[int | None, typer.Option(help="Threads that the models use. Default: one per core.")]
Tta = Annotated[int, typer.Option(help="Number of views per cut-out, whose answers are averaged.")]
Threshold = Annotated[
    float | None, typer.Option(help="Lowest confidence for a label, 0 to 1; below it: unknown. Default: the model's.")
]
Levels = Annotated[
    bool | None,
    typer.Option(
        "--levels/--no-levels",
        help="Whether the answer is the deepest level that is sure: class, model or make. Default: where the model "
        "knows its levels, and no --threshold is given.",
        show_default=False,
    ),
]
Sure = Annotated[
    float | None,
    typer.Option(help="Share of right answers to choose levels by, such as 0.95. Default: 0.98.", show_default=False),
]
Only = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="The only classes, models and makes that there can be: names with commas, or a file with one per line.",
    ),
]
Colour = Annotated[
    bool, typer.Option("--colour/--no-colour", help="Whether the colour of each car's paint is told, too.")
]
Corrections = Annotated[
    Path | None,
    typer.Option(help="What people decided about the photos: a folder or file that was reviewed with `carclf review`."),
]
MaxMegapixels = Annotated[float, typer.Option(help="Largest photo accepted, in megapixels.")]
BatchSize = Annotated[int, typer.Option(help="Largest number of photos that the models process together.")]
Kinds = Annotated[
    str | None, typer.Option(help="Kinds of vehicle that count, such as car,truck, or all. Default: car.")
]

# One option in both verbs; `predict` showed the other spelling once.
ALL_VEHICLES = "--all-vehicles"
Small = Annotated[
    bool | None,
    typer.Option(
        "--small/--no-small",
        help="Whether parts of each photo are looked at, too, for small vehicles: five times the time. Default: "
        "with --all-vehicles.",
    ),
]
Engine = Annotated[
    str, typer.Option(help="Where the work is done: local (this machine), or ray (the workers of a Ray cluster).")
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="With --engine ray: the cluster's head, or auto for the one that runs on this machine. Default: "
        "RAY_ADDRESS of the environment, otherwise this machine alone.",
    ),
]
WorkerCores = Annotated[
    int | None, typer.Option(help="With --engine ray: cores of each worker. Default: 4, or all of a smaller machine.")
]
ClusterWorkers = Annotated[
    int | None,
    typer.Option(
        help="With --engine ray: how many workers; a cluster that scales grows for them. Default: all that fit."
    ),
]
# What is hidden, and how; see `hide_style_of`.
Hide = Annotated[
    str | None,
    typer.Option("--hide", metavar="WHAT", help="Hide in the pictures: plates, faces, or plates,faces."),
]
HideWay = Annotated[
    str | None,
    typer.Option(
        "--way", help="How it is hidden: blur, mosaic, fill (the plate's own colour) or logo.", show_default="blur"
    ),
]
HideLogo = Annotated[
    str | None,
    typer.Option("--logo", metavar="FILE", help="Picture with transparency to set on each plate in perspective."),
]
HideMargin = Annotated[
    float | None,
    typer.Option(
        "--margin", help="How far beyond a plate is covered, as a part of its height.", show_default=str(HIDE_MARGIN)
    ),
]
HideOnlyMain = Annotated[
    bool, typer.Option("--hide-only-main", help="Hide only what is on the car that the photo is about.")
]

# Of the folder engine: what `clean`, `hide` and `studio` share.
FolderWeights = Annotated[str | None, typer.Option(help="Weights file of the detector.")]
DetectorBatch = Annotated[int, typer.Option(help="Photos per detector batch.")]
Workers = Annotated[int, typer.Option(help="Number of reader threads, and of cutter threads. 0 chooses for you.")]
Quality = Annotated[int, typer.Option(help="Quality of jpg and webp files, 1-100.")]
Restart = Annotated[bool, typer.Option("--restart", help="Start over instead of resuming.")]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Process photos with the status unreadable or error again.")
]
ShardOf = Annotated[
    str | None, typer.Option(help="i/n: process part i of n, one part per machine (1/4 to 4/4 for four machines).")
]
Merge = Annotated[
    bool,
    typer.Option("--merge", help="Merge finished shards: give their OUT, or the OUT of each and a new folder for all."),
]
SaveDetections = Annotated[
    bool, typer.Option("--save-detections", help="Save boxes and masks in OUT/detections.jsonl.")
]
Detections = Annotated[Path | None, typer.Option(help="Take boxes and masks from this file and run no detector.")]
Watch = Annotated[
    bool, typer.Option("--watch", help="Keep running and process photos as they arrive in IN, until Ctrl-C.")
]
Interval = Annotated[float, typer.Option(help="With --watch: seconds between two looks into IN.")]
KeepSuffix = Annotated[
    bool, typer.Option("--keep-suffix", help="Keep the suffix in names: a.png becomes a.png.jpg, apart from a.jpg.")
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Leave out what fits: a name, or a path below IN. May be repeated."),
]

EveryVehicle = Annotated[bool, typer.Option("--every-vehicle", hidden=True, help="The same as --all-vehicles.")]


# The paths that may be addresses: those of photos, which any verb reads, and what some verbs write.
_READ_ANYWHERE = ("folders", "data", "images", "others", "detections", "parts")
_WRITTEN_ANYWHERE = {
    "predict": ("output", "save_cutouts", "overlay"),
    "evaluate": ("output",),
    "check": ("json", "csv"),
    "similar": ("output",),
}


class Verb(TyperCommand):
    """A verb that tells each path which must be of this machine, and is an address, before it does anything."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        may_be = (*_READ_ANYWHERE, *_WRITTEN_ANYWHERE.get(self.name or "", ()))
        for parameter in self.params:
            name = parameter.name or ""
            given = ctx.params.get(name)
            for value in given if isinstance(given, (list, tuple)) else [given]:
                if name not in may_be and isinstance(value, Path) and scheme_of(str(value)):
                    what = parameter.opts[0] if parameter.opts[0].startswith("-") else str(parameter.metavar or name)
                    raise UsageError(
                        f"{what} takes a path of this machine, not '{without_secrets(restored(str(value)))}': copy it "
                        "there, or from there, yourself."
                    )
        return rest


def broker_option(help: str) -> Any:
    """The address of a RabbitMQ; better from the environment than from a command that others can see."""
    return typer.Option(envvar="CARCLF_BROKER", show_envvar=True, show_default=False, help=help)


def hide_style_of(
    what: str | None, way: str | None, logo: str | None, margin: float | None, only_main: bool, **more: Any
) -> HideStyle | None:
    """What the options above say; None where nothing is to be hidden. more: other fields of the style.

    Raises `UsageError`.
    """
    given = {"--way": way, "--logo": logo, "--margin": margin, "--hide-only-main": only_main or None}
    if what is None:
        named = [name for name, value in given.items() if value is not None]
        if named:
            raise UsageError(f"{named[0]} says how something is hidden: pass --hide plates, too.")
        return None
    from detection.common.files import user_path
    from detection.publishing.hiding.cover import hide_style

    fields = {"way": way, "margin": margin, "logo": logo and str(user_path(logo)), "only_main": only_main}
    return hide_style(what, **more, **{name: value for name, value in fields.items() if value is not None})


def cluster_of(engine: str, address: str | None, cores: int | None, workers: int | None, device: str) -> Cluster | None:
    """What the options above say; None for this machine alone. Raises `UsageError`."""
    from detection.cluster.connect import ENGINES, Cluster
    from detection.common.config import check_config

    if engine not in ENGINES:
        raise UsageError(f"'{engine}' is not an engine: choose {' or '.join(ENGINES)}.")
    given = {"--address": address, "--worker-cores": cores, "--cluster-workers": workers}
    named = [name for name, value in given.items() if value is not None]
    if engine == "local":
        if named:
            raise UsageError(f"{named[0]} is for a cluster: pass --engine ray, too.")
        return None
    if ":" in device:
        raise UsageError(f"--engine ray gives each worker a GPU of its own: pass --device cuda or auto, not {device}.")
    return check_config(Cluster, {"address": address, "cores": cores, "workers": workers, "gpu": device != "cpu"})
